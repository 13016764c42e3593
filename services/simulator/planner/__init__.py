"""Decides what the model says or calls next, by rules. Pure: no clock, no network, no HTTP."""
