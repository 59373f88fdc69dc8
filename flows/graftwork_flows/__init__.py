"""Prefect chains the stages, DVC decides and records; the computing is core's."""
