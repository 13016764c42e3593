"""Faults: how they are written, when they are due, how the model recovers from those in its calls."""

import json
import re

import pytest

from services.simulator.faults.fault import (
    BadDirective,
    Fault,
    Kind,
    parse_fault,
    read_directives,
    without_directives,
)
from services.simulator.faults.ledger import MAX_STANDING, Due, FullLedger, Ledger
from tests.unit.simulator.dialogue import CALCULATOR, DEMO, WEATHER, ask, calculate, extend

KEY, OTHER = b"one", b"other"


def fresh(memory: int = 100, ttl_s: float = 60.0) -> Ledger:
    return Ledger(memory, ttl_s)


def statuses(ledger: Ledger, text: str, requests: int, key: bytes = KEY, call: int = 1) -> list[str | None]:
    faults = read_directives(text)
    due = [ledger.due(faults, key, call, now=0.0).answer for _ in range(requests)]
    return [fault.name if fault else None for fault in due]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("429", Fault(Kind.STATUS, 429)),
        ("429 2s x2", Fault(Kind.STATUS, 429, 2.0, 2)),
        ("hang 250ms @2", Fault(Kind.HANG, None, 0.25, None, 2)),
        ("slow", Fault(Kind.SLOW, None, 2.0)),
        ("Cut-Stream x1", Fault(Kind.CUT_STREAM, times=1)),
        ("bad-json", Fault(Kind.BAD_JSON, times=1)),
        ("bad-json x3 @2", Fault(Kind.BAD_JSON, times=3, call=2)),
        ("endless-tools", Fault(Kind.ENDLESS_TOOLS)),
    ],
)
def test_faults_are_written_as_name_duration_count_and_place(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "there is no fault 'nonsense'; the faults are: 400, "),
        ("418", "there is no fault '418'"),
        ("status", "there is no fault 'status'"),
        ("", "is not of the form"),
        ("429 x2 2s", "is not of the form"),
        ("429 x0", "xN counts from 1"),
        ("429 x5000", "at most x1000"),
        ("hang 9999s", "at most 600s"),
        ("empty 3s", "empty takes no duration"),
    ],
)
def test_a_wrong_directive_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(BadDirective, match=re.escape(message)):
        parse_fault(text)


def test_directives_are_not_part_of_the_question() -> None:
    text = "What is 2 + 2? [[simulate: 429 x2]] [[ simulate: slow 1s ]]"
    assert [fault.name for fault in read_directives(text)] == ["429", "slow"]
    assert without_directives(text) == "What is 2 + 2?"


def test_too_many_directives_are_refused() -> None:
    with pytest.raises(BadDirective, match="at most 8"):
        read_directives("[[simulate: 500 x1]]" * 9)


def test_a_counted_fault_ends_and_starts_anew() -> None:
    assert statuses(fresh(), "[[simulate: 429 x2]]", 7) == ["429", "429", None, "429", "429", None, "429"]


def test_a_fault_without_a_count_lasts() -> None:
    assert statuses(fresh(), "[[simulate: 500]]", 4) == ["500"] * 4


def test_counts_follow_each_other() -> None:
    text = "[[simulate: 429 x2]] [[simulate: 503 x1]]"
    assert statuses(fresh(), text, 4) == ["429", "429", "503", None]


def test_prompts_do_not_disturb_each_other() -> None:
    ledger = fresh()
    assert statuses(ledger, "[[simulate: 429 x2]]", 1) == ["429"]
    assert statuses(ledger, "[[simulate: 429 x2]]", 3, OTHER) == ["429", "429", None]
    assert statuses(ledger, "[[simulate: 429 x2]]", 2) == ["429", None]


def test_later_model_calls_of_the_turn_are_spared() -> None:
    ledger = fresh()
    assert statuses(ledger, "[[simulate: 429 x1]]", 2) == ["429", None]
    assert statuses(ledger, "[[simulate: 429 x1]]", 3, call=2) == [None, None, None]


def test_a_place_picks_the_model_call() -> None:
    ledger = fresh()
    assert statuses(ledger, "[[simulate: 500 x1 @2]]", 2) == [None, None]
    assert statuses(ledger, "[[simulate: 500 x1 @2]]", 2, call=2) == ["500", None]


def test_counts_are_forgotten_after_a_while() -> None:
    ledger, faults = fresh(ttl_s=10), read_directives("[[simulate: 429 x2]]")
    assert ledger.due(faults, KEY, 1, now=0.0).answer
    assert ledger.due(faults, OTHER, 1, now=11.0).answer
    assert [bool(ledger.due(faults, KEY, 1, now=12.0).answer) for _ in range(3)] == [True, True, False]


