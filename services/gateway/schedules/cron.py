"""When a cron line is due in a time zone. Pure.

A line that names minutes and hours is due once a day that has them: where the clock is put forward over the
time, at the first moment after the gap; where it is put back, the first time round. A line whose minutes or
hours begin with `*` follows real time through both.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

Missed = Literal["skip", "latest", "all"]
FIELDS: Final = "minute hour day-of-month month day-of-week"
GRACE: Final = timedelta(seconds=60)
MOST_MISSED: Final = 100
FIRST_WINDOW: Final = timedelta(hours=1)
# Any moment will do: the search looks half a century ahead.
SOME_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


class BadCron(ValueError):
    """`field` is `cron` or `timezone`; the message says what would be right."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Cron:
    line: str
    zone: ZoneInfo

    @classmethod
    def parse(cls, line: str, timezone: str) -> Self:
        """Raises BadCron for what is no line, never due, or no time zone."""
        cron = cls(line, _zone(timezone))
        if len(line.split()) != 5:
            raise BadCron("cron", _wrong_number(len(line.split())))
        try:
            is_due = next(cron.ticks(SOME_TIME), None) is not None
        except CronSimError as error:
            if str(error) == "Bad day-of-month" and _has_no_such_day(line):
                is_due = False
            else:
                raise BadCron("cron", f"{str(error).lower()}; the five fields are {FIELDS}") from None
        if not is_due:
            raise BadCron("cron", "never fires: no month that it names has such a day")
        return cron

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """The times it is due at, each later than the one before and than `after`, in UTC."""
        for local in CronSim(self.line, after.astimezone(self.zone)):
            # In a repeated hour the library counts on from the first time round; after a gap two times of the
            # line are one.
            tick = local.astimezone(UTC)
            if tick > after:
                yield tick
                after = tick

    def newest(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """The last of the times behind `after` up to `until`, in order, however many there were."""
        window = FIRST_WINDOW
        while True:
            start = max(after, until - window)
            found: deque[datetime] = deque(maxlen=most)
            for tick in self.ticks(start):
                if tick > until:
                    break
                found.append(tick)
            if start == after or len(found) == most:
                return list(found)
            window *= 24

    def due(self, missed: Missed, next_at: datetime, now: datetime) -> list[datetime]:
        """The times from `next_at` to now that are to have a run, by the policy for missed ones."""
        before = next_at - timedelta(seconds=1)
        match missed:
            case "skip":
                return self.newest(max(before, now - GRACE), now, 1)
            case "latest":
                return self.newest(before, now, 1)
            case "all":
                return self.newest(before, now, MOST_MISSED)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadCron(
            "timezone", f"unknown time zone {name[:64]!r}; give an IANA name such as Europe/Paris or UTC"
        ) from None


def _wrong_number(fields: int) -> str:
    seconds = "; a line with seconds is not taken: once a minute is the most" if fields == 6 else ""
    return f"has {fields} fields; the five are {FIELDS}, such as '30 6 * * MON-FRI'{seconds}"


def _has_no_such_day(line: str) -> bool:
    """Whether the days would be right if it were not for the months."""
    minute, hour, day, _, weekday = line.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", SOME_TIME)
    except CronSimError:
        return False
    return True
