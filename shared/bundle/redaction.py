"""Cutting out of a run what shall not leave its deployment: parts of it, and texts by patterns.

Ids and times stay. That what is left still proves itself is the affair of `proof`.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from shared.bundle.contents import Contents, dumped, sha256_of
from shared.bundle.manifest import CutOut, Part, Proof, Redactions
from shared.bundle.proof import Fields, bind_decisions, prove_again
from shared.scrub import REDACTED
from shared.steps import BodyRef, reference_in

FIXED: Final = frozenset(
    {"run_id", "seq", "kind", "at", "project", "attempt", "writer", "traceparent", "idempotency_key"}
    | {"parent_run_id", "root_run_id", "after_run_id", "source_run_id", "replay_id", "call_id"}
    | {"request_hash", "arguments_hash"}
)
"""Fields of a step, or of an item of its lists, that hold nothing of what was said."""
FREE: Final = frozenset({"arguments", "result", "metadata", "static", "value"})
"""Fields with any JSON in them: there a number or a name may be what a pattern looks for."""
PARTS: Final[Mapping[Part, Mapping[str, JsonValue]]] = {
    "metadata": {"metadata": {}},
    "user": {"user_id": REDACTED},
    "session": {"session_id": None, "group": None},
    "people": {"who": REDACTED},
    "reasoning": {"reasoning": None},
    "artifacts": {"artifacts": []},
}
"""The fields of each part, and what they are without it."""


class Redaction:
    """`patterns` are regular expressions; what matches becomes `[redacted]`."""

    def __init__(self, patterns: Sequence[str] = (), parts: Collection[Part] = ()) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._parts = tuple(part for part in PARTS if part in parts)

    def __bool__(self) -> bool:
        return bool(self._patterns or self._parts)

    def apply(self, contents: Contents) -> tuple[Contents, Redactions, Proof | None]:
        """What is left, what was cut out, and what the whole has proved. Raises CannotRedact."""
        bodies: dict[str, bytes] = {}
        cut: list[CutOut] = []
        steps: list[Fields] = []
        for seq, text in enumerate(contents.steps):
            work = _Work(self._patterns, contents.bodies, bodies)
            steps.append(work.step(json.loads(text), self._parts))
            if work.counts:
                cut.append(CutOut(step=seq, fields=dict(work.counts)))
        proof = None
        if self._patterns:  # of the parts nothing is in a request
            bind_decisions(contents, steps, bodies)
            proof = prove_again(contents, steps, bodies)
        pairs = zip(contents.steps, steps, strict=True)
        texts = tuple(text if json.loads(text) == step else dumped(step) for text, step in pairs)
        told = Redactions(parts=self._parts, patterns=len(self._patterns), steps=tuple(cut))
        charges = _Work(self._patterns, {}, {}).texts(contents.charges)
        return Contents(texts, bodies, charges), told, proof


class _Work:
    """The redaction of one step: `counts` says how much was cut out of which of its fields."""

    def __init__(
        self, patterns: Sequence[re.Pattern[str]], given: Mapping[str, bytes], kept: dict[str, bytes]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._patterns = patterns
        self._given = given
        self._kept = kept
        self._field = ""

    def step(self, fields: Fields, parts: Sequence[Part]) -> Fields:
        left: Fields = {}
        gone = {name: value for part in parts for name, value in PARTS[part].items()}
        for name, value in fields.items():
            self._field = name
            if name in gone:
                self.counts[name] += value != gone[name]
                left[name] = gone[name]
            else:
                left[name] = self._named(name, value, is_free=False)
        self.counts = +self.counts
        return left

    def texts(self, data: bytes) -> bytes:
        """JSON text with every text in it cut."""
        value = json.loads(data)
        left = self._value("", value, is_free=False)
        return data if left == value else dumped(left)

    def _named(self, name: str, value: JsonValue, *, is_free: bool) -> JsonValue:
        if name in FIXED and not is_free:
            return value
        if name == "arguments" and isinstance(value, str):
            return self._raw_arguments(value)
        return self._value(name, value, is_free=is_free or name in FREE)

    def _value(self, name: str, value: JsonValue, *, is_free: bool) -> JsonValue:
        if (ref := reference_in(value)) is not None:
            return self._body(name, ref, is_free=is_free)
        match value:
            case dict():
                return {
                    self._text(key) if is_free else key: self._named(key, item, is_free=is_free)
                    for key, item in value.items()
                }
            case list():
                return [self._value(name, item, is_free=is_free) for item in value]
            case str():
                return self._text(value)
            case int() | float() if is_free and not isinstance(value, bool):
                text = json.dumps(value)
                return value if self._text(text) == text else REDACTED
        return value

    def _body(self, name: str, ref: BodyRef, *, is_free: bool) -> JsonValue:
        text = self._given[ref.sha256]
        value = json.loads(text)
        left = self._named(name, value, is_free=is_free)
        if left != value:
            text = dumped(left)
        sha256 = sha256_of(text)
        self._kept[sha256] = text
        return dict(BodyRef(sha256=sha256, size=len(text)).model_dump())

    def _raw_arguments(self, text: str) -> JsonValue:
        """Arguments as the model wrote them, cut as the call's arguments are that were read from them."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self._text(text)
        if not isinstance(value, dict | list):
            return self._text(text)
        left = self._value("arguments", value, is_free=True)
        return self._text(text if left == value else json.dumps(left, ensure_ascii=False))

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text, count = pattern.subn(REDACTED, text)
            self.counts[self._field] += count
        return text
