"""Keeps the catalogue's lists of MCP tools fresh: follows what projects configure, asks their servers again
and again, and announces what they have. Several runners share the work: what another just announced stays.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import ValidationError

from services.runner.remote.mcp import Mcp, ServerAddress
from shared.bus import CATALOG, jetstream
from shared.catalog import LOCAL, McpListing, McpListings, McpServer, ProjectTools
from shared.service import Runtime
from shared.steps import now
from shared.subjects import mcp_subject, project_tools_subject

log = structlog.get_logger(__name__)
REFRESH_S: Final = 60.0
RETRY_S: Final = 5.0
POLL_S: Final = 300.0
AT_ONCE: Final = 16
MOST_BYTES: Final = 768 * 1024  # of an announcement; the broker takes messages of a mebibyte


@dataclass
class _Followed:
    """A project that has servers, and the task that asks them; `news` ends the task's pause."""

    configured: ProjectTools
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class McpWatch:
    """`local` are the names of this runner's own servers."""

    def __init__(self, runtime: Runtime, servers: Mcp, local: Iterable[str]) -> None:
        self._runtime = runtime
        self._client = runtime.client
        self._js = jetstream(runtime.client)
        self._servers = servers
        self._places = asyncio.Semaphore(AT_ONCE)
        self._followed: dict[str, _Followed] = {}
        own = tuple(McpServer(name=name, url="") for name in local)
        self._own = ProjectTools(mcp=own)

    async def run(self) -> None:
        """Until cancelled. A change is heard of at once; what was missed is found by looking."""
        heard = await self._client.subscribe(project_tools_subject("*"), cb=self._heard)
        try:
            self._follow(LOCAL, self._own)
            while True:
                complete = await self._poll()
                await asyncio.sleep(POLL_S if complete else RETRY_S)
        finally:
            for followed in self._followed.values():
                if followed.task is not None:
                    followed.task.cancel()
            if self._client.is_connected:
                await heard.unsubscribe()

    async def _heard(self, message: Msg) -> None:
        self._take(message.subject, message.data)

    async def _poll(self) -> bool:
        """Read what every project has configured. False when the broker does not answer."""
        try:
            info = await self._js.stream_info(CATALOG, project_tools_subject("*"))
            for subject in info.state.subjects or ():
                message = await self._js.get_last_msg(CATALOG, subject, direct=True)
                self._take(subject, message.data or b"")
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("what projects have configured could not be read", error=str(error))
            return False
        return True

    def _take(self, subject: str, data: bytes) -> None:
        project = subject.rpartition(".")[2]
        try:
            self._follow(project, ProjectTools.model_validate_json(data))
        except ValidationError as error:
            log.error("a project's tools are not readable", project=project, faults=error.error_count())

    def _follow(self, project: str, configured: ProjectTools) -> None:
        followed = self._followed.get(project)
        if followed is None:
            if configured.asked_servers:
                followed = self._followed[project] = _Followed(configured)
                refreshing = asyncio.create_task(self._refresh(project, followed), name="list mcp tools")
                followed.task = self._runtime.keep(refreshing)
            return
        if followed.configured.mcp_revision != configured.mcp_revision:
            followed.news.set()
        followed.configured = configured

    async def _refresh(self, project: str, followed: _Followed) -> None:
        while followed.configured.asked_servers:
            followed.news.clear()
            told = await self._announce(project, followed.configured)
            try:
                await asyncio.wait_for(followed.news.wait(), REFRESH_S if told else RETRY_S)
            except TimeoutError:
                continue
        del self._followed[project]

    async def _announce(self, project: str, configured: ProjectTools) -> bool:
        """False when the broker did not take part."""
        try:
            last = await self._last(project)
            if last is not None and last.revision == configured.mcp_revision and _is_recent(last):
                return True
            known = {each.server: each for each in last.listings} if last is not None else {}
            asked = (self._ask(project, each, known.get(each.name)) for each in configured.asked_servers)
            listings = _fitting(await asyncio.gather(*asked))
            made = McpListings(revision=configured.mcp_revision, listings=listings, at=now())
            text = self._runtime.scrubber.text(made.model_dump_json())  # a server may repeat what it was sent
            await self._js.publish(mcp_subject(project), text.encode(), stream=CATALOG)
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("the tools of MCP servers are not announced", project=project, error=str(error))
            return False
        return True

    async def _ask(self, project: str, server: McpServer, known: McpListing | None) -> McpListing:
        """Of a server that is down, the tools of the last time stay: calls of them say that it is down."""
        address = ServerAddress(project, server.name, server.url, tuple(server.headers.items()))
        async with self._places:
            listing = await self._servers.tools(address)
        if listing.error is None:
            return listing
        log.warning("an MCP server has a fault", project=project, server=server.name, error=listing.error)
        if listing.tools or known is None:
            return listing
        return listing.model_copy(update={"tools": known.tools})

    async def _last(self, project: str) -> McpListings | None:
        try:
            message = await self._js.get_last_msg(CATALOG, mcp_subject(project), direct=True)
            return McpListings.model_validate_json(message.data or b"")
        except (NotFoundError, ValidationError):
            return None


def _is_recent(announced: McpListings) -> bool:
    return announced.at is not None and now() - announced.at < timedelta(seconds=REFRESH_S / 2)


def _fitting(listings: Iterable[McpListing]) -> tuple[McpListing, ...]:
    """As many as one message takes; of the others only that they do not fit."""
    left, kept = MOST_BYTES, list[McpListing]()
    for listing in listings:
        left -= len(listing.model_dump_json())
        if left < 0:
            listing = McpListing(
                server=listing.server, error="its tools take more room than is left for them"
            )
        kept.append(listing)
    return tuple(kept)
