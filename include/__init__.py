"""What a pipeline is made of: one room a step, imports point one way (see docs/architecture.md)."""
