"""One line of a log, whoever wrote it: services write JSON, broker and database their own formats.

Reading and showing; the files are `logs.py`. What a line says may come from a model or a tool, so it
is shown as text: no terminal control characters, no markup.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from studio.terminal.text import plain

LEVELS = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "bold red"}
NAMES = {
    "TRC": "debug",
    "DBG": "debug",
    "INF": "info",
    "WRN": "warning",
    "ERR": "error",
    "FTL": "critical",
    "LOG": "info",
    "HINT": "info",
    "DETAIL": "info",
    "CONTEXT": "info",
    "STATEMENT": "info",
    "FATAL": "error",
    "PANIC": "critical",
}
NATS = re.compile(
    r"\[\d+\] (?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+) \[(?P<level>[A-Z]{3})\] (?P<event>.*)"
)
POSTGRES = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC \[\d+\] (?P<level>[A-Z]+):\s+(?P<event>.*)"
)
PLAIN = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):?\s+(?P<event>.*)")
HIDDEN = ("timestamp", "level", "event", "service", "logger")


@dataclass(frozen=True)
class LogLine:
    """`at` is None for a line without a time of its own (a traceback's, for instance)."""

    event: str
    level: str = ""
    at: datetime | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def parse(line: str) -> LogLine:
    """Any line is a log line; what is not understood is an event as it stands."""
    if line.startswith("{") and (entry := _json(line)) is not None:
        fields = {key: value for key, value in entry.items() if key not in HIDDEN}
        return LogLine(
            str(entry.get("event", "")), _level(entry.get("level")), _time(entry.get("timestamp")), fields
        )
    for pattern in (NATS, POSTGRES, PLAIN):
        if match := pattern.fullmatch(line):
            found = match.groupdict()
            return LogLine(found["event"], _level(found["level"]), _time(found.get("at")))
    return LogLine(line)


def render(name: str, line: LogLine, width: int = 10) -> Text:
    """Time, process, level and event on one line; fields behind it; an exception below it."""
    clock = line.at.astimezone().strftime("%H:%M:%S") if line.at else ""
    style = LEVELS.get(line.level, "")
    text = Text.assemble(
        (f"{clock:8} ", "dim"), (f"{name:{width}} ", "cyan"), (f"{line.level:8} ", style or "dim")
    )
    text.append(_on_one_line(line.event), style=style)
    for key, value in line.fields.items():
        if key != "exception":
            text.append(f" {_on_one_line(str(key))}=", style="dim")
            text.append(_on_one_line(_shown(value)))
    if "exception" in line.fields:
        text.append("\n" + plain(str(line.fields["exception"])), style="red")
    return text


def merge(logs: Mapping[str, Iterable[str]]) -> list[tuple[str, LogLine]]:
    """Lines of several logs by time; a line without a time stays behind the one before it."""
    entries: list[tuple[datetime, str, LogLine]] = []
    for name, lines in logs.items():
        latest = datetime.min.replace(tzinfo=UTC)
        for line in map(parse, lines):
            latest = line.at or latest
            entries.append((latest, name, line))
    return [(name, line) for _, name, line in sorted(entries, key=lambda entry: entry[0])]


def _on_one_line(text: str) -> str:
    """What came in a request must not look like a line of its own."""
    return plain(text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t"))


def _json(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _level(name: Any) -> str:
    text = str(name)
    return NAMES.get(text, text.lower())


def _time(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text).replace("/", "-"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
