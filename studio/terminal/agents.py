"""Agents on the terminal: side by side, one by itself, and what differs between two versions."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from pydantic import JsonValue
from rich.console import Group
from rich.table import Table
from rich.text import Text

from studio.client.models import Agent, AgentDiff, AgentSummary
from studio.terminal.amounts import UNKNOWN, age
from studio.terminal.grid import facts, table
from studio.terminal.text import plain

STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


def agents_table(agents: Sequence[AgentSummary], now: datetime) -> Table:
    wide = ("model", "tools", "agents", "description")
    rows = (
        (
            agent.name,
            str(agent.version),
            "built in" if agent.is_built_in else age(agent.created_at, now),
            agent.model or UNKNOWN,
            _tools(agent),
            _others(agent),
            agent.description,
        )
        for agent in agents
    )
    return table(("agent", "version", "changed", *wide), rows, wide=wide, right=("version",))


def agent_view(agent: Agent) -> Group:
    """All that it says; its instructions at the end, as they are."""
    heading = Text.assemble((plain(agent.name), "bold"), f"  version {agent.version}")
    if agent.version != agent.newest_version:
        heading.append(f" of {agent.newest_version}", "dim")
    if agent.archived_at is not None:
        heading.append("  archived", "yellow")
    instructions = [Text(), Text(plain(agent.instructions))] if agent.instructions else []
    return Group(heading, facts(_fields(agent)), *instructions)


def diff_view(diff: AgentDiff) -> Group:
    """Each field with what it was and what it is, then the instructions as a unified diff."""
    lines: list[Text] = []
    for change in diff.changes:
        lines.append(Text(plain(change.field), "bold"))
        lines.append(Text(plain(f"- {_json(change.before)}"), STYLES["-"]))
        lines.append(Text(plain(f"+ {_json(change.after)}"), STYLES["+"]))
    if diff.instructions is not None:
        lines.append(Text("instructions", "bold"))
        lines += (Text(plain(line), STYLES.get(line[:1], "")) for line in diff.instructions.splitlines())
    return Group(*lines)


def _fields(agent: Agent) -> Iterator[tuple[str, str]]:
    given = {name: value for name, value in agent.parameters.model_dump().items() if value is not None}
    limits = {name: value for name, value in agent.limits.model_dump().items() if value is not None}
    rules = [f"{rule.tool} ({rule.effect})" if rule.effect else rule.tool for rule in agent.approval_rules]
    shown = {
        "description": agent.description,
        "model": agent.model or "the default",
        "parameters": ", ".join(f"{name} {value:g}" for name, value in given.items()),
        "tools": _tools(agent),
        "handoffs": ", ".join(agent.handoffs),
        "agents": ", ".join(agent.agents),
        "answers": _json(agent.response_format) if agent.response_format is not None else "",
        "limits": ", ".join(f"{name} {value:g}" for name, value in limits.items()),
        "approval": ", ".join(rules),
        "changed": f"{agent.created_at:%Y-%m-%d %H:%M} UTC by {agent.created_by}",
    }
    yield from shown.items()


def _tools(agent: AgentSummary) -> str:
    return "all" if agent.tools is None else ", ".join(agent.tools) or "none"


def _others(agent: AgentSummary) -> str:
    return ", ".join((*(f"→ {name}" for name in agent.handoffs), *(f"? {name}" for name in agent.agents)))


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
