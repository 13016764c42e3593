"""The runs of an upload, one a line, read as they arrive: one line and one chunk in memory, never more."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue, ValidationError
from pydantic_core import from_json, to_json

from services.gateway.problems import TOO_LARGE, Problem, invalid
from services.gateway.requests import RunInput
from services.gateway.validation import invalid_body

LINE_LIMIT: Final = 1024 * 1024
MOST_LINES: Final = 10_000
DEFAULTS: Final = "defaults"


@dataclass(frozen=True)
class Line:
    """A run as it was sent; `index` counts from 0, `digest` is equal for equal lines."""

    index: int
    text: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text).digest()


@dataclass(frozen=True)
class Defaults:
    """Fields of a run that hold where a line does not say otherwise."""

    fields: Mapping[str, JsonValue]

    def run(self, line: Line) -> RunInput:
        """Raises Problem (422) for a line that is no run."""
        try:
            if not self.fields:
                return RunInput.model_validate_json(line.text)
            value = _object(line.text)
            return RunInput.model_validate_json(as_written({**self.fields, **value}))
        except ValidationError as error:
            raise invalid_body(error, RunInput) from None


async def split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of the body that hold anything. Raises Problem (413) for one that is too long."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            _require_short(line)
            if text := line.strip():
                yield text
        _require_short(rest)
    if text := rest.strip():
        yield text


def defaults_in(first: bytes) -> Defaults | None:
    """What the first line says for all others; None when it is a run itself. Raises Problem (422)."""
    try:
        value = from_json(first)
    except ValueError:
        return None  # it is told with its line
    if not isinstance(value, dict) or list(value) != [DEFAULTS]:
        return None
    fields = value[DEFAULTS]
    if not isinstance(fields, dict):
        raise invalid(DEFAULTS, "give an object with fields of a run")
    try:
        RunInput.model_validate_json(as_written({"prompt": "x", **fields}))
    except ValidationError as error:
        raise invalid_body(error, RunInput) from None
    return Defaults(fields)


def as_written(value: Mapping[str, JsonValue]) -> bytes:
    """As JSON text, in which NaN stays NaN, so that it is refused."""
    return to_json(value, inf_nan_mode="constants")


def _object(text: bytes) -> dict[str, JsonValue]:
    try:
        value = from_json(text)
    except ValueError as error:
        raise invalid("body", f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid("body", "a line is one JSON object, the fields of a run")
    return value


def _require_short(line: bytes) -> None:
    if len(line) > LINE_LIMIT:
        told = f"a line is longer than the limit of {LINE_LIMIT} bytes"
        raise Problem(TOO_LARGE, told, headers={"Connection": "close"})
