"""Which conversations the API takes, and how it refuses the others."""

from typing import Any

import pytest

from services.simulator.errors import ApiError
from tests.unit.simulator.dialogue import ask

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "abcdefghi", "function": {"name": "calculator", "arguments": "{}"}}
THOUGHT = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"}


def refused(messages: list[dict[str, Any]]) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as caught:
        ask(messages)
    body = caught.value.body
    assert not isinstance(body, str)
    return caught.value.status, body["code"], body["message"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([USER, THOUGHT, RESULT, USER], "Unexpected role 'user' after role 'tool'"),
        ([USER, RESULT], "Unexpected role 'tool' after role 'user'"),
        ([RESULT], "Unexpected role 'tool' as the first role"),
        (
            [USER, {"role": "assistant", "content": "x"}],
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
        ),
        ([USER, THOUGHT, USER], "Not the same number of function calls and responses"),
        ([USER, THOUGHT, RESULT, RESULT], "Unexpected tool call id abcdefghi in tool results"),
    ],
)
def test_messages_out_of_order_are_refused(messages: list[dict[str, Any]], message: str) -> None:
    assert refused(messages) == (400, "3230", message)


def test_a_tool_call_id_of_another_form_is_refused() -> None:
    thought = {**THOUGHT, "tool_calls": [{**CALL, "id": "call_1"}]}
    status, code, message = refused([USER, thought, {**RESULT, "tool_call_id": "call_1"}])
    assert (status, code) == (400, "3280")
    assert message == "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."


def test_an_empty_assistant_message_is_refused() -> None:
    assert refused([USER, {"role": "assistant", "content": ""}, USER])[:2] == (400, "3240")


def test_content_in_chunks_is_read() -> None:
    chunks = [{"type": "text", "text": "What is"}, {"type": "text", "text": "2 + 2?"}]
    assert ask([{"role": "user", "content": chunks}], tools=()).text == "The result is 4."


def test_arguments_as_an_object_and_as_text_are_the_same() -> None:
    for arguments in ({"operation": "add", "x": 2, "y": 2}, '{"operation": "add", "x": 2, "y": 2}'):
        call = {"id": "abcdefghi", "function": {"name": "calculator", "arguments": arguments}}
        thought = {"role": "assistant", "content": "", "tool_calls": [call]}
        question = {"role": "user", "content": "What is 2 + 2?"}
        assert ask([question, thought, {**RESULT, "content": "4"}]).text == "The result is 4."
