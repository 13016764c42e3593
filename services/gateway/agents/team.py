"""Whom an agent can reach: those that it hands over to or asks, and theirs. Not here: where agents are kept.

Nobody may come back to where they were, neither by handing over nor by asking: the models would decide how
often, and each run of an agent that is asked would hold all that began before it. Where a conversation should
go back and forth, one agent asks the other.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.agents.version import ASSISTANT, AgentVersion, Reference
from shared.steps import AgentRef

MOST_REACHED: Final = 16
MOST_DEEP: Final = 8

Load = Callable[[Collection[Reference]], Awaitable[Mapping[Reference, AgentVersion]]]
"""Finds agents, archived ones too; what there is not is missing in the answer."""


class BadTeam(ValueError):
    """An agent reaches what it must not; `field` is where in the agent at the top that begins."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Member:
    """An agent, and those that it names, in its order."""

    agent: AgentVersion
    handoffs: tuple[AgentVersion, ...] = ()
    agents: tuple[AgentVersion, ...] = ()


@dataclass(frozen=True)
class Team:
    """The agent at the top and all that it can reach, nearest first."""

    top: Member
    others: tuple[Member, ...] = ()

    def handed_over_to(self) -> set[AgentRef]:
        """Those that a conversation with the agent at the top may come to."""
        members = {member.agent.ref: member for member in (self.top, *self.others)}
        reached, open_ = set[AgentRef](), [self.top]
        while open_:
            refs = {agent.ref for agent in open_.pop().handoffs} - reached
            reached |= refs
            open_ += (members[ref] for ref in refs)
        return reached


async def assemble(top: AgentVersion, load: Load, *, is_newest: bool) -> Team:
    """Raises BadTeam. `is_newest`: the agent at the top is the one that its bare name stands for."""
    if not any(_named(top)):  # as most are
        return Team(Member(top))
    known = {Reference(top.name, top.version): top}
    if is_newest:
        known[Reference(top.name)] = top
    fields: dict[AgentRef, str] = {}
    members: dict[AgentRef, Member] = {}
    level = [top]
    while level:
        wanted = {reference for agent in level for _, reference in _named(agent)} - known.keys()
        known |= await _loaded(wanted, load)
        reached: dict[AgentRef, AgentVersion] = {}
        for agent in level:
            for field, reference in _named(agent):
                field = fields.get(agent.ref, field)
                target = _usable(known, reference, agent, field)
                fields.setdefault(target.ref, field)
                reached[target.ref] = target
            members[agent.ref] = Member(agent, *_targets(agent, known))
        level = [agent for ref, agent in reached.items() if ref not in members]
        if len(members) + len(level) > MOST_REACHED + 1:
            field = fields[level[-1].ref]
            raise BadTeam(field, f"the agent {top} reaches more than {MOST_REACHED} others; name fewer")
    _require_ways_out(members[top.ref], members, fields)
    return Team(members.pop(top.ref), tuple(members.values()))


async def _loaded(wanted: set[Reference], load: Load) -> dict[Reference, AgentVersion]:
    built_in = {reference: ASSISTANT for reference in wanted if reference.name == ASSISTANT.name}
    found = dict(await load(wanted - built_in.keys())) if wanted - built_in.keys() else {}
    return found | {ref: agent for ref, agent in built_in.items() if ref.version in (None, agent.version)}


def _named(agent: AgentVersion) -> Iterator[tuple[str, Reference]]:
    for kind in ("handoffs", "agents"):
        for index, text in enumerate(getattr(agent.definition, kind)):
            if (reference := Reference.parse(text)) is not None:
                yield f"{kind}.{index}", reference


def _targets(
    agent: AgentVersion, known: Mapping[Reference, AgentVersion]
) -> Iterator[tuple[AgentVersion, ...]]:
    for kind in ("handoffs.", "agents."):
        yield tuple(known[reference] for field, reference in _named(agent) if field.startswith(kind))


def _usable(
    known: Mapping[Reference, AgentVersion], reference: Reference, by: AgentVersion, field: str
) -> AgentVersion:
    target = known.get(reference)
    if target is None:
        raise BadTeam(field, f"the agent {by} names {reference}, which there is not (GET /api/agents)")
    if target.archived_at is not None:
        raise BadTeam(field, f"the agent {by} names {reference}, which is archived; name another one")
    return target


def _require_ways_out(
    top: Member, members: Mapping[AgentRef, Member], fields: Mapping[AgentRef, str]
) -> None:
    """Raises BadTeam when the ways from agent to agent end where they began, or are too long."""
    heights: dict[AgentRef, int] = {}

    def height(member: Member, way: tuple[AgentVersion, ...]) -> int:
        agent = member.agent
        if agent in way:
            circle = " → ".join(map(str, (*way[way.index(agent) :], agent)))
            field = fields[way[1].ref] if len(way) > 1 else fields[agent.ref]
            raise BadTeam(field, f"the agents lead in a circle: {circle}; leave one of them out")
        if agent.ref not in heights:
            named = (*member.handoffs, *member.agents)
            below = [height(members[each.ref], (*way, agent)) for each in named]
            heights[agent.ref] = 1 + max(below, default=-1)
        return heights[agent.ref]

    if height(top, ()) > MOST_DEEP:
        field = fields[max(fields, key=lambda ref: heights[ref])]
        raise BadTeam(field, f"the agent {top.agent} reaches others over more than {MOST_DEEP} steps")
