"""What a person decides about waiting and failed runs, typed as commands."""

import json

import typer
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from shared.steps import now
from studio.client.errors import StudioError
from studio.client.models import WaitingCall, WaitingRun
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.reference import in_words, run_id_of
from studio.terminal.amounts import UNKNOWN, age
from studio.terminal.output import results
from studio.terminal.text import one_line, plain

DECIDED = "has been decided about already; `studio show {short}` shows how"


def list_waiting(*, as_json: bool) -> None:
    with connected() as studio:
        runs = list(studio.waiting())
    if as_json:
        typer.echo(json.dumps([run.model_dump(mode="json") for run in runs], ensure_ascii=False))
    elif runs:
        results().print(_table(runs))
    else:
        results().print(Text("nothing waits for a person", "dim"))


def approve(typed: str, call_id: str | None, arguments: str | None) -> None:
    given = _object(arguments, "--arguments") if arguments is not None else None
    with connected() as studio:
        run_id, call = _asked(studio, typed, call_id)
        with in_words(run_id, DECIDED):
            studio.approve(run_id, call, arguments=given)
    results().print(f"approved {plain(call.tool)} of run {run_id}; see `studio show {run_id[-8:]}`")


def deny(typed: str, call_id: str | None, note: str) -> None:
    with connected() as studio:
        run_id, call = _asked(studio, typed, call_id)
        with in_words(run_id, DECIDED):
            studio.deny(run_id, call, note)
    results().print(f"denied {plain(call.tool)} of run {run_id}; it goes on without that call")


def settle(typed: str, outcome: str, result: str | None) -> None:
    given = _value(result, "--result") if result is not None else None
    with connected() as studio:
        run_id, call = _asked(studio, typed, None)
        with in_words(run_id, "does not wait for word about a call"):
            studio.settle(run_id, call.call_id, outcome, given)
    results().print(f"noted for {plain(call.tool)} of run {run_id}: {outcome}")


def retry(typed: str, why: str) -> None:
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id, "cannot be retried: only what failed or was cancelled can"):
            studio.retry(run_id, why)
    results().print(f"run {run_id} is in the queue again; `studio show {run_id[-8:]}` shows how it goes on")


def _asked(studio: Studio, typed: str, call_id: str | None) -> tuple[str, WaitingCall]:
    """The call that is meant. Raises StudioError when none waits, or several."""
    run_id = run_id_of(studio, typed)
    run = next((run for run in studio.waiting() if run.run_id == run_id), None)
    if run is None:
        raise StudioError(f"run {run_id} does not wait for a person; `studio waiting` lists those that do")
    calls = [call for call in run.calls if call_id in (None, call.call_id)]
    if len(calls) != 1:
        known = ", ".join(f"{call.call_id} ({call.tool})" for call in run.calls)
        raise StudioError(f"name one of the calls of run {run_id} with --call: {known}")
    return run_id, calls[0]


def _object(text: str, option: str) -> dict[str, JsonValue]:
    value = _value(text, option)
    if not isinstance(value, dict):
        raise typer.BadParameter("give one JSON object", param_hint=option)
    return value


def _value(text: str, option: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"give JSON ({error})", param_hint=option) from error
    return value


def _table(runs: list[WaitingRun]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("run", "waits for", "since", "call", "tool", "arguments"):
        table.add_column(title, no_wrap=title != "arguments", overflow="fold")
    at = now()
    for run in runs:
        for number, call in enumerate(run.calls):
            first = (run.run_id[-8:], run.reason, age(run.since, at) if run.since else UNKNOWN)
            arguments = one_line(json.dumps(call.arguments, ensure_ascii=False), 200)
            row = (*(first if number == 0 else ("", "", "")), call.call_id, call.tool, arguments)
            table.add_row(*(plain(cell) for cell in row))
    return table
