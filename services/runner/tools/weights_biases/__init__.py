"""Weights & Biases through its official client."""
