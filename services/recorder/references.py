"""References from steps to bodies: finding them, and what a run's row shows of a large text. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json

from shared.preview import Shown, shown
from shared.steps import BodyRef, Text, reference_in


class BodyKey(NamedTuple):
    """The project is a part of the name: a hash alone must never open another project's text."""

    project: str
    sha256: str


Texts = Mapping[BodyKey, str]
"""The JSON text of bodies, or its first 64 KiB, which may end anywhere."""


def hashes(payload: str) -> tuple[str, ...]:
    """The bodies that the JSON text of a step points to."""
    if '"$body"' not in payload:
        return ()
    return tuple(sorted(set(_hashes(json.loads(payload)))))


def shown_in(text: Text, project: str, texts: Texts) -> Shown:
    """A text as the run's row holds it."""
    if not isinstance(text, BodyRef):
        return Shown(text)
    beginning = texts[BodyKey(project, text.sha256)]
    value = from_json(beginning, allow_partial="trailing-strings")
    return shown(value if isinstance(value, str) else beginning, text)


def _hashes(value: JsonValue) -> Iterator[str]:
    if (ref := reference_in(value)) is not None:
        yield ref.sha256
        return
    match value:
        case dict():
            for item in value.values():
                yield from _hashes(item)
        case list():
            for item in value:
                yield from _hashes(item)
