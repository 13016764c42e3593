"""One chat completion as it is asked for, and its one text: equal requests, equal hashes. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

from pydantic import JsonValue

JsonObject = Mapping[str, JsonValue]
canonical: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


class Tools(tuple[JsonObject, ...]):
    """Tools in the provider's JSON form. Many requests share them, and so their canonical text."""

    @cached_property
    def canonical(self) -> str:
        return canonical(self)


class Messages(tuple[JsonObject, ...]):
    """Messages with the canonical text of each, which every later request of a conversation holds again."""

    texts: Sequence[str]

    def __new__(cls, messages: Iterable[JsonObject], texts: Sequence[str]) -> Self:
        made = super().__new__(cls, messages)
        made.texts = texts
        return made

    @property
    def canonical(self) -> str:
        return f"[{','.join(self.texts)}]"


@dataclass(frozen=True)
class ModelRequest:
    """One chat completion: messages in the provider's JSON form, parameters that are set."""

    model: str
    messages: Sequence[JsonObject]
    tools: Tools = field(default_factory=Tools)
    parameters: JsonObject = field(default_factory=dict)

    def hash(self) -> str:
        """sha256 over the canonical JSON of the request: equal requests, equal hashes."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """The request as JSON: one text for equal requests."""
        messages = self.messages
        shared = {
            "tools": self.tools.canonical,
            "messages": messages.canonical if isinstance(messages, Messages) else canonical(messages),
        }
        own = {"model": self.model, **self.parameters}
        texts = shared | {name: canonical(value) for name, value in own.items()}
        body = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))
        return f"{{{body}}}"
