"""Sending a batch and following it: a bar, and at the end a table of what came of it."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pydantic import JsonValue
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from shared.steps import RunStatus
from studio.client.errors import StudioError
from studio.client.models import Batch, BatchLine
from studio.client.options import RunOptions
from studio.client.sync import Studio
from studio.commands.connection import FAILED, connected
from studio.terminal.batch_table import batch_table
from studio.terminal.output import notices, results, write_line
from studio.terminal.text import json_line, one_line, plain

INTERRUPTED: Final = 130
MOST_BYTES: Final = 256 * 1024 * 1024
EVERY_S: Final = 0.5
# Charges follow the runs.
COST_PATIENCE_S: Final = 3.0
NAMED_PROBLEMS: Final = 10


@dataclass(frozen=True)
class BatchCommand:
    """What was typed."""

    file: Path
    defaults: RunOptions
    name: str | None
    key: str | None
    as_json: bool
    wait: bool


def run_batch(command: BatchCommand) -> int:
    """The exit code of `studio batch`."""
    key = command.key or uuid4().hex
    try:
        with connected() as studio:
            runs = read_runs(command.file)
            notices().print(Text(f"{len(runs):,} runs; idempotency key {key}", "dim"))
            options: RunOptions = {**command.defaults, "idempotency_key": key}
            lines = studio.create_batch(runs, name=command.name, **options)
            _tell_lines(lines, as_json=command.as_json)
            accepted = all(line.run_id for line in lines)
            if not command.wait:
                return 0 if accepted else FAILED
            batch = _follow(studio, lines[0].batch_id)
    except KeyboardInterrupt:
        again = plain(f"studio batch {command.file} --key {key}")
        notices().print(Text(f"interrupted; what was accepted goes on, and `{again}` follows it", "yellow"))
        return INTERRUPTED
    _tell_end(batch, as_json=command.as_json)
    return 0 if batch.runs.get(RunStatus.COMPLETED, 0) == batch.size else FAILED


def read_runs(file: Path) -> list[dict[str, JsonValue]]:
    """The runs of a file: JSON objects when its first line is one, else prompts. Raises StudioError."""
    lines = [line for line in _text_of(file).splitlines() if line.strip()]
    if not lines:
        raise StudioError(f"{file} holds no line; write one prompt a line, or one JSON object")
    if not isinstance(_parsed(lines[0]), dict):
        return [{"prompt": line.strip()} for line in lines]
    return [_run(number, line) for number, line in enumerate(lines, 1)]


def _run(number: int, line: str) -> dict[str, JsonValue]:
    value = _parsed(line)
    if not isinstance(value, dict):
        raise StudioError(f"line {number} is no JSON object, as the first line is: {one_line(line, 60)}")
    return value


def _parsed(line: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _text_of(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise StudioError(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise StudioError(f"{file} holds more than {MOST_BYTES} bytes; send it in parts")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise StudioError(f"{file} is no UTF-8 text: byte {error.start}") from error


def _tell_lines(lines: Sequence[BatchLine], *, as_json: bool) -> None:
    if as_json:
        for line in lines:
            write_line(json_line(line.model_dump_json(exclude_none=True)))
        return
    refused = [line for line in lines if line.problem is not None]
    for line in refused[:NAMED_PROBLEMS]:
        says = line.problem.detail if line.problem else ""
        notices().print(Text(f"run {line.index + 1}: {plain(says)}", "red"))
    if len(refused) > NAMED_PROBLEMS:
        notices().print(Text(f"and {len(refused) - NAMED_PROBLEMS:,} more were refused", "red"))


def _follow(studio: Studio, batch_id: str) -> Batch:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    batch = studio.batch(batch_id)
    with Progress(*columns, console=notices(), transient=True) as bar:
        task = bar.add_task("", total=batch.accepted)
        while batch.status != "finished":
            bar.update(task, completed=batch.ended, description=_description(batch))
            time.sleep(EVERY_S)
            batch = studio.batch(batch_id)
    return _charged(studio, batch)


def _description(batch: Batch) -> str:
    failed = batch.runs.get(RunStatus.FAILED, 0)
    running = batch.runs.get(RunStatus.RUNNING, 0)
    return f"{running} running" + (f", {failed} failed" if failed else "")


def _charged(studio: Studio, batch: Batch) -> Batch:
    """Once its cost does not change any more, or the patience is over."""
    deadline, before = time.monotonic() + COST_PATIENCE_S, None
    while before != (batch.total_cost_usd, batch.unpriced) and time.monotonic() < deadline:
        before = (batch.total_cost_usd, batch.unpriced)
        time.sleep(EVERY_S)
        batch = studio.batch(batch.batch_id)
    return batch


def _tell_end(batch: Batch, *, as_json: bool) -> None:
    if as_json:
        write_line(json_line(batch.model_dump_json()))
    else:
        results().print(batch_table(batch))
