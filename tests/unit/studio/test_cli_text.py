"""What a model or a tool wrote reaches the terminal as text and nothing else."""

import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from shared.step_codec import decode_step
from shared.steps import (
    STEP_KINDS,
    AgentResponse,
    Attempt,
    BodyRef,
    RunFinished,
    Step,
    UnknownStep,
    UserRequest,
)
from studio.client.events import Delta, ModelCallStarted, Retrying
from studio.client.models import Run
from studio.terminal import live as live_module
from studio.terminal.amounts import counted
from studio.terminal.lines import retry_row, step_row
from studio.terminal.live import LiveRun
from studio.terminal.runs_table import runs_table
from studio.terminal.step_text import words
from studio.terminal.text import STEERING, json_line, one_line, plain
from studio.terminal.timeline import bar, bar_width, run_view
from tests.unit.studio.client_steps import BEGIN, CALL, RUN_ID, run_steps

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J [bold]loud[/bold] :smile: \u202egnp.exe \U000e0041 \r\x08"
HIDING = "\u200b\u2060\ufeff\u00ad\u180e\u115f\u3164\u034f\U000e0100\U000e01ef"
ENVELOPE: dict[str, Any] = {"run_id": RUN_ID, "at": BEGIN, "project": "default", "writer": "w"}
FAILURE = {"type": HOSTILE, "message": HOSTILE}


def hostile_steps() -> Iterator[Step]:
    """A step of every kind, hostile text in every field that holds text of others."""
    fields: dict[str, dict[str, Any]] = {
        "run-requested": {"agent": {"name": HOSTILE}, "model": HOSTILE, "prompt": HOSTILE},
        "run-claimed": {"runner": HOSTILE, "attempt": 2},
        "user-request": {"content": HOSTILE},
        "agent-thought": {
            "content": HOSTILE,
            "tool_calls": [{"call_id": "c", "tool": HOSTILE, "arguments": HOSTILE}],
            "model_call": CALL.model_copy(update={"answered": HOSTILE, "finish_reason": HOSTILE}),
        },
        "tool-call": {
            "call_id": "c",
            "tool": HOSTILE,
            "arguments": {HOSTILE: HOSTILE},
            "effect": "pure",
            "idempotency_key": "k",
        },
        "tool-result": {
            "call_id": "c",
            "tool": HOSTILE,
            "status": "error",
            "result": [HOSTILE],
            "artifacts": [{"name": HOSTILE, "media_type": HOSTILE, "size": 1, "data": "eA=="}],
        },
        "memory-snapshot": {"memory": {HOSTILE: HOSTILE}},
        "approval-requested": {
            "call_id": "c",
            "tool": HOSTILE,
            "arguments": {HOSTILE: HOSTILE},
            "arguments_hash": "h",
        },
        "approval-resolved": {
            "call_id": "c",
            "decision": "denied",
            "arguments_hash": "h",
            "who": HOSTILE,
            "note": HOSTILE,
        },
        "outcome-resolved": {"call_id": "c", "decision": "fail", "who": HOSTILE, "note": HOSTILE},
        "agent-changed": {"agent": {"name": HOSTILE}, "call_id": "c"},
        "answer-rejected": {"content": HOSTILE, "problem": HOSTILE, "model_call": CALL},
        "run-verified": {
            "equal": False,
            "steps": 2,
            "model_calls": 1,
            "divergence": {"step": 2, "cause": "message", "path": HOSTILE, "diff": HOSTILE},
        },
        "run-retried": {"who": HOSTILE, "why": HOSTILE},
        "cancel-requested": {"who": HOSTILE, "why": HOSTILE},
        "run-waiting": {"reason": "approval"},
        "spend-reserved": {"usd": "0.25", "call_id": HOSTILE},
        "budget-raised": {"budget_usd": 1.5, "who": HOSTILE},
        "agent-response": {
            "content": HOSTILE,
            "model_call": CALL.model_copy(update={"attempts": (Attempt(status=429, error=HOSTILE),)}),
        },
        "run-finished": {"status": "failed", "error": FAILURE},
        "run-deleted": {"who": HOSTILE},
    }
    assert set(fields) == set(STEP_KINDS)
    for seq, (kind, given_fields) in enumerate(fields.items()):
        yield decode_step({**ENVELOPE, "seq": seq, "kind": kind, **_plain_values(given_fields)})
    yield UnknownStep(**ENVELOPE, seq=len(fields), kind=HOSTILE, new=HOSTILE)


