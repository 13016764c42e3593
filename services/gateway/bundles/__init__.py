"""Runs as signed files: making one of a run of this deployment, and taking in one of another."""
