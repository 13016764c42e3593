"""What the runners say they can do: the tools and models of the stream CATALOG.

A runner announces when it starts; the last announcement counts. Read by direct get and kept for a few
seconds, so that a run's start costs no extra round trip.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Generic, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import BaseModel, ValidationError

from services.gateway.problems import invalid, unavailable
from shared.bus import CATALOG, jetstream
from shared.catalog import Models, Tool, Tools
from shared.errors import Unavailable
from shared.steps import ToolSpec
from shared.subjects import catalog_subject

log = structlog.get_logger(__name__)

KEPT_S: Final = 5.0
ABSENT_S: Final = 0.5  # the first runner may be just starting
READ_TIMEOUT_S: Final = 2.0
NAMED_MODELS: Final = 12


Announcement = TypeVar("Announcement", bound=BaseModel)


class _Kept(Generic[Announcement]):
    """The last message of one catalogue subject, asked for at most once in KEPT_S."""

    def __init__(
        self, client: Client, what: str, model: type[Announcement], clock: Callable[[], float]
    ) -> None:
        self._js = jetstream(client)
        self._what = what
        self._model = model
        self._clock = clock
        self._value: Announcement | None = None
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Announcement | None:
        """None when nothing was announced. Raises Unavailable when that is not known."""
        if self._is_fresh():
            return self._value
        async with self._lock:
            if not self._is_fresh():
                await self._read()
        return self._value

    def _is_fresh(self) -> bool:
        kept = KEPT_S if self._value is not None else ABSENT_S
        return self._read_at is not None and self._clock() - self._read_at < kept

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                message = await self._js.get_last_msg(CATALOG, catalog_subject(self._what), direct=True)
            self._value = self._model.model_validate_json(message.data or b"")
        except NotFoundError:
            self._value = None
        except (NatsError, OSError, TimeoutError) as error:
            if self._read_at is None:
                raise Unavailable(f"the broker did not answer a read of the catalogue: {error}") from error
            log.warning("the catalogue is not read again", what=self._what, error=str(error))
        except ValidationError as error:
            log.error("an announcement is not readable", what=self._what, faults=error.error_count())
            self._value = None
        self._read_at = self._clock()


class Catalog:
    """The tools and models that a run may name."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = monotonic) -> None:
        self._tools = _Kept(client, "tools", Tools, clock)
        self._models = _Kept(client, "models", Models, clock)
        self._specs: dict[str, ToolSpec] = {}
        self._specs_of: Tools | None = None

    async def tools(self) -> tuple[Tool, ...]:
        """Raises Problem (503) while no runner has announced its tools."""
        return (await self._announced()).tools

    async def models(self) -> Models | None:
        """None when no runner knows its provider's models."""
        return await self._models.get()

    async def specs(self, names: Sequence[str] | None) -> tuple[ToolSpec, ...]:
        """The tools of these names for a run, all when None. Raises Problem (422) for an unknown one."""
        announced = await self._announced()
        if self._specs_of is not announced:
            self._specs = {tool.name: tool.spec for tool in announced.tools}
            self._specs_of = announced
        known = self._specs
        if names is None:
            return tuple(known.values())
        for index, name in enumerate(names):
            if name not in known:
                raise invalid(
                    f"tools.{index}",
                    f"unknown tool {name[:64]!r}; the tools are {', '.join(known) or 'none'}",
                )
        return tuple(known[name] for name in names)

    async def require_model(self, name: str) -> None:
        """Raises Problem (422) when the models are known and this is none of them."""
        known = await self.models()
        if known is not None and name not in known.models:
            some = ", ".join(known.models[:NAMED_MODELS])
            more = len(known.models) - NAMED_MODELS
            rest = f" and {more} more (GET /api/models)" if more > 0 else ""
            raise invalid(
                "model", f"unknown model {name[:64]!r}; {known.provider} has {some or 'none'}{rest}"
            )

    async def _announced(self) -> Tools:
        announced = await self._tools.get()
        if announced is None:
            raise unavailable("no runner has announced its tools yet", retry_after_s=2)
        return announced
