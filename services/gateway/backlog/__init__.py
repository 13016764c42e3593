"""Accepted runs that wait as rows until it is their turn in the broker's queue."""
