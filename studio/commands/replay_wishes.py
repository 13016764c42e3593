"""From what was typed of a replay to what the client is given."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import typer
from pydantic import JsonValue

from shared.steps import AgentThought, Edit, Step, ToolAnswer
from studio.client.replay_options import ReplayChanges, ReplayOptions
from studio.commands.replay_arguments import Answers, Changed, Measured

USUAL: Final = ("success", "cost_usd", "latency_ms", "tokens")
ON_MISS: Final = ("live", "error", "fail")
EDIT: Final = re.compile(r"(\d{1,9})\.(content|result|arguments)(?:\.([^=]+))?=(.*)", re.DOTALL)
MOST_BYTES: Final = 1024 * 1024


def changes(typed: Changed) -> ReplayChanges:
    found: ReplayChanges = {
        "model": typed.model,
        "temperature": typed.temperature,
        "top_p": typed.top_p,
        "max_tokens": typed.max_tokens,
        "random_seed": typed.seed,
        "instructions": text(typed.instructions, "--instructions"),
        "prompt": text(typed.prompt, "--prompt"),
        "agent": typed.agent,
    }
    if typed.tools is not None:
        found["tools"] = [name.strip() for name in typed.tools.split(",") if name.strip()]
    return cast(ReplayChanges, {name: value for name, value in found.items() if value is not None})


def tool_answers(typed: Answers) -> dict[str, ToolAnswer]:
    """By tool. What does not go together is the server's to say."""
    found: dict[str, dict[str, object]] = {name: {"answer": "live"} for name in typed.live or ()}
    for each in typed.static or ():
        name, is_there, value = each.partition("=")
        if not (name and is_there):
            raise typer.BadParameter("give TOOL=JSON", param_hint="--static")
        found.setdefault(name, {}).update(answer="static", static=_json_or_text(value, "--static"))
    for each in typed.on_miss or ():
        name, _, what = each.rpartition("=")
        if what not in ON_MISS:
            raise typer.BadParameter(f"give one of {', '.join(ON_MISS)}", param_hint="--on-miss")
        found.setdefault(name or "*", {}).update(on_miss=what)
    return {name: ToolAnswer.model_validate(answer) for name, answer in found.items()}


def metrics(typed: Measured) -> list[dict[str, JsonValue]]:
    """Without any the server takes the usual ones; they stand behind a score, too."""
    scores: list[dict[str, JsonValue]] = []
    if typed.expect is not None:
        scores.append({"name": "exact", "expected": typed.expect})
    if typed.contains is not None:
        scores.append({"name": "contains", "expected": typed.contains})
    if typed.score is not None:
        scores.append({"name": "expression", "expression": typed.score, "label": "score"})
    for name in typed.metric or (USUAL if scores else ()):
        scores.append({"name": name})
    return scores


def edits(typed: Iterable[str]) -> list[Edit]:
    return [_edit(each) for each in typed]


def with_calls(given: Sequence[Edit], steps: Sequence[Step]) -> list[Edit]:
    """An edit of arguments that names no call means the only one of its thought."""
    only = {
        step.seq: step.tool_calls[0].call_id
        for step in steps
        if isinstance(step, AgentThought) and len(step.tool_calls) == 1
    }
    return [
        edit.model_copy(update={"call_id": only[edit.step]})
        if edit.field == "arguments" and edit.call_id is None and edit.step in only
        else edit
        for edit in given
    ]


def measured(typed: Measured, answers: Answers) -> ReplayOptions:
    """What all live replays have in common."""
    return ReplayOptions(tools=tool_answers(answers), metrics=metrics(typed), confidence=typed.confidence)


def text(typed: str | None, option: str) -> str | None:
    """The text, or that of a file for `@FILE`."""
    if typed is None or not typed.startswith("@"):
        return typed
    file = Path(typed[1:])
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) <= MOST_BYTES:
            return data.decode()
        wrong = f"{file} holds more than {MOST_BYTES} bytes"
    except OSError as error:
        wrong = f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        wrong = f"{file} is no UTF-8 text: byte {error.start}"
    raise typer.BadParameter(wrong, param_hint=option)


def _edit(typed: str) -> Edit:
    found = EDIT.fullmatch(typed)
    if found is None:
        forms = "STEP.content=TEXT, STEP.result=JSON or STEP.arguments[.CALL_ID]=JSON"
        raise typer.BadParameter(f"give {forms}", param_hint="--edit")
    step, field, call_id, value = found.groups()
    if field != "arguments" and call_id is not None:
        raise typer.BadParameter(f"give STEP.{field}=VALUE", param_hint="--edit")
    said = text(value, "--edit") or ""
    given = {
        "step": int(step),
        "field": field,
        "value": _json_or_text(said, "--edit") if field == "result" else said,
    }
    return Edit.model_validate({**given, **({"call_id": call_id} if call_id else {})})


def _json_or_text(value: str, option: str) -> JsonValue:
    """What is no JSON is a text, unless it was meant to be JSON."""
    try:
        parsed: JsonValue = json.loads(value)
    except (ValueError, RecursionError) as error:
        if value.lstrip()[:1] in ("{", "[", '"'):
            raise typer.BadParameter(f"this is no JSON: {error}", param_hint=option) from None
        return value
    return parsed
