"""Steps as a chat shows them: five types of message, by the names that chat pages know. Pure."""

import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from shared.steps import (
    AgentResponse,
    AgentThought,
    BodyRef,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
    reference_in,
)


class ChatMessage(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: str


class Said(ChatMessage):
    """`user-request`, `agent-thought` or `agent-response`."""

    content: str


class Called(ChatMessage):
    type: str = "tool-call"
    toolName: str  # noqa: N815 - the name on the wire
    params: JsonValue


class Returned(ChatMessage):
    type: str = "tool-result"
    toolName: str  # noqa: N815 - the name on the wire
    result: str


class Failed(ChatMessage):
    type: str = "error"
    message: str


def chat_message(step: Step) -> ChatMessage | None:
    """What a chat shows of the step; None for steps that are none of its business."""
    match step:
        case UserRequest() | AgentResponse():
            return Said(type=step.kind, content=_text(step.content))
        case AgentThought():
            # A model that asks for tools often says nothing beside.
            return Said(
                type=step.kind, content=_text(step.content) or _tools([c.tool for c in step.tool_calls])
            )
        case ToolCall():
            return Called(toolName=step.tool, params=step.arguments)
        case ToolResult():
            return Returned(toolName=step.tool, result=_text(step.result))
    return None


def _tools(names: Sequence[str]) -> str:
    return f"Using {'tool' if len(names) == 1 else 'tools'}: {', '.join(names)}"


def _text(value: JsonValue | BodyRef) -> str:
    """The value as text; a large one, which stands here as a reference, is only named."""
    if isinstance(value, str):
        return value
    ref = value if isinstance(value, BodyRef) else reference_in(value)
    if ref is not None:
        return f"[{ref.size} bytes; the run has them]"
    return json.dumps(value, ensure_ascii=False)
