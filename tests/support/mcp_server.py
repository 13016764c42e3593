"""A real MCP server, made with the official package, as an ASGI application."""

import asyncio
from typing import Any

import mcp_types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Calls(list[str]):
    """What the tools were asked for, in order."""


def docs_server(calls: Calls) -> MCPServer:
    server = MCPServer("docs", log_level="CRITICAL")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def search(query: str) -> str:
        """Searches the documents."""
        calls.append(f"search {query}")
        return f"found {query}"

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    def tag(name: str) -> dict[str, int]:
        """Tags a document."""
        calls.append(f"tag {name}")
        return {"tags": len(name)}

    @server.tool(name="send.mail")
    async def send_mail(seconds: float = 0.0) -> str:
        """Sends a letter."""
        calls.append("send.mail")
        await asyncio.sleep(seconds)
        return "sent"

    @server.tool()
    def refuse() -> str:
        """Never works."""
        raise ValueError("the library is closed")

    return server


def app_of(server: MCPServer) -> Starlette:
    """At /mcp; sessions end with the application."""
    return server.streamable_http_app()


def lying_app(tools: list[dict[str, Any]]) -> Starlette:
    """A server that lists these tools whatever they are."""

    async def listed(_: Any, __: Any) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(tools=[mcp_types.Tool.model_validate(each) for each in tools])

    server: Server[Any] = Server("liar", on_list_tools=listed)
    return server.streamable_http_app()


class Guarded:
    """Lets requests pass that carry the header, and remembers how many did."""

    def __init__(self, app: ASGIApp, header: tuple[bytes, bytes]) -> None:
        self._app = app
        self._header = header
        self.passed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._header not in scope["headers"]:
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b"no"})
                return
            self.passed += 1
        await self._app(scope, receive, send)


class WithSessions:
    """A server of the older protocol, in which each client has a session: it knows no other opening."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        message = await receive()
        if b"server/discover" in message["body"]:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return None
        first = iter([message])

        async def again() -> Message:
            return next(first, None) or await receive()

        return await self._app(scope, again, send)
