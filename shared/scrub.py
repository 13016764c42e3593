"""What may enter a run's log: no secrets, no values that a database or a parser chokes on.

Scrubbing happens once, at the log's door, so that the log, the model's next request and every
projection see the same text. Pure: no I/O.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from shared.step_codec import decode_step, decode_steps, encode_step
from shared.steps import Step

REDACTED: Final = "[redacted]"
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
MIN_SECRET_LENGTH: Final = 8
MAX_DEPTH: Final = 160  # parsers stop at 200, and a step lies inside a message
HOLD_LIMIT: Final = 4096


class Credential(NamedTuple):
    """An unmistakable shape of a credential: how it begins, and what follows."""

    prefix: str
    characters: str
    least: int


CREDENTIALS: Final = (
    Credential("sk-", r"[A-Za-z0-9_-]", 20),
    Credential("hf_", r"[A-Za-z0-9]", 30),
    *(Credential(f"gh{kind}_", r"[A-Za-z0-9]", 36) for kind in "pousr"),
    Credential("AKIA", r"[0-9A-Z]", 16),
    *(Credential(f"xox{kind}-", r"[A-Za-z0-9-]", 10) for kind in "abpr"),
    Credential("aos_", r"[A-Za-z0-9_-]", 32),
)
PRIVATE_KEY: Final = (
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[A-Za-z0-9+/=\s\\]+(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----)?"
)


class Scrubber:
    """Makes steps fit for the log. `secrets` are exact values, `patterns` regular expressions."""

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        exact = {secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}
        self._forms = sorted({form for secret in exact for form in _forms(secret)}, key=len, reverse=True)
        shapes = [f"{re.escape(c.prefix)}{c.characters}{{{c.least},}}" for c in CREDENTIALS]
        self._known = re.compile("|".join((*map(re.escape, self._forms), *shapes, PRIVATE_KEY)))
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._begun = re.compile(rf"(?:{'|'.join(_beginnings())})\Z")

    def text(self, value: str) -> str:
        """The text without secrets, NUL and lone surrogates (replaced, so that nobody misses them)."""
        if not value.isascii():
            value = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        value = self._known.sub(REDACTED, value.replace("\x00", REPLACEMENT))
        for pattern in self._patterns:
            value = pattern.sub(REDACTED, value)
        return value

    def value(self, value: object) -> JsonValue:
        """The value with every text in it scrubbed; what is not JSON becomes its text."""
        return self._value(value, 0)

    def complete(self, text: str) -> int:
        """How much of a text that is still growing may be shown: its end may be the start of a secret."""
        end = len(text)
        if self._patterns:  # nobody knows where a match of these would begin: wait for the end of the word
            end = max(text.rfind(" "), text.rfind("\n")) + 1
        if (begun := self._begun.search(text, max(0, len(text) - HOLD_LIMIT))) is not None:
            end = min(end, begun.start())
        for form in self._forms:
            end = min(end, _overlap(text, form))
        return max(end, len(text) - HOLD_LIMIT)

    def step(self, step: Step) -> tuple[Step, bytes]:
        """The step as the log may hold it, and its text: reading the text gives this very step."""
        try:
            encoded = encode_step(step)
        except ValueError:  # a lone surrogate, or nesting that no parser takes
            encoded = b""
        if not encoded or self._is_suspect(encoded):
            step = decode_step(self._value(step.model_dump(mode="python"), 0))
            encoded = encode_step(step)
        if b"NaN" in encoded or b"Infinity" in encoded:  # written as text: go on with what was written
            step = decode_steps(b"[" + encoded + b"]")[0]
        return step, encoded

    def _is_suspect(self, encoded: bytes) -> bool:
        """Whether the step must be looked at value by value."""
        if self._patterns or b"\\u0000" in encoded or b'"$body"' in encoded:
            return True
        if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
            return True
        return self._known.search(encoded.decode()) is not None

    def _value(self, value: object, depth: int) -> JsonValue:
        if depth > MAX_DEPTH:
            return f"[nested deeper than {MAX_DEPTH} levels]"
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self._key(str(key)): self._value(item, depth + 1) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(item, depth + 1) for item in value]
            case None | bool() | int() | float():
                return value
        return self.text(str(value))

    def _key(self, key: str) -> str:
        # Only the log itself may point to a body: a tool that answers with such an object is data.
        return "$$body" if key == "$body" else self.text(key)


def _forms(secret: str) -> Iterable[str]:
    """The secret as it is and as JSON writes it, once and twice (JSON text inside a JSON string)."""
    yield secret
    for ascii_only in (False, True):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]


def _beginnings() -> Iterable[str]:
    """Patterns of what may become a credential with more text."""
    for credential in CREDENTIALS:
        prefix = credential.prefix
        yield f"{re.escape(prefix)}{credential.characters}*"
        yield from (re.escape(prefix[:length]) for length in range(len(prefix) - 1, 0, -1))
    marker = "-----BEGIN"
    yield rf"{marker}[A-Za-z0-9+/=\s\\ -]*"
    yield from (re.escape(marker[:length]) for length in range(len(marker) - 1, 0, -1))


def _overlap(text: str, secret: str) -> int:
    """Where a beginning of the secret stands at the end of the text, else the text's length."""
    for length in range(min(len(secret) - 1, len(text)), 0, -1):
        if text.endswith(secret[:length]):
            return len(text) - length
    return len(text)
