"""The embedded stack: what a bare machine runs instead of containers and cloud services.

Nothing in include/ or dags/ imports it.
"""
