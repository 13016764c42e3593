"""A message of the log: steps as a JSON array, their large values moved out and put back again."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from shared.bodies import BodyStore
from shared.errors import Permanent
from shared.step_codec import decode_step, decode_steps
from shared.steps import Step, reference_in

INLINE_LIMIT: Final = 64 * 1024
MESSAGE_LIMIT: Final = 768 * 1024  # of the server's 1 MiB, which counts the headers too

# The fields of a step, and of the items of its lists, whose type admits a reference instead of the value.
MOVABLE: Final = frozenset(
    {"content", "instructions", "prompt", "reasoning", "arguments", "result", "memory", "metadata"}
    | {"note", "why"}
)
MOVABLE_IN_ITEMS: Final = {
    "messages": frozenset({"content"}),
    "tool_calls": frozenset({"arguments"}),
    "tools": frozenset({"parameters", "settings"}),
    "history": frozenset({"messages"}),
    "artifacts": frozenset({"data"}),
    "agents": frozenset({"instructions"}),
}


class Payloads:
    def __init__(self, bodies: BodyStore) -> None:
        self._bodies = bodies

    async def encode(self, project: str, texts: Sequence[bytes]) -> bytes:
        """The steps of these texts as one message. Raises Permanent when they fit into none, Unavailable."""
        payload = b"[" + b",".join(texts) + b"]"
        limit = INLINE_LIMIT
        if len(payload) <= limit:
            return payload
        while limit >= 128:
            shrunk = [await self._shrink(project, text, limit) for text in texts]
            payload = b"[" + b",".join(shrunk) + b"]"
            if len(payload) <= MESSAGE_LIMIT:
                return payload
            limit //= 8  # many middle-sized values: move smaller ones out too
        raise Permanent(f"{len(payload)} bytes of steps do not fit into one message of the log")

    async def decode(self, project: str, data: bytes) -> list[Step]:
        """The steps, every value back in its place. Raises Undecodable, BodyMissing, Unavailable."""
        if b'"$body"' not in data:
            return decode_steps(data)
        return [decode_step(await self._inflate(project, raw)) for raw in json.loads(data)]

    async def _shrink(self, project: str, encoded: bytes, limit: int) -> bytes:
        if len(encoded) <= limit:
            return encoded
        fields: dict[str, JsonValue] = json.loads(encoded)
        moved = await self._move_out(project, fields, MOVABLE, limit)
        for name, movable in MOVABLE_IN_ITEMS.items():
            if isinstance(items := moved.get(name), list):
                moved[name] = [
                    await self._move_out(project, item, movable, limit)
                    for item in items
                    if isinstance(item, dict)
                ]
        return _dump(moved)

    async def _move_out(
        self, project: str, fields: Mapping[str, JsonValue], movable: frozenset[str], limit: int
    ) -> dict[str, JsonValue]:
        """The fields, with each movable one over `limit` bytes replaced by its reference."""
        moved = dict(fields)
        for name in movable & fields.keys():
            text = _dump(fields[name])
            if len(text) > limit:
                moved[name] = (await self._bodies.put(project, text)).model_dump()
        return moved

    async def _inflate(self, project: str, value: JsonValue) -> JsonValue:
        if (ref := reference_in(value)) is not None:
            inflated: JsonValue = json.loads(await self._bodies.get(project, ref.sha256))
            return inflated
        match value:
            case dict():
                return {name: await self._inflate(project, item) for name, item in value.items()}
            case list():
                return [await self._inflate(project, item) for item in value]
        return value


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
