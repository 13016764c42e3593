"""The header Retry-After, in both of its forms."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.retry_after import retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("", None), ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("soon", None), ("Wed, 99 Nov 2026", None),
     ("Fri, 01 Jan 2010 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_read_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0100"])
def test_retry_after_is_read_as_a_date_in_any_zone(zone: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=30)
    shown = moment + timedelta(hours=1) if zone == "+0100" else moment
    value = format_datetime(shown.replace(tzinfo=UTC)).replace("+0000", zone)
    told = retry_after(value)
    assert told is not None
    assert 28 <= told <= 30
