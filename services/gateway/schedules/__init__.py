"""Schedules: runs that start by the clock.

A time that is due becomes a row (a tick) in the transaction that moves the schedule on, so several gateways
make one tick of it; the tick's run is requested under an idempotency key of its own, so a gateway that stops
in between loses nothing and doubles nothing.
"""
