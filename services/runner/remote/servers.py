"""Asking MCP servers: which tools they have, and to carry one out."""

import asyncio
from typing import Final

import mcp_types
from mcp import Client
from pydantic import JsonValue

from services.runner.remote.listing import MOST_TOOLS, listing
from services.runner.remote.mcp import ServerAddress
from services.runner.remote.sessions import UNKNOWN, Sessions
from services.runner.tools.base import ToolContext, ToolError
from shared.catalog import LOCAL, McpListing
from shared.steps import Effect, ToolSpec

LIST_S: Final = 20.0
MOST_PAGES: Final = 20


class McpServers:
    """What each method does is told in `mcp`, through which all come here."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def close(self) -> None:
        await self._sessions.close()

    async def tools(self, server: ServerAddress) -> McpListing:
        try:
            async with asyncio.timeout(LIST_S):
                found = await self._sessions.ask(server, _all_tools, repeatable=True)
        except TimeoutError:
            return McpListing(
                server=server.name, error=f"it did not list its tools within {LIST_S:g} seconds"
            )
        except ToolError as error:
            return McpListing(server=server.name, error=str(error))
        return listing(server.name, found)

    async def call(self, spec: ToolSpec, arguments: dict[str, JsonValue], context: ToolContext) -> JsonValue:
        server, tool = _address(spec, context.project), str(spec.settings["tool"])
        parameters = mcp_types.CallToolRequestParams(name=tool, arguments=arguments)

        async def called(client: Client) -> mcp_types.CallToolResult:
            # Not `call_tool`, which holds the answer against a schema of the server's with Python's own
            # expressions: a hostile one would stop the process.
            request = mcp_types.CallToolRequest(params=parameters)
            return await client.session.send_request(request, mcp_types.CallToolResult)

        try:
            async with asyncio.timeout(spec.timeout_s):
                repeatable = spec.effect is not Effect.IRREVERSIBLE
                result = await self._sessions.ask(server, called, repeatable=repeatable)
        except TimeoutError:
            raise ToolError(
                f"The MCP server {server.name} did not answer within {spec.timeout_s:g} seconds; {UNKNOWN}."
            ) from None
        return _result(result)


async def _all_tools(client: Client) -> list[mcp_types.Tool]:
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) > MOST_TOOLS:
            break
    return tools


def _address(spec: ToolSpec, project: str) -> ServerAddress:
    settings = spec.settings
    name, url, headers = str(settings["server"]), settings.get("url"), settings.get("headers")
    if url is None:
        return ServerAddress(LOCAL, name)
    given = headers if isinstance(headers, dict) else {}
    return ServerAddress(project, name, str(url), tuple((key, str(value)) for key, value in given.items()))


def _result(result: mcp_types.CallToolResult) -> JsonValue:
    """Structured content where there is some, else the text; of all else only what it is."""
    text = "\n".join(_shown(block) for block in result.content)
    if result.is_error:
        raise ToolError(text or "The tool failed and did not say why.")
    structured: JsonValue = result.structured_content
    return text if structured is None else structured


def _shown(block: mcp_types.ContentBlock) -> str:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return f"[{block.type}, {block.mime_type}, not shown]"
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
            return resource.text
    return f"[{block.type}, not shown]"