def _plain_values(values: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "model_dump", lambda v=value: v)() for name, value in values.items()}


def printed(*what: RenderableType) -> str:
    """As on a terminal, but without the styles, so that every escape in it comes from the text."""
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system=None, width=100, markup=False, emoji=False).print(
        *what
    )
    return file.getvalue()


def assert_harmless(output: str) -> None:
    assert not STEERING.search(output)
    assert output.count("loud[/bold]") == output.count("loud")


@pytest.mark.parametrize("step", list(hostile_steps()), ids=lambda step: step.kind[:20])
def test_hostile_step_is_shown_as_text(step: Step) -> None:
    assert_harmless(printed(step_row(step, BEGIN)))


def test_hostile_run_is_shown_as_text() -> None:
    run = Run(
        run_id=RUN_ID,
        status="failed",
        agent=HOSTILE,
        model=HOSTILE,
        prompt=HOSTILE,
        session_id=HOSTILE,
        user_id=HOSTILE,
        group=HOSTILE,
        error=FAILURE,
        steps=tuple(hostile_steps()),
    )
    answered = run.model_copy(update={"error": None, "response": HOSTILE})
    for shown in (run, answered):
        assert_harmless(printed(run_view(shown)))
    assert_harmless(printed(runs_table([run], BEGIN, short=True, narrow=False)))


def test_hostile_live_events_are_shown_as_text() -> None:
    assert_harmless(printed(retry_row(Retrying(status=None, error=HOSTILE, wait_s=1))))
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100, height=30, markup=False)
    live = LiveRun(console)
    for event in (ModelCallStarted(model=HOSTILE), Delta(text=HOSTILE), Delta(text="more")):
        live.take(event)
        assert_harmless(printed(live))
    assert "more" in printed(live)


@given(st.text())
def test_any_text_is_harmless_and_keeps_its_words(text: str) -> None:
    assert not STEERING.search(plain(text))
    assert not STEERING.search(one_line(text))
    assert "\n" not in one_line(text)
    assert len(one_line(text, 20)) <= 20
    assert plain(text + " ordinary words\n\twith 表 and 👩‍👩‍👧").endswith(
        " ordinary words\n\twith 表 and 👩‍👩‍👧"
    )


