"""Waiting longer and longer while something fails: the client's requests, the stack's restarts. Pure."""


def doubled(first_s: float, longest_s: float, failures: int) -> float:
    """Seconds to wait after so many failures in a row, counted from 1."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, 30))
