"""The conversation of a request: messages in plain form, their order checked, the current turn.

In: what was said and what the tools answered. Out: deciding what comes next (`planner`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services.simulator import errors
from services.simulator.schemas import AnyMessage, AssistantMessage, Content, SystemMessage, ToolMessage

_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")
_MAY_FOLLOW = {
    "": ("system", "user", "assistant"),
    "system": ("system", "user", "assistant"),
    "user": ("system", "user", "assistant"),
    "assistant": ("user", "assistant", "tool"),
    "tool": ("assistant", "tool"),
}


@dataclass(frozen=True)
class Call:
    """A tool call as the assistant made it; `arguments` is None when they were no JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    result: str


@dataclass(frozen=True)
class Message:
    """`weight` is the text that counts as tokens (content of every kind, names and arguments)."""

    role: str
    text: str
    weight: str


@dataclass(frozen=True)
class Conversation:
    """`calls`: the tool calls since the last user message, with their results; `rounds`: in how many
    assistant messages they were asked for; `prefix`: how the answer has to begin."""

    messages: tuple[Message, ...]
    calls: tuple[Call, ...]
    rounds: int
    prefix: str

    @cached_property
    def last_user(self) -> int:
        """The index of the last user message, -1 without one."""
        users = (i for i in reversed(range(len(self.messages))) if self.messages[i].role == "user")
        return next(users, -1)

    @property
    def question(self) -> str:
        return self.messages[self.last_user].text if self.last_user >= 0 else ""

    def texts(self, role: str, before: int | None = None) -> list[str]:
        """What a role said, in order, up to but without the message with the index `before`."""
        return [m.text for m in self.messages[:before] if m.role == role and m.text]


def read_conversation(messages: Sequence[AnyMessage]) -> Conversation:
    """Checks the order as the real API does (400 otherwise) and brings the messages into plain form."""
    _check_order(messages)
    _check_tool_calls(messages)
    plain = tuple(_plain(message) for message in messages)
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    turn = [m for m in messages[last_user + 1 :] if isinstance(m, AssistantMessage) and m.tool_calls]
    results = {m.tool_call_id: _text(m.content) for m in messages if isinstance(m, ToolMessage)}
    calls = tuple(
        Call(c.id, c.function.name, _arguments(c.function.arguments), results.get(c.id, ""))
        for message in turn
        for c in message.tool_calls or ()
    )
    last = messages[-1]
    prefix = _text(last.content) if isinstance(last, AssistantMessage) else ""
    return Conversation(plain, calls, len(turn), prefix)


def _check_order(messages: Sequence[AnyMessage]) -> None:
    previous = ""
    for message in messages:
        if message.role not in _MAY_FOLLOW[previous]:
            after = f"after role '{previous}'" if previous else "as the first role"
            raise errors.invalid_order(f"Unexpected role '{message.role}' {after}")
        if isinstance(message, AssistantMessage) and not message.content and not message.tool_calls:
            raise errors.empty_assistant_message()
        previous = message.role
    last = messages[-1]
    if isinstance(last, SystemMessage) or (isinstance(last, AssistantMessage) and not last.prefix):
        expected = "Expected last role User or Tool (or Assistant with prefix True) for serving"
        raise errors.invalid_order(f"{expected} but got {last.role}")


def _check_tool_calls(messages: Sequence[AnyMessage]) -> None:
    """Every asked call has one result, and none is left over."""
    waiting: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                raise errors.invalid_order(f"Unexpected tool call id {message.tool_call_id} in tool results")
            waiting.discard(message.tool_call_id)
            continue
        _refuse_missing(waiting)
        if isinstance(message, AssistantMessage):
            waiting = {_checked_id(call.id) for call in message.tool_calls or ()}
    _refuse_missing(waiting)


def _refuse_missing(waiting: set[str]) -> None:
    if waiting:
        raise errors.invalid_order("Not the same number of function calls and responses")


def _checked_id(identifier: str) -> str:
    if not _CALL_ID.fullmatch(identifier):
        raise errors.invalid_tool_call_id(identifier)
    return identifier


def _plain(message: AnyMessage) -> Message:
    weight = _text(message.content, everything=True)
    if isinstance(message, AssistantMessage):
        weight += "".join(f"{c.function.name}{c.function.arguments}" for c in message.tool_calls or ())
    return Message(message.role, _text(message.content), weight)


def _text(content: Content | None, everything: bool = False) -> str:
    """The text of a content: of its text chunks, or with `everything` of all chunks."""
    if content is None or isinstance(content, str):
        return content or ""
    if everything:
        return "".join(json.dumps(chunk) for chunk in content)
    return "\n".join(str(chunk.get("text", "")) for chunk in content if chunk.get("type") == "text")


def _arguments(raw: dict[str, Any] | str) -> dict[str, Any] | None:
    if isinstance(raw, dict):
        return raw
    try:
        value = json.loads(raw or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
