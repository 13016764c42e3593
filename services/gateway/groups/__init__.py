"""Groups: the runs of a project that carry the same label."""
