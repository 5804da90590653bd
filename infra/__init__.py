"""How Sluice gets to AWS: templates, the deployment to MWAA, units for a bare machine (docs/deploy-aws.md)."""
