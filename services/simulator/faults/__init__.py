"""Faults on demand: what can go wrong (`fault`), when it does (`ledger`)."""
