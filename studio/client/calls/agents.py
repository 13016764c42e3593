"""Agents, which are changed by new versions."""

from collections.abc import Mapping

from pydantic import JsonValue

from studio.client.calls.call import Call, Listing, nothing, once, path, reader
from studio.client.models import Agent, AgentDiff, AgentSummary, Page


def agents(*, archived: bool = False, limit: int | None = None) -> Listing[AgentSummary]:
    """The newest version of each agent, those created last first; at most `limit`."""
    return Listing(Page[AgentSummary], path("agents"), limit, {"archived": str(archived).lower()})


def agent(name: str, version: int | None = None) -> Call[Agent]:
    """A version of an agent, the newest one by default."""
    which = () if version is None else ("versions", str(version))
    return Call("GET", path("agents", name, *which), reader(Agent))


def create_agent(definition: Mapping[str, JsonValue], *, idempotency_key: str | None = None) -> Call[Agent]:
    """An agent of the name that the definition gives. Raises Conflict when there is one."""
    return Call("POST", path("agents"), reader(Agent), body=definition, headers=once(idempotency_key))


def update_agent(
    name: str, definition: Mapping[str, JsonValue], *, version: int | None = None
) -> Call[Agent]:
    """A new version that says this and nothing else.

    Raises Conflict when `version` is not the newest any more; without it, whichever is newest is changed.
    """
    headers = {"If-Match": "*" if version is None else f'"{version}"'}
    body = {field: value for field, value in definition.items() if field != "name"}
    return Call("PUT", path("agents", name), reader(Agent), body=body, headers=headers)


def archive_agent(name: str) -> Call[None]:
    """No run may name it any more; its versions stay. Raises Conflict while other agents name it."""
    return Call("DELETE", path("agents", name), nothing)


def diff_agent(name: str, old: int, new: int) -> Call[AgentDiff]:
    """What differs between two versions."""
    query = {"from": str(old), "to": str(new)}
    return Call("GET", path("agents", name, "diff"), reader(AgentDiff), query=query)
