"""What may enter a run's log: no secrets, no values that a database or a parser chokes on.

Scrubbing happens once, at the log's door, so that the log, the model's next request and every
projection see the same text. Pure: no I/O.
"""

import re
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from shared.steps import Step, decode_step, encode_step

REDACTED = "[redacted]"
NUL = "\N{REPLACEMENT CHARACTER}"
MIN_SECRET_LENGTH = 8
MAX_DEPTH = 200

# Shapes of credentials that are unmistakable. Deployments add theirs with REDACT_PATTERNS.
CREDENTIAL_PATTERNS = (
    r"sk-[A-Za-z0-9_-]{20,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"AKIA[0-9A-Z]{16}",
    r"xox[abpr]-[A-Za-z0-9-]{10,}",
    r"aos_[a-z0-9]+_[A-Za-z0-9_-]{32,}",
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[A-Za-z0-9+/=\s\\]+-----END (?:[A-Z]+ )?PRIVATE KEY-----",
)


class Scrubber:
    """Makes steps fit for the log. `secrets` are exact values, `patterns` regular expressions."""

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        exact = sorted({s for s in secrets if len(s) >= MIN_SECRET_LENGTH}, key=len, reverse=True)
        self._redact = re.compile("|".join((*map(re.escape, exact), *CREDENTIAL_PATTERNS, *patterns)))

    def text(self, value: str) -> str:
        """The text without secrets, NUL and lone surrogates (replaced, so that nobody misses them)."""
        if not value.isascii():
            value = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return self._redact.sub(REDACTED, value.replace("\x00", NUL))

    def step(self, step: Step) -> tuple[Step, bytes]:
        """The step as the log may hold it, and its text."""
        try:
            encoded = encode_step(step)
        except ValueError:  # a lone surrogate, or nesting that no parser takes
            encoded = b""
        if encoded and b"\\u0000" not in encoded and not self._is_suspect(encoded.decode()):
            return step, encoded
        clean = decode_step(self._value(step.model_dump(mode="python"), 0))
        return clean, encode_step(clean)

    def _is_suspect(self, encoded: str) -> bool:
        # A secret may hold characters that JSON escapes: then its escaped text differs from the value.
        return '"$body"' in encoded or "\\u" in encoded or self._redact.search(encoded) is not None

    def _value(self, value: object, depth: int) -> JsonValue:
        if depth > MAX_DEPTH:
            return f"[nested deeper than {MAX_DEPTH} levels]"
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self._key(str(key)): self._value(item, depth + 1) for key, item in value.items()}
            case list() | tuple():
                return [self._value(item, depth + 1) for item in value]
            case _:
                return value  # type: ignore[return-value]  # numbers, None, dates: pydantic's own dump

    def _key(self, key: str) -> str:
        # Only the log itself may point to a body: a tool that answers with such an object is data.
        return "$$body" if key == "$body" else self.text(key)
