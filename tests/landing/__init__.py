"""Tests of the landing: a real S3 server, real and malformed payloads."""
