"""What a run may name: the tools and models that the runners announce, and what its project says of tools.

All of it is on the stream CATALOG, so a run's start costs no extra round trip and needs no database.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from nats.aio.client import Client

from services.gateway.announcements import Ages, Announcement, Kept
from services.gateway.offers import Offered, Sources
from services.gateway.problems import Problem, invalid, unavailable
from shared.catalog import LOCAL, McpListings, Models, ProjectTools, SecretName, Tools
from shared.steps import ToolSpec
from shared.subjects import catalog_subject, mcp_subject, project_tools_subject

ABSENT_S: Final = 0.5  # the first runner may be just starting
NAMED_MODELS: Final = 12
MOST_OFFERED: Final = 128
MOST_PROJECTS: Final = 2000
NEVER: Final = McpListings(revision="", listings=())
NOTHING: Final = ProjectTools()


@dataclass
class _Project:
    """What is kept for a project; `offered` was made of `sources`."""

    configured: Kept[ProjectTools]
    servers: Kept[McpListings]
    sources: Sources | None = None
    offered: dict[str, Offered] | None = None


class Catalog:
    """The tools and models that a run may name. Methods raise Problem (503) while no runner has announced
    its tools, and Unavailable when the broker does not answer."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._clock = clock
        self._tools = self._kept(catalog_subject("tools"), Tools, Ages(absent=ABSENT_S))
        self._models = self._kept(catalog_subject("models"), Models, Ages(absent=ABSENT_S))
        self._local = self._kept(mcp_subject(LOCAL), McpListings, Ages())
        self._projects: OrderedDict[str, _Project] = OrderedDict()

    async def tools(self, project: str) -> tuple[Offered, ...]:
        """Every tool of the project, those that are switched off too."""
        return tuple((await self._offered(project)).values())

    async def tool(self, project: str, name: str) -> Offered | None:
        return (await self._offered(project)).get(name)

    async def installed(self) -> frozenset[str]:
        """The names of the tools that come with the runners."""
        return frozenset(tool.name for tool in (await self._announced()).tools)

    async def secrets(self) -> tuple[SecretName, ...]:
        return (await self._announced()).secrets

    async def configured(self, project: str) -> ProjectTools:
        """What the project has configured, which is nothing at first."""
        return await self._of(project).configured.get() or NOTHING

    async def servers(self, project: str) -> tuple[McpListings, McpListings]:
        """What was last seen of the project's MCP servers, and of those of the runners' own."""
        return await self._of(project).servers.get() or NEVER, await self._local.get() or NEVER

    def know(self, project: str, configured: ProjectTools) -> None:
        """What was just published counts at once for this gateway."""
        self._of(project).configured.know(configured)

    async def models(self) -> Models | None:
        """None when no runner knows its provider's models."""
        return await self._models.get()

    async def specs(self, project: str, names: Sequence[str] | None) -> tuple[ToolSpec, ...]:
        """The tools of these names for a run, all that are switched on when None.

        Raises Problem (422) for one that there is not, or that is switched off.
        """
        offered = await self._offered(project)
        if names is None:
            specs = tuple(each.tool.spec for each in offered.values() if each.enabled)
            if len(specs) > MOST_OFFERED:
                raise invalid(
                    "tools", f"there are {len(specs)} tools; name those to use, at most {MOST_OFFERED}"
                )
            return specs
        for index, name in enumerate(names):
            if name not in offered:
                raise self._unknown(project, f"tools.{index}", name, offered)
            if not offered[name].enabled:
                raise invalid(
                    f"tools.{index}",
                    f"the tool {name!r} is switched off in this project; leave it out, or switch it on with "
                    f"PATCH /api/tools/{name}",
                )
        return tuple(offered[name].tool.spec for name in names)

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

    async def _offered(self, project: str) -> dict[str, Offered]:
        kept, configured = self._of(project), await self.configured(project)
        own = await kept.servers.get() if configured.mcp else None
        sources = Sources(await self._announced(), configured, await self._local.get() or NEVER, own or NEVER)
        if kept.offered is None or kept.sources != sources:
            kept.sources, kept.offered = sources, sources.offers()
        return kept.offered

    def _unknown(self, project: str, field: str, name: str, offered: dict[str, Offered]) -> Problem:
        sources, (server, of_server, _) = self._of(project).sources, name.partition("__")
        if sources is not None and of_server and (error := sources.error_of(server)) is not None:
            return invalid(field, f"unknown tool {name[:64]!r}; of the MCP server {server} is known: {error}")
        known = ", ".join(name for name, each in offered.items() if each.enabled)
        return invalid(field, f"unknown tool {name[:64]!r}; the tools are {known or 'none'}")

    def _of(self, project: str) -> _Project:
        found = self._projects.get(project)
        if found is None:
            found = self._projects[project] = _Project(
                self._kept(project_tools_subject(project), ProjectTools, Ages()),
                self._kept(mcp_subject(project), McpListings, Ages()),
            )
            if len(self._projects) > MOST_PROJECTS:
                self._projects.popitem(last=False)
        self._projects.move_to_end(project)
        return found

    def _kept(self, subject: str, model: type[Announcement], ages: Ages) -> Kept[Announcement]:
        return Kept(self._client, subject, model, ages, self._clock)
