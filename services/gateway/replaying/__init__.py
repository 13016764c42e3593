"""Having runs replayed: looking at them, and telling the replayer over the broker."""
