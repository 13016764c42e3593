"""When cron lines are due: time zones, clocks put forward and back, missed times, lines that never are."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.schedules.cron import MOST_MISSED, BadCron, Cron

NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"
# In Berlin in 2026 the clock is put forward on 29 March at 02:00 and back on 25 October at 03:00.
SPRING = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)


def times(line: str, after: datetime, count: int, timezone: str = BERLIN) -> list[str]:
    """The next times in UTC, as month-day hour:minute."""
    ticks = islice(Cron.parse(line, timezone).ticks(after), count)
    return [f"{tick:%m-%d %H:%M}" for tick in ticks]


def test_a_time_of_day_is_one_of_its_time_zone() -> None:
    assert times("30 6 * * *", NOON, 2) == ["11-21 05:30", "11-22 05:30"]
    assert times("30 6 * * *", NOON, 2, "Asia/Kolkata") == ["11-21 01:00", "11-22 01:00"]
    assert times("30 6 * * MON-FRI", NOON, 1, "UTC") == ["11-23 06:30"]


def test_a_time_in_the_gap_is_due_at_the_first_moment_after_it() -> None:
    assert times("30 2 * * *", SPRING, 2) == ["03-29 01:00", "03-30 00:30"]


def test_two_times_that_the_gap_makes_one_are_due_once() -> None:
    assert times("0 2,3 * * *", SPRING, 3) == ["03-29 01:00", "03-30 00:00", "03-30 01:00"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    assert times("30 2 * * *", AUTUMN, 2) == ["10-25 00:30", "10-26 01:30"]


def test_a_time_that_is_over_is_not_due_again_in_the_repeated_hour() -> None:
    in_second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert times("45 2 * * *", in_second_pass, 1) == ["10-26 01:45"]


def test_a_line_with_stars_follows_real_time_through_gap_and_overlap() -> None:
    expected = ["03-29 00:00", "03-29 00:30", "03-29 01:00", "03-29 01:30"]
    assert times("*/30 * * * *", SPRING + timedelta(minutes=31), 4) == expected
    expected = ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"]
    assert times("*/30 * * * *", datetime(2026, 10, 24, 23, 59, tzinfo=UTC), 4) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0 31 2 *", "never fires: no month that it names has such a day"),
        ("0 0 30 FEB *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("* * * * * *", "has 6 fields; the five are minute hour day-of-month month day-of-week"),
        ("*/5 * * * * *", "once a minute is the most"),
        ("@daily", "has 1 fields"),
        ("60 * * * *", "bad minute"),
        ("* * 32 * *", "bad day-of-month; the five fields are"),
        ("* * * * MOON", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
    ],
)
def test_a_line_that_is_none_or_is_never_due_is_refused_in_words(line: str, words: str) -> None:
    with pytest.raises(BadCron, match=words.replace("*", r"\*")) as refused:
        Cron.parse(line, "UTC")
    assert refused.value.field == "cron"


def test_the_29th_of_february_is_due_in_leap_years() -> None:
    assert next(Cron.parse("0 0 29 2 *", "UTC").ticks(NOON)) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Mars/Olympus", "Europe", "../../etc/passwd", "", "\x00", "a" * 64])
def test_a_time_zone_that_is_none_is_refused_in_words(name: str) -> None:
    with pytest.raises(BadCron, match="give an IANA name such as Europe/Paris") as refused:
        Cron.parse("0 0 * * *", name)
    assert refused.value.field == "timezone"


def due(line: str, missed: Literal["skip", "latest", "all"], away: timedelta) -> list[datetime]:
    """What is to run at noon of a schedule whose next time was found out so long ago."""
    cron = Cron.parse(line, "UTC")
    next_at = next(cron.ticks(NOON - away))
    return cron.due(missed, next_at, NOON)


@pytest.mark.parametrize("missed", ["skip", "latest", "all"])
def test_a_time_that_is_found_at_once_is_due_by_every_policy(
    missed: Literal["skip", "latest", "all"],
) -> None:
    assert due("* * * * *", missed, timedelta(seconds=31)) == [NOON.replace(second=0)]


def test_missed_times_are_run_by_the_policy() -> None:
    assert due("*/10 * * * *", "skip", timedelta(minutes=55)) == [NOON.replace(second=0)]
    assert due("5,15,25,35,45,55 * * * *", "skip", timedelta(minutes=55)) == []
    assert due("5,15,25,35,45,55 * * * *", "latest", timedelta(minutes=55)) == [
        NOON.replace(hour=11, minute=55, second=0)
    ]
    found = due("5,15,25,35,45,55 * * * *", "all", timedelta(minutes=50))
    assert [tick.minute for tick in found] == [15, 25, 35, 45, 55]


def test_all_missed_times_are_the_last_hundred_at_most() -> None:
    found = due("* * * * *", "all", timedelta(days=400))
    assert len(found) == MOST_MISSED
    assert found[-1] == NOON.replace(second=0)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=1)}


def test_the_latest_missed_time_is_found_though_it_was_months_ago() -> None:
    assert due("0 0 1 1 *", "latest", timedelta(days=700)) == [datetime(2026, 1, 1, tzinfo=UTC)]


ZONES = ("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
LINES = (
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "0 1,2,3 * * *",
    "15 */3 * * SUN",
    "59 23 L * *",
    "0-59/20 1-3 * * *",
)


@settings(max_examples=200, deadline=None)
@given(
    line=st.sampled_from(LINES),
    zone=st.sampled_from(ZONES),
    start=st.integers(min_value=0, max_value=366 * 86_400),
    seconds=st.integers(min_value=0, max_value=3 * 86_400),
)
def test_the_newest_times_are_the_last_of_all(line: str, zone: str, start: int, seconds: int) -> None:
    cron = Cron.parse(line, zone)
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    until = after + timedelta(seconds=seconds)
    every: list[datetime] = []
    for tick in cron.ticks(after):
        if tick > until:
            break
        every.append(tick)
    assert all(earlier < later for earlier, later in pairwise(every))
    assert cron.newest(after, until, 7) == every[-7:]
