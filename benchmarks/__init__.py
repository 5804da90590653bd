"""What Sluice costs, measured on the real product; each module is a command."""
