"""Keeping agents: creating them, making new versions, archiving them, finding them.

What a run makes of an agent is in `resolution.py`.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from services.gateway import reads
from services.gateway.agents import refusals, store
from services.gateway.agents.definition import EVERY_TOOL, AgentDefinition
from services.gateway.agents.team import BadTeam, assemble
from services.gateway.agents.version import ASSISTANT, AgentVersion, Reference
from services.gateway.catalog import Catalog
from services.gateway.problems import invalid
from shared.database import Connection, Database
from shared.scrub import Scrubber

Result = TypeVar("Result")


class Agents:
    """Methods raise Problem and Unavailable."""

    def __init__(self, database: Database, catalog: Catalog, scrubber: Scrubber) -> None:
        self._database = database
        self._catalog = catalog
        self._scrubber = scrubber

    async def create(self, project: str, draft: AgentVersion) -> tuple[AgentVersion, bool]:
        """The agent, and whether it was there: created before with the draft's id.

        One that was archived is there again and goes on with its versions.
        """
        if draft.name == ASSISTANT.name:
            raise refusals.exists(draft.name)
        await self._require_usable(project, draft.definition)

        async def write(connection: Connection) -> tuple[AgentVersion, bool]:
            there = await _newest(connection, project, draft.name)
            if there is not None and there.archived_at is None:
                if there.id != draft.id:
                    raise refusals.exists(draft.name)
                return there, True
            version = there.newest + 1 if there is not None else 1
            return await _add(connection, project, replace(draft, version=version, newest=version)), False

        return await self._writing(project, write)

    async def update(
        self, project: str, name: str, definition: AgentDefinition, *, expected: int | None, who: str
    ) -> AgentVersion:
        """The agent as it is from now on; it stays at its version when that says the same already.

        `expected`: the version that the caller has seen; None for whichever is the newest.
        """
        _require_own(name)
        await self._require_usable(project, definition)

        async def write(connection: Connection) -> AgentVersion:
            there = await _newest(connection, project, name)
            if there is None or there.archived_at is not None:
                raise refusals.no_such_agent(name)
            if _text(there.definition) == _text(definition):  # also what a repeated request finds
                return there
            if expected not in (None, there.version):
                raise refusals.changed(there, expected)
            number = there.newest + 1
            draft = replace(there, version=number, newest=number, definition=definition, created_by=who)
            return await _add(connection, project, draft)

        return await self._writing(project, write)

    async def archive(self, project: str, name: str) -> None:
        """No run may name it any more; its versions stay. To archive twice changes nothing."""
        _require_own(name)

        async def write(connection: Connection) -> None:
            if await _newest(connection, project, name) is None:
                raise refusals.no_such_agent(name)
            if users := await store.users(connection, project, name):
                raise refusals.in_use(name, users)
            await store.archive(connection, project, name)

        await self._writing(project, write)

    async def find(self, project: str, references: Collection[Reference]) -> dict[Reference, AgentVersion]:
        """Those that there are, archived ones too; not the one that is built in."""
        return await reads.answered(
            self._database, partial(store.find, project=project, references=references)
        )

    async def get(self, project: str, name: str, version: int | None = None) -> AgentVersion:
        """A version of an agent, the newest one by default. Raises Problem (404)."""
        if name == ASSISTANT.name:
            newest: AgentVersion | None = ASSISTANT
        else:
            found = await self.find(project, {Reference(name), Reference(name, version)})
            if (agent := found.get(Reference(name, version))) is not None:
                return agent
            newest = found.get(Reference(name))
        if newest is None:
            raise refusals.no_such_agent(name)
        if version not in (None, newest.version):
            raise refusals.no_such_version(newest, version)
        return newest

    async def page(
        self, project: str, before: UUID | None, limit: int, *, archived: bool
    ) -> list[AgentVersion]:
        """At most `limit`, those created last first; the built-in agent is behind all others."""
        found = await reads.answered(
            self._database,
            partial(store.page, project=project, before=before, limit=limit, archived=archived),
        )
        is_whole = len(found) < limit and not archived and before != ASSISTANT.id
        return [*found, ASSISTANT] if is_whole else found

    async def versions(self, project: str, name: str, before: int | None, limit: int) -> list[AgentVersion]:
        """Newest first. Raises Problem (404) when there is no such agent."""
        if (newest := await self.get(project, name)).is_built_in:
            return [newest] if before is None or before > newest.version else []
        return await reads.answered(
            self._database, partial(store.versions, project=project, name=name, before=before, limit=limit)
        )

    async def _require_usable(self, project: str, definition: AgentDefinition) -> None:
        """Raises Problem (422) for what no run could use, or would find changed."""
        for field, value in definition.model_dump(mode="json").items():
            if self._scrubber.value(value) != value:
                raise invalid(field, "must not look like a credential, nor hold NUL or a lone surrogate")
        if definition.model is not None:
            await self._catalog.require_model(definition.model)
        names = {spec.name for spec in await self._catalog.specs(project, definition.tools)}
        for index, rule in enumerate(definition.approval_rules):
            if rule.tool not in (EVERY_TOOL, *names):
                raise invalid(
                    f"approval_rules.{index}.tool",
                    f"the agent has no tool of that name; give {EVERY_TOOL} or one of its tools: "
                    f"{', '.join(sorted(names)) or 'none'}",
                )

    async def _writing(self, project: str, write: Callable[[Connection], Awaitable[Result]]) -> Result:
        async def alone(connection: Connection) -> Result:
            async with connection.transaction():
                await store.lock(connection, project)
                return await write(connection)

        return await reads.answered(self._database, alone)


async def _newest(connection: Connection, project: str, name: str) -> AgentVersion | None:
    return (await store.find(connection, project, [Reference(name)])).get(Reference(name))


async def _add(connection: Connection, project: str, draft: AgentVersion) -> AgentVersion:
    try:
        await assemble(draft, partial(store.find, connection, project), is_newest=True)
    except BadTeam as error:
        raise invalid(error.field, str(error)) from None
    return await store.add(connection, project, draft)


def _text(definition: AgentDefinition) -> str:
    """In which the order of a schema's properties counts, as it does for the model."""
    return definition.model_dump_json()


def _require_own(name: str) -> None:
    if name == ASSISTANT.name:
        raise refusals.built_in(name)
