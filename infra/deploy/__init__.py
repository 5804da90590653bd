"""Ship Sluice to MWAA's bucket: `python -m infra.deploy --bucket NAME` (docs/deploy-aws.md)."""
