"""What a tool returned, as JSON of bounded size."""

import json
from bisect import bisect_right
from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True)
class Output:
    """`characters` counts the whole result, before any cut, as usage is priced on what the tool gave."""

    value: JsonValue
    characters: int


def bounded(value: object, limit: int) -> Output:
    """A text stays a text and JSON stays JSON; past `limit` bytes both become a text that is cut and says so.

    Raises TypeError, ValueError or RecursionError when the value has no JSON form.
    """
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
