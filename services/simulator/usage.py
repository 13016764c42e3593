"""The usage of a completion: prompt, completion and cached tokens.

Real caches depend on who asked what before. Here what counts as cached follows from the conversation
alone, so that equal requests cost the same: the prompt that must have been sent to get the last
assistant message, in whole blocks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.simulator.conversation import Conversation
from services.simulator.schemas import Tool
from services.simulator.tokens import MESSAGE_OVERHEAD, count_tokens

CACHE_BLOCK = 64


@dataclass(frozen=True)
class Prompt:
    """The tokens of a request and how many of them were sent before."""

    tokens: int
    cached: int


def weigh(conversation: Conversation, tools: Sequence[Tool]) -> Prompt:
    """Counts the prompt: every message with its overhead, and the tools' schemas."""
    offered = sum(count_tokens(_schema_text(tool)) for tool in tools)
    weights = [count_tokens(message.weight) + MESSAGE_OVERHEAD for message in conversation.messages]
    answers = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
    repeated = offered + sum(weights[: answers[-1]]) if answers else 0
    return Prompt(offered + sum(weights), repeated // CACHE_BLOCK * CACHE_BLOCK)


def usage_body(prompt: Prompt, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt.tokens,
        "completion_tokens": completion,
        "total_tokens": prompt.tokens + completion,
        "prompt_tokens_details": {"cached_tokens": prompt.cached},
    }


def _schema_text(tool: Tool) -> str:
    function = tool.function
    return f"{function.name}{function.description or ''}{json.dumps(function.parameters)}"
