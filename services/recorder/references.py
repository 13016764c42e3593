"""References from steps to bodies: finding them, and what a run's row shows of a large text. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json

from shared.steps import BodyRef, Text

WHOLE_BYTES: Final = 64 * 1024
PREVIEW_CHARACTERS: Final = 4096
SHA256: Final = re.compile(r"[0-9a-f]{64}")


class BodyKey(NamedTuple):
    """The project is a part of the name: a hash alone must never open another project's text."""

    project: str
    sha256: str


Texts = Mapping[BodyKey, str]
"""The JSON text of bodies, or its first 64 KiB, which may end anywhere."""


class Shown(NamedTuple):
    """A text as the run's row holds it; `body` names the whole when `text` is only its beginning."""

    text: str | None
    body: str | None


def hashes(payload: str) -> tuple[str, ...]:
    """The bodies that the JSON text of a step points to."""
    if '"$body"' not in payload:
        return ()
    return tuple(sorted(set(_hashes(json.loads(payload)))))


def shown(text: Text, project: str, texts: Texts) -> Shown:
    """The whole text up to 64 KiB of JSON, else its first 4,096 characters."""
    if not isinstance(text, BodyRef):
        return Shown(text, None)
    beginning = texts[BodyKey(project, text.sha256)]
    value = from_json(beginning, allow_partial="trailing-strings")
    readable = value if isinstance(value, str) else beginning
    if text.size <= WHOLE_BYTES:
        return Shown(readable, None)
    return Shown(readable[:PREVIEW_CHARACTERS], text.sha256)


def _hashes(value: JsonValue) -> Iterator[str]:
    """References have exactly the form that the log gives them; all else is data."""
    match value:
        case {"$body": str(sha256), "bytes": int(), **rest} if not rest and SHA256.fullmatch(sha256):
            yield sha256
        case dict():
            for item in value.values():
                yield from _hashes(item)
        case list():
            for item in value:
                yield from _hashes(item)
