"""How two runs of a project differ: which are read for it, and how many at a time."""
