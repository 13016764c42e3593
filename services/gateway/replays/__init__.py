"""Replays: what may be asked, what it comes to, and how replays and the lineage of runs are shown.

Not here: looking at the runs that are replayed, and the broker (`services/gateway/replaying`).
"""
