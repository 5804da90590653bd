"""Tests of infra/: templates parsed, rights counted, a deployment to a real S3 server, parsed and run as MWAA would."""
