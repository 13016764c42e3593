"""What a person decides about waiting and failed runs, typed as commands."""

import json
from typing import Final

import typer
from pydantic import JsonValue
from rich.table import Table

from shared.steps import now
from studio.client.errors import StudioError
from studio.client.models import WaitingCall, WaitingRun
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.lists import print_list
from studio.commands.reference import in_words, run_id_of
from studio.terminal.amounts import age
from studio.terminal.output import results, shown_id
from studio.terminal.step_text import wanted
from studio.terminal.text import one_line, plain

MOST_ARGUMENTS: Final = 200
NAMED: Final = 5


def list_waiting(*, as_json: bool) -> None:
    """A table with a row for each call, or one line of JSON for each run."""
    with connected() as studio:
        runs = list(studio.waiting())
    print_list(runs, _table(runs), "no run waits for a person", as_json=as_json)


def approve(typed: str, call_id: str | None, arguments: str | None) -> None:
    given = _object(arguments, "--arguments") if arguments is not None else None
    with connected() as studio:
        run = _waiting_run(studio, typed)
        call = _call(run, "approval", call_id)
        with in_words(run.run_id):
            studio.approve(run.run_id, call, arguments=given)
    _say("approved", run, call if given is None else call.model_copy(update={"arguments": given}))


def deny(typed: str, call_id: str | None, note: str) -> None:
    with connected() as studio:
        run = _waiting_run(studio, typed)
        call = _call(run, "approval", call_id)
        with in_words(run.run_id):
            studio.deny(run.run_id, call, note)
    _say("denied", run, call)


def settle(typed: str, outcome: str, result: str | None) -> None:
    given = _value(result, "--result") if result is not None else None
    if result is not None and outcome != "happened":
        raise typer.BadParameter("only a call that happened has a result", param_hint="--result")
    with connected() as studio:
        run = _waiting_run(studio, typed)
        call = _call(run, "unknown-outcome")
        with in_words(run.run_id):
            studio.settle(run.run_id, call.call_id, outcome, given)
    _say(f"noted {outcome} for", run, call)


def resume(typed: str, budget_usd: float | None) -> None:
    with connected() as studio:
        run = _waiting_run(studio, typed)
        if run.reason == "budget" and budget_usd is None:
            more = wanted(run.reason, run.run_id)
            raise StudioError(f"run {run.run_id} waits for {more}\n{run.why or ''}".rstrip())
        with in_words(run.run_id):
            studio.resume(run.run_id, budget_usd=budget_usd)
    _say_queued(run.run_id)


def retry(typed: str, why: str) -> None:
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id):
            studio.retry(run_id, why)
    _say_queued(run_id)


def _say_queued(run_id: str) -> None:
    results().print(f"run {run_id} is in the queue again; `studio show {run_id[-8:]}` shows how it goes on")


def _say(done: str, run: WaitingRun, call: WaitingCall) -> None:
    where = f"run {run.run_id}; `studio show {run.run_id[-8:]}` shows how it goes on"
    results().print(plain(f"{done} {call.tool} {_arguments(call)}\nof {where}"))


def _waiting_run(studio: Studio, typed: str) -> WaitingRun:
    """A part of an id is looked for among the waiting runs first: they may be older than all that
    `studio runs` lists. Raises StudioError when none is meant, or several."""
    part = typed.strip().lower()
    waiting = list(studio.waiting()) if part else []
    meant = [run for run in waiting if run.run_id.startswith(part) or run.run_id.endswith(part)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        some = "\n".join(f"  {run.run_id}" for run in meant[:NAMED])
        raise StudioError(f"{len(meant)} waiting runs have an id that begins or ends with {part}:\n{some}")
    run_id = run_id_of(studio, typed)
    with in_words(run_id):
        status = studio.get(run_id).status
    raise StudioError(f"run {run_id} is {status} and asks nobody; `studio waiting` lists the runs that do")


def _call(run: WaitingRun, reason: str, call_id: str | None = None) -> WaitingCall:
    """The call for which the run waits for that reason. Raises StudioError when none does, or several."""
    is_asked = reason == "approval"
    calls = [call for call in run.calls if (call.arguments_hash is not None) is is_asked]
    named = [call for call in calls if call_id in (None, call.call_id)]
    if len(named) == 1:
        return named[0]
    if calls:
        known = ", ".join(f"{call.call_id} ({call.tool} {_arguments(call)})" for call in calls)
        raise StudioError(f"name one of the calls of run {run.run_id} with --call: {known}")
    if run.reason == reason:
        raise StudioError(f"run {run.run_id} has been answered; `studio show {run.run_id[-8:]}` shows how")
    raise StudioError(f"run {run.run_id} waits for {wanted(run.reason, run.run_id)}")


def _arguments(call: WaitingCall) -> str:
    return one_line(json.dumps(call.arguments, ensure_ascii=False), MOST_ARGUMENTS)


def _object(text: str, option: str) -> dict[str, JsonValue]:
    value = _value(text, option)
    if not isinstance(value, dict):
        raise typer.BadParameter("give one JSON object", param_hint=option)
    return value


def _value(text: str, option: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"give JSON ({error})", param_hint=option) from error
    return value


def _table(runs: list[WaitingRun]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("run", "waits for", "since", "call", "tool", "arguments"):
        table.add_column(title, no_wrap=title != "arguments", overflow="fold")
    at = now()
    for run in runs:
        first = (shown_id(run.run_id), run.reason, age(run.since, at))
        calls = [(call.call_id, call.tool, _arguments(call)) for call in run.calls]
        for number, call in enumerate(calls or [("", "", run.why or "")]):
            table.add_row(*map(plain, (*(first if number == 0 else ("", "", "")), *call)))
    return table
