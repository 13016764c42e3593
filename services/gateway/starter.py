"""Starting runs: from what a client asked for to step 0 on the broker's disk.

Step 0 carries all that the run needs. Not here: what a request may look like (`requests.py`), what its agent,
model and tools stand for (`agents/resolution.py`), waiting for the run (`waiter.py`).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import structlog
import uuid_utils
from nats.aio.client import Client

from services.gateway.agents.resolution import Resolved, Resolver
from services.gateway.continuation import Continuation
from services.gateway.idempotency import HEADER, Entry, Idempotency
from services.gateway.key_ring import Principal
from services.gateway.log_reader import LogReader
from services.gateway.metrics import ACCEPTED, REPLAYED
from services.gateway.problems import KEY_REUSED, Problem, invalid, unavailable
from services.gateway.requests import RunInput
from shared.errors import Conflict, Unavailable
from shared.run_log import RunLog, Sealed
from shared.scrub import Scrubber
from shared.steps import HistoryPart, Message, RunRequested, now
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 2.0


@dataclass(frozen=True)
class Order:
    """What a client asked for, and under which idempotency key; `path` is where."""

    principal: Principal
    path: str
    run: RunInput
    idempotency_key: str | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for requests that ask for the same."""
        asked = self.path.encode() + b"\n" + self.run.model_dump_json(exclude_unset=True).encode()
        return hashlib.sha256(asked).hexdigest()


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be requested. `is_replay`: its id comes from an earlier request."""

    key: RunKey
    sealed: Sealed
    is_replay: bool

    @property
    def request(self) -> RunRequested:
        step = self.sealed.steps[0]
        if not isinstance(step, RunRequested):
            raise TypeError("a run begins with its request")
        return step


@dataclass(frozen=True)
class Brokered:
    """The parts of the broker that starting a run needs."""

    client: Client
    log: RunLog
    reader: LogReader
    scrubber: Scrubber


class Starter:
    """Prepares runs and requests them. Methods raise Problem, 503 when the broker is away."""

    def __init__(
        self, broker: Brokered, resolver: Resolver, idempotency: Idempotency, continuation: Continuation
    ) -> None:
        self._broker = broker
        self._continuation = continuation
        self._resolver = resolver
        self._idempotency = idempotency

    async def check(self, order: Order) -> Resolved:
        """All that the run needs; nothing is stored."""
        if not self._broker.client.is_connected:
            raise unavailable("the broker is away; nothing was accepted")
        _require_stored_as_given(order.run, self._broker.scrubber)
        return await self._resolver.resolve(order.principal.project, order.run)

    async def prepare(self, order: Order) -> Prepared:
        """A run that can be requested; it has its idempotency key, and its place in its session."""
        resolved = await self.check(order)
        run_id = fresh = str(uuid_utils.uuid7())
        if order.idempotency_key is not None:
            entry = Entry(run_id=fresh, request=order.fingerprint)
            run_id = await self._idempotency.claim(order.principal.project, order.idempotency_key, entry)
        key = RunKey(order.principal.project, run_id)
        history = await self._history(key, order, is_replay=run_id != fresh)
        step = self._step(key, order.run, resolved, history)
        return Prepared(key, self._broker.log.seal([step]), run_id != fresh)

    async def _history(self, key: RunKey, order: Order, *, is_replay: bool) -> tuple[HistoryPart, ...]:
        """The runs of the session that this one continues; none for a run that is there already."""
        asked, by = order.run, order.principal
        if asked.session_id is None or (is_replay and await self._continuation.has(key)):
            return ()
        who = f"key {by.key_name} ({by.key_id})"
        return await self._continuation.join(key, asked.session_id, asked.on_busy, who)

    async def request(self, prepared: Prepared) -> None:
        """Returns once the run is on the broker's disk; of a replay, also when it was already."""
        if prepared.is_replay and await self._is_there(prepared.key):
            REPLAYED.inc()
            return
        try:
            await self._broker.log.request(prepared.key, prepared.sealed, patience_s=PATIENCE_S)
        except Conflict:
            if not prepared.is_replay:
                raise
            REPLAYED.inc()
            return
        except Unavailable as error:
            log.warning("the broker did not confirm a run", run_id=prepared.key.run_id, error=str(error))
            raise unavailable(
                "the broker did not confirm the run: it is away, or its stream is full; the run may have "
                "been accepted nevertheless: ask for it by its id, or repeat the request with the same "
                "Idempotency-Key",
                run_id=prepared.key.run_id,
            ) from error
        ACCEPTED.inc()

    async def _is_there(self, run: RunKey) -> bool:
        last = await self._broker.reader.last(run)
        if last is not None and "run-deleted" in last.kinds:
            raise Problem(KEY_REUSED, f"the run of this {HEADER} was deleted; use a new key for a new run")
        return last is not None or await self._broker.reader.job(run) is not None

    def _step(
        self, key: RunKey, asked: RunInput, resolved: Resolved, history: tuple[HistoryPart, ...]
    ) -> RunRequested:
        agent = resolved.agent
        return RunRequested(
            run_id=key.run_id,
            seq=0,
            at=now(),
            project=key.project,
            writer=self._broker.log.writer,
            agent=agent.ref,
            model=agent.model,
            instructions=agent.instructions,
            prompt=asked.prompt,
            messages=tuple(Message(role=each.role, content=each.content) for each in asked.messages),
            parameters=agent.parameters,
            tools=agent.tools,
            response_format=agent.response_format,
            agents=resolved.others,
            session_id=asked.session_id,
            history=history,
            after_run_id=history[-1].run_id if history else None,
            user_id=asked.user_id,
            group=asked.group,
            metadata=asked.metadata,
            priority=asked.priority,
            rates=resolved.rates,
            **resolved.limits,
        )


def _require_stored_as_given(asked: RunInput, scrubber: Scrubber) -> None:
    """Raises Problem (422). Redacted names would all be the same one, and share a workspace; a redacted
    schema would ask for another answer."""
    for field in ("session_id", "user_id", "group", "response_format"):
        value = getattr(asked, field)
        if value is not None and scrubber.value(value) != value:
            raise invalid(field, "must not look like a credential, nor hold NUL or a lone surrogate")
