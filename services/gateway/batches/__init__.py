"""Batches of runs: taking them in, looking at them, cancelling them."""
