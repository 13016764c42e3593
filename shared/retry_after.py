"""The header Retry-After, as servers send it that we call and as our own gateway sends it."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite


def retry_after(value: str) -> float | None:
    """Seconds to wait, from either form of the header; None when there is none that can be understood."""
    try:
        seconds = float(value)
    except ValueError:
        pass  # not seconds; then it must be a date
    else:
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000" says that the zone is unknown; the header is always in GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
