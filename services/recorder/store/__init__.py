"""The recorder's SQL, by table: each function is one statement on the caller's connection.

Recorders never wait for each other in a circle: a batch takes its locks in the order bodies, steps, runs,
each kind sorted by key, and erasing a run, which starts with its lock, waits for no step of another.
"""
