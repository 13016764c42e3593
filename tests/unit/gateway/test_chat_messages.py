"""Steps as a chat shows them, and as the shortest form of the API gives them."""

from typing import Any

from services.gateway.chat_messages import chat_message
from services.gateway.simple_views import simple_detail
from services.gateway.views import Cost, view_of
from shared.preview import Shown
from shared.run_state import fold
from shared.steps import AgentThought, BodyRef, RunFinished, Step, ToolResult, UserRequest
from tests.support.fake_runner import use_tool
from tests.support.steps import call, make, model_call, new_key, requested

KEY = new_key()
REQUEST = requested(KEY, instructions="Be brief.")
STEPS: list[Step] = [REQUEST, *(step for batch in use_tool(KEY, REQUEST) for step in batch)]


def shown(step: Step) -> dict[str, Any] | None:
    message = chat_message(step)
    return message.model_dump() if message else None


def test_a_run_is_shown_in_exactly_five_types_of_message() -> None:
    messages = [message for step in STEPS if (message := shown(step))]
    assert messages == [
        {"type": "user-request", "content": "What is 5 + 10?"},
        {"type": "agent-thought", "content": "Using tool: calculator"},
        {"type": "tool-call", "toolName": "calculator", "params": {"expression": "5+10"}},
        {"type": "tool-result", "toolName": "calculator", "result": '{"value": 15}'},
        {"type": "agent-response", "content": "The result is 15."},
    ]


def test_a_thought_that_says_something_is_shown_as_it_is() -> None:
    thought = make(
        AgentThought, KEY, 3, content="First I add.", tool_calls=(call("a"),), model_call=model_call()
    )
    assert shown(thought) == {"type": "agent-thought", "content": "First I add."}


def test_several_tools_are_named_together() -> None:
    thought = make(AgentThought, KEY, 3, tool_calls=(call("a"), call("b")), model_call=model_call())
    assert shown(thought) == {"type": "agent-thought", "content": "Using tools: a, b"}


def test_a_text_result_is_shown_without_quotes_and_a_large_one_by_its_size() -> None:
    ref = BodyRef(sha256="a" * 64, size=70_000)
    plain: Step = make(ToolResult, KEY, 3, call_id="c", tool="t", status="ok", result="15")
    large: Step = make(ToolResult, KEY, 3, call_id="c", tool="t", status="ok", result=ref.model_dump())
    asked: Step = make(UserRequest, KEY, 2, content=ref)
    instead = "[70000 bytes; the run has them]"
    assert shown(plain) == {"type": "tool-result", "toolName": "t", "result": "15"}
    assert shown(large) == {"type": "tool-result", "toolName": "t", "result": instead}
    assert shown(asked) == {"type": "user-request", "content": instead}


def test_the_end_of_a_run_is_no_message_of_its_chat() -> None:
    assert chat_message(make(RunFinished, KEY, 3, status="completed")) is None


def test_the_shortest_form_pairs_calls_with_results_and_counts_tokens() -> None:
    view = view_of(fold(STEPS), Shown(text="What is 5 + 10?"), Shown(text="The result is 15."), Cost())
    detail = simple_detail(view, STEPS)
    assert [(message.role, message.tokens) for message in detail.messages] == [
        ("system", None),
        ("user", None),
        ("assistant", 5),
        ("assistant", 5),
    ]
    assert [(each.tool_name, each.args, each.return_value) for each in detail.tool_calls] == [
        ("calculator", {"expression": "5+10"}, {"value": 15})
    ]
    assert (detail.summary.status, detail.summary.total_tokens, detail.summary.total_cost) == (
        "completed",
        30,
        None,
    )


def test_a_call_refused_before_it_ran_has_a_result_and_no_arguments() -> None:
    refused = make(ToolResult, KEY, 3, call_id="c1", tool="nope", status="error", result="unknown tool")
    view = view_of(fold([REQUEST]), Shown(), Shown(), Cost())
    assert simple_detail(view, [REQUEST, refused]).tool_calls[0].args is None
