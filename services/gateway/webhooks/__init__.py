"""Webhooks: whom to tell of a run's events, and the telling, signed and repeated until it is heard.

An event becomes a row for each webhook in the transaction that records its step (a trigger on `steps`, see
the migration 0005); from there any gateway takes it. Runs never wait for any of this.
"""
