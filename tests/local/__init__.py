"""Tests of the launcher and the embedded stack."""
