"""From the state to the next request, and from the model's answer to calls that can be checked."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runner.calls import CALL_ID_LENGTH, check_call, new_call_ids
from services.runner.tools.base import ToolError
from shared.conversation import Conversation
from shared.model_request import ModelRequest, Tools
from shared.provider_messages import tool_content
from shared.run_state import agent_of, fold
from shared.step_codec import decode_steps, encode_steps
from shared.steps import (
    AgentResponse,
    AgentThought,
    BodyRef,
    Effect,
    Message,
    Parameters,
    RequestedToolCall,
    Step,
    UserRequest,
)
from tests.support.steps import call, claimed, make, model_call, new_key, requested, result, tool_spec

KEY = new_key()


def opening(**fields: Any) -> list[Step]:
    return [requested(KEY, **fields), claimed(KEY, 1), make(UserRequest, KEY, 2, content="What is 5 + 10?")]


def talk() -> list[Step]:
    calls = (call("pure", '{"value":  1}', "call00001"),)
    return [
        *opening(
            instructions="Be exact.",
            messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Hello")),
            tools=(tool_spec("pure"),),
            parameters=Parameters(temperature=0.0, random_seed=7),
        ),
        make(AgentThought, KEY, 3, content="Let me see.", tool_calls=calls, model_call=model_call()),
        result(KEY, 4, {"doubled": 2}, call_id="call00001", tool="pure"),
        make(AgentResponse, KEY, 5, content="15", model_call=model_call()),
    ]


def request_after(steps: Sequence[Step]) -> ModelRequest:
    state = fold(steps)
    assert state.request is not None
    return Conversation(state.request, agent_of(state.request, state.agent)).request(state.turns)


def test_the_request_is_the_conversation_in_the_providers_form() -> None:
    request = request_after(talk())
    assert [m["role"] for m in request.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    thought, told = request.messages[4], request.messages[5]
    assert thought["tool_calls"] == [
        {"id": "call00001", "type": "function", "function": {"name": "pure", "arguments": '{"value":  1}'}}
    ]
    assert told == {"role": "tool", "tool_call_id": "call00001", "name": "pure", "content": '{"doubled": 2}'}
    assert request.parameters == {"temperature": 0.0, "random_seed": 7}
    assert [tool["function"]["name"] for tool in request.tools] == ["pure"]  # type: ignore[index, call-overload]


def test_a_request_rebuilt_from_the_log_has_the_same_hash() -> None:
    steps = talk()
    for length in range(3, len(steps) + 1):
        again = decode_steps(encode_steps(steps[:length]))
        assert request_after(again).hash() == request_after(steps[:length]).hash()


def test_claims_and_times_do_not_change_the_hash_but_words_and_parameters_do() -> None:
    base = request_after(opening()).hash()
    retaken = [*opening(), claimed(KEY, 3, attempt=2)]
    assert request_after(retaken).hash() == base
    changed = [
        opening(instructions="x"),
        opening(model="m"),
        opening(tools=(tool_spec("pure"),)),
        opening(parameters=Parameters(temperature=0.0)),
        opening(messages=(Message(role="user", content="x"),)),
    ]
    hashes = {request_after(steps).hash() for steps in changed}
    assert len(hashes | {base}) == len(changed) + 1


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    left = ModelRequest("m", [{"role": "user", "content": "é"}], Tools(), {"top_p": 1, "temperature": 0.5})
    right = ModelRequest("m", [{"content": "é", "role": "user"}], Tools(), {"temperature": 0.5, "top_p": 1})
    assert left.hash() == right.hash()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)
names = st.sampled_from(["temperature", "top_p", "max_tokens", "random_seed"])


@given(st.lists(objects, max_size=3), st.lists(objects, max_size=3), st.dictionaries(names, values))
def test_the_hash_is_that_of_the_whole_request_as_canonical_json(
    messages: list[Any], tools: list[Any], parameters: dict[str, Any]
) -> None:
    whole = {"model": "m", "messages": messages, "tools": tools, **parameters}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    request = ModelRequest("m", messages, Tools(tools), parameters)
    assert request.hash() == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_of_a_request_stays_what_it_was_in_logs_of_earlier_versions() -> None:
    hashes = [request_after(talk()[:length]).hash()[:12] for length in (3, 5, 6)]
    assert hashes == ["598604d31674", "d85cc40f465f", "423bc5d2d951"]


def test_a_body_that_was_not_read_is_never_sent_to_a_model() -> None:
    body = BodyRef(sha256="0" * 64, size=70_000)
    with pytest.raises(TypeError, match="not read"):
        request_after([*opening()[:2], make(UserRequest, KEY, 2, content=body)])


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"result": "plain"}, "plain"),
        ({"result": {"b": 1, "a": "é"}}, '{"a": "é", "b": 1}'),
        ({"result": None}, "null"),
        ({"result": "no", "status": "error", "error_type": "failed"}, "Error (failed): no"),
        ({"result": [1], "status": "denied"}, "Error (denied): [1]"),
    ],
)
def test_what_the_model_reads_of_a_result(fields: dict[str, Any], content: str) -> None:
    value = fields.pop("result")
    assert tool_content(result(KEY, 1, value, **fields)) == content


ids = st.sampled_from(["", "null", "call00001", "call00002", "x"]) | st.text(max_size=12)


@settings(deadline=None)
@given(st.lists(ids, max_size=12), st.sets(ids, max_size=5))
def test_call_ids_are_unique_in_the_run(given_ids: list[str], taken: set[str]) -> None:
    state = fold([requested(KEY)])
    state.callers = dict.fromkeys(taken)
    calls = [RequestedToolCall(call_id=i, tool="t", arguments="{}") for i in given_ids]
    made = [c.call_id for c in new_call_ids(state, calls)]
    assert len(set(made)) == len(made)
    assert not set(made) & taken
    assert "" not in made
    assert "null" not in made
    for before, after in zip(given_ids, made, strict=True):
        assert after == before or (len(after) == CALL_ID_LENGTH == 9 and after.isalnum())
        assert re.fullmatch("[A-Za-z0-9_-]{1,64}", after)
    assert [c.call_id for c in new_call_ids(state, calls)] == made


def checked(raw: str, complaint: str | None = None) -> Any:
    def effect_of(*_: object) -> Effect:
        if complaint is not None:
            raise ToolError(complaint)
        return Effect.IDEMPOTENT

    return check_call(call("pure", raw), [tool_spec("pure", Effect.IRREVERSIBLE)], effect_of)


@pytest.mark.parametrize(
    "raw", ["{", "nul", "[1]", '"text"', "7", "null", "[" * 100_000, "{" * 3, "9" * 10_000, "\x00"]
)
def test_arguments_that_are_no_object_are_told_to_the_model(raw: str) -> None:
    outcome = checked(raw)
    assert outcome.error_type == "invalid-arguments"
    assert "JSON object" in outcome.complaint
    assert (outcome.arguments, outcome.effect) == (raw, Effect.PURE)


@pytest.mark.parametrize(
    ("raw", "why"),
    [('{"a": "\\ud800"}', "lone surrogates"), ('{"a": NaN}', "NaN"), ('{"a": [-Infinity]}', "-Infinity")],
)
def test_arguments_that_no_json_in_utf_8_can_hold_are_told_to_the_model(raw: str, why: str) -> None:
    outcome = checked(raw)
    assert outcome.error_type == "invalid-arguments"
    assert why in outcome.complaint


def test_arguments_left_out_are_an_empty_object() -> None:
    assert checked("").arguments == {}
    assert checked("").effect == Effect.IDEMPOTENT


def test_what_the_tool_says_about_its_arguments_is_told() -> None:
    assert checked("{}", "`value` is required").complaint == "`value` is required"


@given(st.text(max_size=200) | st.recursive(st.none() | st.text(max_size=5), st.lists).map(json.dumps))
def test_no_text_of_a_model_breaks_the_check(raw: str) -> None:
    outcome = checked(raw)
    assert (outcome.complaint is None) == isinstance(outcome.arguments, dict)
