"""A workspace: the folder of one session, with no way out of it, with quotas, and changes applied once."""
