"""Large values of a run: found in Postgres or the object store, and put back into steps within a bound."""

import json
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.gateway import reads
from services.gateway.problems import NOT_FOUND, Problem
from shared.bodies import BodyMissing, BodyStore
from shared.database import Database
from shared.errors import Unavailable
from shared.preview import Shown, shown
from shared.steps import BodyRef, Text, reference_in
from shared.subjects import RunKey

INFLATE_EACH: Final = 256 * 1024
INFLATE_ALL: Final = 1024 * 1024


@dataclass
class _Budget:
    left: int


class Bodies:
    """Every method may raise Unavailable."""

    def __init__(self, store: BodyStore, database: Database) -> None:
        self._store = store
        self._database = database

    async def get(self, run: RunKey, sha256: str) -> bytes:
        """The JSON text of a value that a step of this run points to. Raises Problem (404).

        The store knows of projects, not of runs: that the run points to the value is for the caller to know.
        """
        try:
            return await self._store.get(run.project, sha256)
        except BodyMissing:
            content = await self._projected(run, sha256)
        except Unavailable:
            content = await self._projected(run, sha256)
            if content is None:
                raise
        if content is None:
            raise no_such_body(sha256)
        return content

    async def shown(self, run: RunKey, text: Text | None) -> Shown:
        """A prompt or a response as a run's view has it: whole up to 64 KiB, else its beginning."""
        if not isinstance(text, BodyRef):
            return Shown(text)
        return shown(await self.json_text(run, text.sha256), text)

    async def json_text(self, run: RunKey, sha256: str) -> str:
        """A body that is a text."""
        return str(json.loads(await self.get(run, sha256)))

    async def inflated(self, run: RunKey, texts: list[bytes]) -> list[bytes]:
        """Steps with their values back in place, as long as they are not too large; else the reference."""
        budget = _Budget(INFLATE_ALL)
        return [await self._inflated(run, text, budget) if b'"$body"' in text else text for text in texts]

    async def _inflated(self, run: RunKey, text: bytes, budget: _Budget) -> bytes:
        value = await self._value(run, json.loads(text), budget)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    async def _value(self, run: RunKey, value: JsonValue, budget: _Budget) -> JsonValue:
        if (ref := reference_in(value)) is not None:
            if ref.size > min(INFLATE_EACH, budget.left):
                return value
            budget.left -= ref.size
            inflated: JsonValue = json.loads(await self.get(run, ref.sha256))
            return inflated
        match value:
            case dict():
                return {name: await self._value(run, item, budget) for name, item in value.items()}
            case list():
                return [await self._value(run, item, budget) for item in value]
        return value

    async def _projected(self, run: RunKey, sha256: str) -> bytes | None:
        return await reads.answered(self._database, lambda connection: reads.body(connection, run, sha256))


def no_such_body(sha256: str) -> Problem:
    return Problem(
        NOT_FOUND, f"the run has no body {sha256[:64]!r}; a body's name is the $body of a reference in a step"
    )
