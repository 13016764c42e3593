"""Sessions: the runs of a project that carry the same session_id, and what they remember."""
