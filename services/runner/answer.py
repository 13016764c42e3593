"""Reading a streamed answer: its pieces come in, the whole message comes out. Pure but for the live feed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mistralai.client.models import CompletionChunk, ToolCall, UsageInfo

from services.runner.model import Live, ModelReply
from shared.steps import RequestedToolCall, Usage

MOST_TOKENS: Final = 2**40


@dataclass
class StreamedAnswer:
    """What has come so far. `finish_reason` stays None until the provider said that this was all."""

    answered: str = ""
    finish_reason: str | None = None
    _request_id: str | None = None
    _content: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: list[RequestedToolCall] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)
    _usage: Usage = field(default_factory=Usage)

    def take(self, chunk: CompletionChunk, live: Live) -> None:
        self.answered = chunk.model or self.answered
        self._request_id = chunk.id or self._request_id
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        for choice in chunk.choices[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._take_content(choice.delta.content, live)
            for call in choice.delta.tool_calls or []:
                self._take_call(call)

    def reply(self, **measured: Any) -> ModelReply:
        """The whole message; `measured` are the fields of the reply that the stream does not tell."""
        return ModelReply(
            answered=self.answered,
            content="".join(self._content),
            reasoning="".join(self._reasoning) or None,
            tool_calls=tuple(self._calls),
            usage=self._usage,
            finish_reason=self.finish_reason,
            provider_request_id=self._request_id,
            **measured,
        )

    def _take_content(self, content: Any, live: Live) -> None:
        """Text, or a list of chunks of which some are the model's thinking."""
        if isinstance(content, str):
            self._take_text(content, live)
            return
        for part in content if isinstance(content, list) else []:
            if part.type == "text":
                self._take_text(part.text, live)
            elif part.type == "thinking":
                self._reasoning += [piece.text for piece in part.thinking if piece.type == "text"]

    def _take_text(self, text: str, live: Live) -> None:
        if text:
            self._content.append(text)
            live.delta(text)

    def _take_call(self, call: ToolCall) -> None:
        """A tool call comes whole or in pieces; pieces share an index, and only the first has the id.

        Servers that leave the index out send each call's first piece with another id.
        """
        raw = call.function.arguments
        text = raw if isinstance(raw, str) else json.dumps(raw)
        call_id = call.id if call.id and call.id != "null" else ""
        index = call.index or 0
        place = self._places.get(index)
        if place is None or (call_id and call_id != self._calls[place].call_id):
            self._places[index] = len(self._calls)
            self._calls.append(RequestedToolCall(call_id=call_id, tool=call.function.name, arguments=text))
            return
        known = self._calls[place]
        self._calls[place] = known.model_copy(
            update={"arguments": f"{known.arguments}{text}", "tool": known.tool or call.function.name}
        )


def usage_of(info: UsageInfo) -> Usage:
    """Cached tokens come as an extra field in one of two shapes; they are a part of the prompt's."""
    extra: Mapping[str, Any] = info.model_extra or {}
    details = extra.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    prompt = _count(info.prompt_tokens)
    known = _count(cached if cached is not None else extra.get("num_cached_tokens"))
    return Usage(input=prompt, cached_input=min(known, prompt), output=_count(info.completion_tokens))


def _count(value: object) -> int:
    """A count of tokens as a provider sends it; what cannot be one counts as none."""
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else 0
