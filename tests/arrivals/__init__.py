"""Files that arrive, on the whole stack before moto's S3 and SQS."""
