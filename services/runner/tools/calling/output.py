"""What a tool returned, as JSON of bounded size, and its files."""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

from services.runner.tools.base import ToolOutput
from shared.steps import Artifact

MOST_ARTIFACT_BYTES: Final = 10 * 1024 * 1024
ARTIFACT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Output:
    """`characters` counts the whole result, before any cut, as usage is priced on what the tool gave."""

    value: JsonValue
    characters: int
    units: Mapping[str, float] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()


def bounded(value: object, limit: int) -> Output:
    """A text stays a text and JSON stays JSON; past `limit` bytes both become a text that is cut and says so.

    Raises TypeError, ValueError or RecursionError when the value has no JSON form, or files that may not be.
    """
    if isinstance(value, ToolOutput):
        _check(value.artifacts)
        return replace(bounded(value.result, limit), units=value.units, artifacts=value.artifacts)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    size = len(text.encode("utf-8", "replace"))
    if size > limit:
        return Output(_cut(text, size, limit), len(text))
    return Output(text if isinstance(value, str) else json.loads(text), len(text))


def fitting(text: str, limit: int) -> str:
    """The longest beginning of a text that takes at most `limit` bytes as a JSON string."""
    if _json_size(text) <= limit:
        return text
    shorter = text[:limit]
    sizes = range(len(shorter) + 1)
    return shorter[: bisect_right(sizes, limit, key=lambda size: _json_size(shorter[:size])) - 1]


def _json_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


def _cut(text: str, size: int, limit: int) -> str:
    mark = f"\n[cut: the result has {size} bytes, over the limit of {limit}]"
    kept = text.encode("utf-8", "replace")[: max(0, limit - len(mark))]
    return kept.decode("utf-8", "ignore") + mark


def _check(artifacts: Sequence[Artifact]) -> None:
    names = [artifact.name for artifact in artifacts]
    if len(set(names)) < len(names) or not all(ARTIFACT_NAME.fullmatch(name) for name in names):
        raise ValueError("files need names of their own, of letters, digits, dots, - and _")
    if sum(artifact.size for artifact in artifacts) > MOST_ARTIFACT_BYTES:
        raise ValueError(f"files of more than {MOST_ARTIFACT_BYTES} bytes")
