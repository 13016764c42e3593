"""What the routes do with batches."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import uuid_utils
from pydantic_core import to_json

from services.gateway.backlog import store
from services.gateway.backlog.queue import Backlog
from services.gateway.backlog.store import BatchRow, Held
from services.gateway.batches import reads
from services.gateway.batches.lines import Defaults, defaults_in
from services.gateway.batches.upload import Upload
from services.gateway.batches.views import BatchCancelled, BatchView
from services.gateway.idempotency import HEADER, VALID
from services.gateway.key_ring import Principal
from services.gateway.lifecycle import Lifecycle
from services.gateway.problems import KEY_REUSED, NOT_FOUND, Problem, invalid
from services.gateway.reads import answered
from services.gateway.requests import RunInput
from services.gateway.starter import Order, Starter
from shared.database import Database
from shared.subjects import RunKey

READ_PATIENCE_S: Final = 10.0
MOST_ASKED: Final = 1000


@dataclass(frozen=True)
class BatchOrder:
    """Who sends a batch, what it is called, and under which idempotency key."""

    principal: Principal
    path: str
    name: str | None = None
    idempotency_key: str | None = None


class Batches:
    """Methods raise Problem and Unavailable."""

    def __init__(self, database: Database, backlog: Backlog, starter: Starter, lifecycle: Lifecycle) -> None:
        self._database = database
        self._backlog = backlog
        self._starter = starter
        self._lifecycle = lifecycle

    async def receive(self, order: BatchOrder, lines: AsyncIterator[bytes]) -> tuple[Upload, bool]:
        """The upload when all of it is on disk; and whether it was known by its key."""
        first = await anext(lines, None)
        if first is None:
            raise invalid("body", "there is no run in it; send one JSON object a line")
        defaults = defaults_in(first)
        row = _row(order, defaults or Defaults({}))
        async with self._database.transaction() as connection:
            batch = await store.add_batch(connection, row)
        if batch.request != row.request:
            raise Problem(
                KEY_REUSED, f"this {HEADER} was used for another batch; use a new key for a new batch"
            )

        async def prepare(asked: RunInput) -> Held:
            run = asked.model_copy(update={"priority": "batch"})
            prepared = await self._starter.prepare(Order(order.principal, order.path, run))
            return Held(prepared.key, await self._backlog.job(prepared.key, prepared.sealed.encoded[0]))

        upload = Upload(batch, defaults or Defaults({}), prepare, self._backlog, self._database)
        await upload.take(lines if defaults else _again(first, lines))
        return upload, batch.id != row.id

    async def page(self, project: str, before: UUID | None, limit: int) -> list[BatchView]:
        return await answered(
            self._database,
            lambda connection: reads.batches(connection, project, before, limit),
            READ_PATIENCE_S,
        )

    async def get(self, project: str, batch_id: UUID) -> BatchView:
        view = await answered(
            self._database, lambda connection: reads.batch(connection, project, batch_id), READ_PATIENCE_S
        )
        if view is None:
            raise _no_such_batch(batch_id)
        return view

    async def cancel(self, caller: Principal, batch_id: UUID, who: str) -> BatchCancelled:
        """Asks all unfinished runs of the batch to stop; to ask again asks those that are left."""
        project = caller.project
        async with self._database.transaction() as connection:
            waiting = await store.cancel(connection, project, batch_id, who)
        if waiting is None:
            raise _no_such_batch(batch_id)
        self._backlog.changed.set()
        run_ids = await answered(
            self._database,
            lambda connection: reads.unfinished(connection, project, batch_id, MOST_ASKED),
            READ_PATIENCE_S,
        )
        runs = [RunKey(project, run_id) for run_id in run_ids]
        running = await self._lifecycle.cancel_all(runs, who, "its batch was cancelled")
        return BatchCancelled(batch_id=str(batch_id), waiting=waiting, running=running)


def _row(order: BatchOrder, defaults: Defaults) -> BatchRow:
    key = order.idempotency_key
    if key is not None and not VALID.fullmatch(key):
        raise invalid(HEADER, "give 1 to 255 printable ASCII characters without spaces")
    return BatchRow(
        id=UUID(str(uuid_utils.uuid7())),
        project=order.principal.project,
        name=order.name,
        digest=hashlib.sha256(key.encode()).digest() if key is not None else None,
        request=hashlib.sha256(to_json([order.name, dict(defaults.fields)])).digest(),
    )


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line


def _no_such_batch(batch_id: UUID) -> Problem:
    return Problem(NOT_FOUND, f"there is no batch {str(batch_id)!r}; GET /api/batches lists them")
