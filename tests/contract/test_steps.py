"""The contract of the steps: payloads as they once went over the bus, read by today's code.

The files under `payloads/` are frozen: a change that needs one of them edited is not a compatible change.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.run_state import fold
from shared.step_codec import Undecodable, decode_each, decode_step, decode_steps, encode_step, encode_steps
from shared.steps import (
    STEP_KINDS,
    BodyRef,
    Failure,
    RunRequested,
    RunStatus,
    ToolResult,
    UnknownStep,
    UserRequest,
)

PAYLOADS = Path(__file__).parent / "payloads"
FILES = sorted(path for path in PAYLOADS.glob("*.json") if path.stem != "whole-run")


def load(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def message(*steps: Any) -> bytes:
    return json.dumps(list(steps)).encode()


def holds(written: Any, raw: Any) -> bool:
    """Whether all of `raw` is in `written`, which may have fields that are newer."""
    if isinstance(raw, dict):
        return isinstance(written, dict) and all(
            name in written and holds(written[name], value) for name, value in raw.items()
        )
    if isinstance(raw, list):
        return len(written) == len(raw) and all(map(holds, written, raw))
    return bool(written == raw and type(written) is type(raw))


def test_every_kind_has_a_frozen_payload_and_every_payload_a_kind() -> None:
    assert {path.name.split(".")[0] for path in FILES} == set(STEP_KINDS)
    assert {load(kind)["kind"] for kind in STEP_KINDS} == set(STEP_KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_frozen_payload_is_read_and_written_again_without_loss(path: Path) -> None:
    raw = json.loads(path.read_text())
    [step] = decode_steps(message(raw))
    assert not isinstance(step, UnknownStep)
    written = json.loads(encode_step(step))
    assert holds(written, raw)
    assert decode_steps(encode_steps([step])) == [step]
    assert encode_steps(decode_steps(encode_steps([step]))) == encode_steps([step])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_ways_of_reading_a_payload_agree(path: Path) -> None:
    """A message with a broken or unknown neighbour is read step by step from parsed JSON."""
    raw = json.loads(path.read_text())
    assert [decode_step(raw)] == decode_steps(message(raw))
    steps, broken = decode_each(message({"kind": "of-tomorrow"}, raw))
    assert steps == [decode_step(raw)]
    assert [part.index for part in broken] == [0]


def test_a_whole_run_folds_to_its_end() -> None:
    raw = load("whole-run")
    steps = decode_steps(json.dumps(raw).encode())
    state = fold(steps)
    assert [step.kind for step in steps] == [step["kind"] for step in raw]
    assert state.status == RunStatus.COMPLETED
    assert state.usage.model_dump() == raw[-1]["totals"]["usage"]
    assert (state.rounds, state.tool_calls, state.model_calls) == (1, 1, 2)
    assert holds(json.loads(encode_steps(steps)), raw)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_fields_of_a_newer_producer_are_ignored(kind: str) -> None:
    raw = load(kind)
    newer = {**raw, "from_tomorrow": {"deep": [1, 2]}}
    for name, value in raw.items():
        if isinstance(value, dict) and name in {"agent", "model_call", "parameters", "totals", "error"}:
            newer[name] = {**value, "from_tomorrow": 1}
    assert decode_steps(message(newer)) == decode_steps(message(raw))


def _with_defaults() -> list[tuple[str, str]]:
    kinds = {kind: type(decode_step(load(kind))) for kind in STEP_KINDS}
    return [
        (kind, name)
        for kind, model in kinds.items()
        for name, field in model.model_fields.items()
        if not field.is_required() and name != "kind"
    ]


@pytest.mark.parametrize(("kind", "name"), _with_defaults())
def test_a_payload_of_before_a_field_was_added_still_decodes(kind: str, name: str) -> None:
    older = {key: value for key, value in load(kind).items() if key != name}
    [step] = decode_steps(message(older))
    model = type(step)
    assert getattr(step, name) == model.model_fields[name].get_default(call_default_factory=True)


def test_the_oldest_request_gets_todays_defaults() -> None:
    [step] = decode_steps(message(load("run-requested.minimal")))
    assert isinstance(step, RunRequested)
    assert (step.attempt, step.max_rounds, step.timeout_s, step.user_id) == (0, 5, 600.0, "default")
    assert step.tools == ()


def test_an_unknown_kind_is_kept_as_it_came() -> None:
    raw = {
        **load("user-request"),
        "kind": "of-tomorrow",
        "content": None,
        "extra": {"a": [1, 2.5, "é", None]},
    }
    [step] = decode_steps(message(raw))
    assert isinstance(step, UnknownStep)
    assert (step.kind, step.seq) == ("of-tomorrow", raw["seq"])
    assert json.loads(encode_step(step)) == raw
    assert decode_steps(encode_steps([step])) == [step]


def test_an_unknown_kind_costs_its_neighbours_nothing() -> None:
    unknown = {**load("user-request"), "kind": "of-tomorrow"}
    steps = decode_steps(message(load("run-claimed"), unknown, load("run-finished")))
    assert [step.kind for step in steps] == ["run-claimed", "of-tomorrow", "run-finished"]


def test_a_broken_step_is_named_and_its_neighbours_survive() -> None:
    broken = {**load("user-request"), "run_id": "not an id", "content": "SECRET-VALUE"}
    steps, faults = decode_each(message(load("run-claimed"), broken, load("run-finished")))
    assert [step.kind for step in steps] == ["run-claimed", "run-finished"]
    [fault] = faults
    assert (fault.index, fault.raw) == (1, broken)
    assert "run_id" in fault.error
    assert "SECRET-VALUE" not in fault.error
    with pytest.raises(Undecodable, match="step 1 of the message"):
        decode_steps(message(load("run-claimed"), broken))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{}", b"null", b"\xff\xfe", b'["\\ud800"]', b"[" * 10_000, b'{"kind": "run-claimed"}'],
)
def test_bytes_that_are_no_batch_are_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_steps(data)


@pytest.mark.parametrize("value", [1, "text", None, [], {}, {"kind": 7}, {"kind": ["run-claimed"]}])
def test_values_that_are_no_step_are_broken_steps(value: object) -> None:
    steps, faults = decode_each(message(value, load("run-claimed")))
    assert [step.kind for step in steps] == ["run-claimed"]
    assert [fault.raw for fault in faults] == [value]


def test_a_reference_to_a_body_is_a_value_of_its_own() -> None:
    [text] = decode_steps(message(load("user-request.body-reference")))
    assert isinstance(text, UserRequest)
    assert isinstance(text.content, BodyRef)
    assert text.content.size == 70_000
    [value] = decode_steps(message(load("tool-result.body-reference")))
    assert isinstance(value, ToolResult)
    assert value.result == load("tool-result.body-reference")["result"]


def test_a_failed_run_says_why() -> None:
    [step] = decode_steps(message(load("run-finished.failed")))
    expected = Failure(
        type="rate-limited",
        message="The model call failed (after 3 tries): HTTP 429: slow down",
        retryable=True,
    )
    assert getattr(step, "error", None) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_id", "0199f0e2-7c1a-4b3e-8f4d-2a6b5c8d9e0f"),
        ("run_id", "0199F0E2-7C1A-7B3E-8F4D-2A6B5C8D9E0F"),
        ("run_id", "0199f0e2-7c1a-7b3e-8f4d-2a6b5c8d9e0f\n"),
        ("seq", -1),
        ("seq", 2**31),
        ("at", "2026-11-20T08:30:00"),
        ("project", "a.b"),
        ("project", "Default"),
        ("project", ""),
        ("project", "default\n"),
        ("attempt", -1),
    ],
)
def test_an_envelope_that_no_consumer_could_use_is_refused(field: str, value: object) -> None:
    with pytest.raises(Undecodable, match=field):
        decode_steps(message({**load("run-claimed"), field: value}))
