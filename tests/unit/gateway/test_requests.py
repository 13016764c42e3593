"""What clients may send, and how a refusal names the field and what would be right."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_json

from services.gateway.problems import Problem
from services.gateway.requests import RunInput
from services.gateway.validation import invalid_body


def refused(data: bytes) -> Problem:
    with pytest.raises(ValidationError) as caught:
        RunInput.model_validate_json(data)
    return invalid_body(caught.value, RunInput)


def field_of(**fields: Any) -> tuple[str, str]:
    """The first field at fault of a request with these fields, and the message about it."""
    error = refused(to_json({"prompt": "hi", **fields})).errors[0]
    return error.field, error.message


def test_a_prompt_alone_is_a_whole_request() -> None:
    given = RunInput.model_validate_json(b'{"prompt": "hi"}')
    assert (given.agent, given.max_rounds, given.tools) == ("assistant", None, None)


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    assert field_of(prompt=prompt)[0] == "prompt"


def test_a_missing_prompt_is_named() -> None:
    assert refused(b"{}").detail == "prompt: this field is required"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"temperature": 1.6}, "parameters.temperature"),
        ({"temperature": -0.1}, "parameters.temperature"),
        ({"top_p": 0}, "parameters.top_p"),
        ({"top_p": 1.01}, "parameters.top_p"),
        ({"max_tokens": 0}, "parameters.max_tokens"),
        ({"max_tokens": 1.5}, "parameters.max_tokens"),
        ({"random_seed": -1}, "parameters.random_seed"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters: dict[str, float], field: str) -> None:
    assert field_of(parameters=parameters)[0] == field


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ['{"a": %s}', '{"a": [1, {"b": %s}]}'])
def test_numbers_that_json_does_not_have_are_refused_wherever_they_stand(number: str, place: str) -> None:
    problem = refused(b'{"prompt": "hi", "metadata": %s}' % (place % number).encode())
    assert problem.errors[0].field == "metadata"
    assert "give a finite number or null" in problem.errors[0].message


@pytest.mark.parametrize("temperature", [0, 0.0, 1.5])
def test_the_ends_of_a_range_belong_to_it(temperature: float) -> None:
    data = to_json({"prompt": "hi", "parameters": {"temperature": temperature, "top_p": 1}})
    assert RunInput.model_validate_json(data).parameters.temperature == temperature


def test_a_number_in_quotes_is_not_guessed_at() -> None:
    assert field_of(max_rounds="5")[0] == "max_rounds"


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    field, message = field_of(promt="typing error")
    assert field == "promt"
    assert "prompt, agent, model" in message


def test_an_unknown_field_further_in_is_answered_with_the_known_ones_there() -> None:
    field, message = field_of(parameters={"temprature": 1})
    assert field == "parameters.temprature"
    assert "temperature, top_p, max_tokens, random_seed" in message


def test_a_tool_named_twice_is_refused() -> None:
    assert field_of(tools=["calculator", "calculator"]) == ("tools", "each name may stand here once")


def test_broken_json_is_answered_with_the_position() -> None:
    error = refused(b'{"prompt": "hi"').errors[0]
    assert error.field == "body"
    assert "line 1 column 15" in error.message


def test_json_nested_ten_thousand_deep_is_refused_without_a_crash() -> None:
    deep = b'{"prompt": "hi", "metadata": {"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}"
    assert "recursion limit" in refused(deep).detail


def test_a_refusal_never_quotes_what_was_sent() -> None:
    problem = refused(to_json({"prompt": 7, "model": {"secret": "hunter2"}}))
    assert "hunter2" not in problem.document.model_dump_json()


def test_a_hundred_faults_make_a_short_answer() -> None:
    assert len(refused(to_json({"prompt": "hi", **{f"x{index}": 1 for index in range(100)}})).errors) == 20


def test_more_than_two_hundred_faults_are_only_counted() -> None:
    problem = refused(to_json({f"x{index}": 1 for index in range(90_000)}))
    assert problem.errors == ()
    assert "the body has 90001 faults" in problem.detail
    assert "prompt, agent, model" in problem.detail


@pytest.mark.parametrize("field", ["messages", "tools"])
def test_a_list_of_half_a_million_wrong_items_is_refused_at_the_first(field: str) -> None:
    data = b'{"prompt": "hi", "%s": [%s1]}' % (field.encode(), b"1," * 500_000)
    assert [error.field for error in refused(data).errors] == [f"{field}.0"]


def test_a_field_name_is_given_back_cut() -> None:
    assert field_of(**{"x" * 100_000: 1})[0] == "x" * 200