def test_characters_that_nobody_sees_are_replaced() -> None:
    assert plain(f"a{HIDING}b") == "a" + "\N{REPLACEMENT CHARACTER}" * len(HIDING) + "b"


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    )
)
def test_json_lines_hold_the_same_value_in_harmless_text(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        return
    line = json_line(text)
    assert json.loads(line) == value
    assert not STEERING.search(line)


def test_large_body_is_shown_by_its_size() -> None:
    assert words(BodyRef(sha256="ab" * 32, size=123_456)) == "[123,456 bytes, stored as abababababab]"


def test_long_line_is_cut_with_a_mark() -> None:
    assert one_line("word " * 100, 20).endswith("…")
    assert one_line("x" * 10_000_000, 50) == "x" * 49 + "…"
    assert one_line("  two\n\n words\t", 20) == "two words"


@pytest.mark.parametrize(
    ("begin", "end", "total", "picture"),
    [
        (0, 10, 10, "██████████"),
        (5, 10, 10, "     █████"),
        (0, 0, 10, "▏"),
        (10, 10, 10, "         ▏"),
        (0, 0.001, 10, "█"),
        (0, 0, 0, "▏"),
    ],
)
def test_bar_lies_where_the_time_went(begin: float, end: float, total: float, picture: str) -> None:
    assert bar(begin, end, total, 10) == picture


@pytest.mark.parametrize(("width", "cells"), [(200, 24), (100, 24), (90, 14), (80, 0), (60, 0)])
def test_bar_gives_way_before_the_words(width: int, cells: int) -> None:
    assert bar_width(width) == cells
    run = Run(run_id=RUN_ID, status="completed", steps=run_steps())
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(run_view(run, width))
    shown = file.getvalue()
    assert shown.count("─") == cells
    assert "calculator = 45" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_one_of_a_thing_is_no_plural() -> None:
    assert [counted(number, "round") for number in (0, 1, 2, 1000)] == [
        *("0 rounds", "1 round", "2 rounds", "1,000 rounds")
    ]


def test_row_says_when_what_and_how_long() -> None:
    steps = run_steps()
    assert printed(step_row(steps[5], steps[0].at)).split() == (
        ["+1.25", "s", "tool-result", "calculator", "=", "45", "ok", "·", "3", "ms"]
    )


def test_clock_that_went_back_is_no_negative_time() -> None:
    steps = run_steps()
    assert "+0 ms" in printed(step_row(steps[1], steps[1].at + timedelta(seconds=5)))


def test_live_view_follows_a_run_to_its_end() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=120, height=30)
    with LiveRun(console) as live:
        for step in run_steps():
            live.take(step)
        assert isinstance(step, RunFinished)
    output = file.getvalue()
    positions = [output.index(step.kind) for step in run_steps()]
    assert positions == sorted(positions)
    assert output.endswith("\x1b[?25h\x1b[1A\x1b[2K") or "\x1b[?25h" in output


def test_retry_that_no_live_event_told_of_is_shown_with_its_step() -> None:
    tries = (Attempt(status=429, error="first", wait_s=1), Attempt(status=429, error="second", wait_s=2))
    steps = run_steps()
    thought = steps[3].model_copy(update={"model_call": CALL.model_copy(update={"attempts": tries})})
    file = io.StringIO()
    live = LiveRun(Console(file=file, width=120))
    for event in (*steps[:3], Retrying(status=429, error="second", wait_s=2), thought, steps[6]):
        live.take(event)
    output = file.getvalue()
    assert (output.count("first"), output.count("second")) == (1, 1)


def screen_of(output: str) -> list[str]:
    """What a high terminal shows after this output: line ends, cursor up and erase line are obeyed."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", output):
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[1A":
            row -= 1
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not piece.startswith(("\x1b", "\r")):
            lines[row] = piece
    return [line.rstrip() for line in lines if line.strip()]


def test_text_that_the_model_wrote_never_stands_below_the_step_that_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "FRAME_S", 60.0)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100, height=60)
    *before, response, finished = run_steps()
    assert isinstance(response, AgentResponse)
    with LiveRun(console) as live:
        for event in (*before, Delta(text="half an answ")):
            live.take(event)
        live.say("a line of its own")
        assert screen_of(file.getvalue())[-1].strip() == "half an answ"
        live.take(response)
        assert "agent-response" in screen_of(file.getvalue())[-2]
        assert "running" in screen_of(file.getvalue())[-1]
        live.take(finished)
        assert "half an answ" not in "\n".join(screen_of(file.getvalue()))
    assert "run-finished" in screen_of(file.getvalue())[-1]


def test_moving_part_never_erases_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "FRAME_S", 0.0002)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=100, height=60)
    request, *_, finished = run_steps()
    questions = [UserRequest(**ENVELOPE, seq=seq, content=f"question {seq}") for seq in range(1, 1200)]
    with LiveRun(console) as live:
        live.take(request)
        for question in questions:
            live.take(Delta(text="word " * (question.seq % 60)))
            live.take(question)
        live.take(finished)
    shown = [line.split(maxsplit=3)[-1] for line in screen_of(file.getvalue())]
    assert shown[1:-1] == [question.content for question in questions]
