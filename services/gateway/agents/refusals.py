"""Why something cannot be done to an agent, as problems."""

from collections.abc import Sequence
from typing import Final

from services.gateway.agents.version import AgentVersion
from services.gateway.problems import NOT_FOUND, Kind, Problem

AGENT_EXISTS: Final = Kind("agent-exists", 409, "There is an agent of that name")
AGENT_BUILT_IN: Final = Kind("agent-built-in", 409, "The agent is built in")
AGENT_IN_USE: Final = Kind("agent-in-use", 409, "Other agents name this one")
AGENT_CHANGED: Final = Kind("agent-changed", 412, "The agent has another version by now")
VERSION_NEEDED: Final = Kind("version-needed", 428, "The version to be changed must be named")
NAMED: Final = 8


def no_such_agent(name: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no agent {name[:64]!r}; GET /api/agents lists them")


def no_such_version(agent: AgentVersion, version: int) -> Problem:
    return Problem(
        NOT_FOUND, f"the agent {agent.name} has no version {version}; it has the versions 1 to {agent.newest}"
    )


def exists(name: str) -> Problem:
    return Problem(
        AGENT_EXISTS, f"there is an agent {name!r} already; PUT /api/agents/{name} makes a new version of it"
    )


def built_in(name: str) -> Problem:
    return Problem(AGENT_BUILT_IN, f"the agent {name!r} cannot be changed; create one with another name")


def in_use(name: str, users: Sequence[str]) -> Problem:
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return Problem(
        AGENT_IN_USE,
        f"the agent {name!r} is named by {', '.join(users[:NAMED])}{more}; change those first",
    )


def changed(agent: AgentVersion, expected: int) -> Problem:
    return Problem(
        AGENT_CHANGED,
        f"the newest version of the agent {agent.name!r} is {agent.version}, not {expected}; look at it, and "
        "repeat the change with its number in If-Match",
    )


def version_needed() -> Problem:
    return Problem(
        VERSION_NEEDED,
        'give the version that you change as If-Match: "3", or If-Match: * to change whichever is the newest',
    )
