"""What a replay may be given beside its runs, and how the API is told. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict, cast

from pydantic import JsonValue

from shared.steps import Edit, ToolAnswer
from studio.client.options import with_parameters


class ReplayChanges(TypedDict, total=False):
    """What the new runs have otherwise; None: as the replayed ones.

    `agent` (`name` or `name@version`) stands for all that it says, the others for parts of it. `tools` are
    all that they may use.
    """

    agent: str | None
    model: str | None
    instructions: str | None
    prompt: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    random_seed: int | None
    tools: Sequence[str] | None
    response_format: Mapping[str, JsonValue] | None
    max_rounds: int | None
    timeout_s: float | None
    budget_usd: float | None


class Candidate(TypedDict, total=False):
    """One of several ways to run it otherwise."""

    name: Required[str]
    changes: ReplayChanges
    edits: Sequence[Edit]


class ReplayOptions(TypedDict, total=False):
    """Each may be left out; the server checks them and says what would be right.

    `mode`: `verify` (nothing is asked of model or tools, every request is compared), `rerun` (the default),
    `fork` (behind the step `step`, with `edits` in the steps up to it) or `blame`. `candidates` in place of
    `changes` and `edits`: several ways. `tools`: where a tool's answers come from, by name or `*`.
    `metrics`: the fields of `POST /api/replays`; the first one decides. What is sent twice with one
    `idempotency_key` is done once.
    """

    mode: Literal["verify", "rerun", "fork", "blame"]
    changes: ReplayChanges
    candidates: Sequence[Candidate]
    step: int | None
    edits: Sequence[Edit]
    tools: Mapping[str, ToolAnswer]
    metrics: Sequence[Mapping[str, JsonValue]]
    samples: int | None
    confidence: float | None
    stop_early: bool
    most_runs: int | None
    threshold: float | None
    metadata: Mapping[str, JsonValue]
    idempotency_key: str | None


def replay_body(runs: str | Sequence[str], options: ReplayOptions) -> dict[str, JsonValue]:
    """The body of POST /api/replays."""
    same = {name: value for name, value in options.items() if value not in (None, (), [], {})}
    body: dict[str, object] = {"run_id": runs} if isinstance(runs, str) else {"run_ids": list(runs)}
    body |= same
    body.pop("idempotency_key", None)
    if "changes" in body:
        body["changes"] = _changes(options["changes"])
    if options.get("edits"):
        body["edits"] = _edits(options["edits"])
    if options.get("candidates"):
        body["candidates"] = [_candidate(each) for each in options["candidates"]]
    if "tools" in options:
        body["tools"] = {
            name: answer.model_dump(mode="json", exclude_unset=True)
            for name, answer in options["tools"].items()
        }
    return cast(dict[str, JsonValue], body)  # the options have JSON's types


def _candidate(candidate: Candidate) -> dict[str, object]:
    changes, edits = candidate.get("changes", {}), candidate.get("edits", ())
    return {"name": candidate["name"], "changes": _changes(changes), "edits": _edits(edits)}


def _changes(changes: ReplayChanges) -> dict[str, object]:
    return with_parameters({name: value for name, value in changes.items() if value is not None})


def _edits(edits: Sequence[Edit]) -> list[dict[str, JsonValue]]:
    return [edit.model_dump(mode="json", exclude_unset=True) for edit in edits]
