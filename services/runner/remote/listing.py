"""What an MCP server says of its tools, as tools of the catalogue, or why one cannot be offered. Pure."""

import re
from collections.abc import Sequence
from typing import Final

import mcp_types

from shared.catalog import McpListing, Tool
from shared.json_schema import fault
from shared.steps import Effect

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # as the provider takes them
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
MOST_TOOLS: Final = 128
LONGEST_DESCRIPTION: Final = 4000
LONGEST_ERROR: Final = 1000
TIMEOUT_S: Final = 60.0


def listing(server: str, tools: Sequence[mcp_types.Tool]) -> McpListing:
    """The tools that can be offered; `error` names the others."""
    offered: dict[str, Tool] = {}
    faults: list[str] = []
    for tool in tools[:MOST_TOOLS]:
        name = f"{server}__{NOT_IN_NAMES.sub('_', tool.name)}"
        if (told := "the name is there twice" if name in offered else _fault(name, tool)) is not None:
            faults.append(f"{tool.name[:64]}: {told}")
        else:
            offered[name] = _tool(server, name, tool)
    if len(tools) > MOST_TOOLS:
        faults.append(f"only the first {MOST_TOOLS} of its {len(tools)} tools are offered")
    error = f"left out: {'; '.join(faults)}"[:LONGEST_ERROR] if faults else None
    return McpListing(server=server, tools=tuple(offered.values()), error=error)


def _fault(name: str, tool: mcp_types.Tool) -> str | None:
    if not TOOL_NAME.fullmatch(name):
        return f"{name[:80]} has more than 64 characters"
    if (told := fault(tool.input_schema)) is not None:
        return f"its schema is none: {told}"
    is_object = tool.input_schema.get("type") == "object"
    return None if is_object else "its schema is not that of an object, as arguments are"


def _tool(server: str, name: str, tool: mcp_types.Tool) -> Tool:
    hints = tool.annotations
    return Tool(
        name=name,
        display_name=(tool.title or (hints and hints.title) or tool.name)[:100],
        description=(tool.description or tool.name)[:LONGEST_DESCRIPTION],
        icon="IconPlug",
        effect=_effect(hints),
        parameters=tool.input_schema,
        timeout_s=TIMEOUT_S,
        source="mcp",
        settings={"server": server, "tool": tool.name},
    )


def _effect(hints: mcp_types.ToolAnnotations | None) -> Effect:
    """What the server claims; a server that claims nothing is taken at its worst."""
    if hints is not None and hints.read_only_hint:
        return Effect.PURE
    if hints is not None and hints.idempotent_hint:
        return Effect.IDEMPOTENT
    return Effect.IRREVERSIBLE