def test_the_memory_is_bounded() -> None:
    ledger, faults = fresh(memory=3), read_directives("[[simulate: 429 x2]]")
    for number in range(50):
        ledger.due(faults, str(number).encode(), 1, now=0.0)
    assert len(ledger._counts) == 3


def test_slowness_goes_with_other_faults() -> None:
    due = fresh().due(read_directives("[[simulate: slow 1s]] [[simulate: cut-stream]]"), KEY, 1, now=0.0)
    assert due == Due(Fault(Kind.CUT_STREAM), Fault(Kind.SLOW, None, 1.0), None)


def test_a_standing_fault_hits_the_next_requests_of_its_model() -> None:
    ledger = fresh()
    ledger.add(parse_fault("503 x2"), "mistral-small-latest")
    small, large = ("mistral-small-2603", "mistral-small-latest"), ("mistral-large-latest",)
    assert ledger.standing_due(large, 1).answer is None
    assert [bool(ledger.standing_due(small, 1).answer) for _ in range(3)] == [True, True, False]
    assert ledger.standing() == []


def test_a_standing_fault_without_a_count_stays_until_removed() -> None:
    ledger = fresh()
    standing = ledger.add(parse_fault("500"), None)
    assert all(ledger.standing_due(("any",), 1).answer for _ in range(5))
    assert ledger.remove(standing.id)
    assert not ledger.remove(standing.id)
    assert ledger.standing_due(("any",), 1) == Due()


def test_standing_faults_are_bounded() -> None:
    ledger = fresh()
    for _ in range(MAX_STANDING):
        ledger.add(parse_fault("500"), None)
    with pytest.raises(FullLedger, match="switch some off"):
        ledger.add(parse_fault("500"), None)
    ledger.clear()
    assert ledger.standing() == []


@pytest.mark.parametrize("kind", [Kind.BAD_JSON, Kind.BAD_ARGUMENTS, Kind.UNKNOWN_TOOL])
def test_a_model_told_of_its_mistake_mends_it(kind: Kind) -> None:
    messages = [{"role": "user", "content": DEMO}]
    faulty = ask(messages, fault=kind)
    told = extend(messages, faulty, ["Error (invalid-arguments): this cannot be used"])
    mended = ask(told)
    assert mended.text == "Let me correct that: I add 5 and 10."
    assert json.loads(mended.calls[0].arguments) == {"operation": "add", "x": 5, "y": 10}
    following = ask(extend(told, mended, ["15"]))
    assert json.loads(following.calls[0].arguments) == {"operation": "multiply", "x": 15, "y": 3}


def test_bad_json_is_no_json() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(ask(DEMO, fault=Kind.BAD_JSON).calls[0].arguments)


def test_bad_arguments_break_the_schema() -> None:
    arguments = json.loads(ask(DEMO, fault=Kind.BAD_ARGUMENTS).calls[0].arguments)
    assert (
        arguments["operation"] not in CALCULATOR["function"]["parameters"]["properties"]["operation"]["enum"]
    )


def test_an_unknown_tool_is_not_among_those_offered() -> None:
    assert ask(DEMO, fault=Kind.UNKNOWN_TOOL).calls[0].name == "calculator_pro"


@pytest.mark.parametrize("kind", [Kind.BAD_JSON, Kind.BAD_ARGUMENTS, Kind.UNKNOWN_TOOL])
def test_a_mistake_needs_no_task_but_a_tool(kind: Kind) -> None:
    assert len(ask("Hello!", tools=(WEATHER,), fault=kind).calls) == 1
    assert ask("Hello!", tools=(), fault=kind).calls == ()


def test_mistakes_are_made_once_per_turn() -> None:
    ledger, faults = fresh(), read_directives("[[simulate: bad-json]] [[simulate: unknown-tool]]")
    kinds = [ledger.due(faults, KEY, call, now=0.0).tools for call in (1, 2, 3)]
    assert [fault.kind if fault else None for fault in kinds] == [Kind.BAD_JSON, Kind.UNKNOWN_TOOL, None]
    assert ledger.due(faults, KEY, 1, now=0.0).tools, "a retry of the first call errs in the same way"


def test_endless_tools_never_come_to_an_answer() -> None:
    messages = [{"role": "user", "content": DEMO}]
    for _ in range(10):
        choice = ask(messages, fault=Kind.ENDLESS_TOOLS)
        assert choice.finish_reason == "tool_calls"
        messages = extend(messages, choice, [calculate(json.loads(c.arguments)) for c in choice.calls])


def test_an_empty_answer_is_empty() -> None:
    choice = ask(DEMO, fault=Kind.EMPTY)
    assert (choice.text, choice.calls, choice.finish_reason) == ("", (), "stop")
