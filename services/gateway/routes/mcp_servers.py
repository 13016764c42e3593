"""The MCP servers of a project, whose tools stand among the others as `server__tool`."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import parts_of
from services.gateway.routes.creation import id_for
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown
from services.gateway.tools.book import exists, no_such_server
from services.gateway.tools.models import McpServerChange, McpServerInput, McpServerList, McpServerView
from services.gateway.tools.views import server_views
from shared.catalog import McpServer

router: Final = APIRouter(
    prefix="/api/mcp-servers",
    tags=["tools"],
    dependencies=[OnlyKnown],
    generate_unique_id_function=operation_id,
)
ServerPath = Annotated[str, Path(description="The name of an MCP server.", examples=["docs"])]
REFUSED: Final = ("private-tool", "unknown-secret", "no-runner", "database-away")


@router.get(
    "",
    summary="List MCP servers",
    response_model=McpServerList,
    responses={**refuses("broker-away"), **gives("mcp-servers")},
)
async def list_mcp_servers(request: Request, caller: Caller) -> Response:
    """With the tools that each has, and what was wrong when a runner last asked it: once a minute, and
    whenever it is changed. Those that the runners bring along have no URL."""
    return json_answer(McpServerList(items=await _servers(request, caller.project)))


@router.get(
    "/{name}",
    summary="An MCP server",
    response_model=McpServerView,
    responses={**refuses("no-such-server"), **gives("mcp-server")},
)
async def get_mcp_server(request: Request, caller: Caller, name: ServerPath) -> Response:
    """What the runners last saw of it; the tools of one that is down stay in the list."""
    return await _shown(request, caller.project, name)


@router.post(
    "",
    status_code=201,
    summary="Add an MCP server",
    response_model=McpServerView,
    responses={
        **refuses(
            "read-only-key",
            "server-exists",
            "key-reused-elsewhere",
            "bad-idempotency-key",
            *REFUSED,
            body=True,
        ),
        **gives(
            "new-mcp-server", status=201, description="The runners ask it now.", headers=(REPLAYED_HEADER,)
        ),
    },
    openapi_extra=takes(McpServerInput, examples.MCP_SERVER_INPUT),
)
async def add_mcp_server(
    request: Request, caller: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Its tools can be named once a runner has asked for them, a moment later. Their effect is what the
    server says of them: `readOnlyHint` is pure, `idempotentHint` idempotent, all others are irreversible."""
    asked, parts = await read_model(request, McpServerInput), parts_of(request)
    await parts.tool_checks.server(caller.project, asked.url, asked.headers, await parts.catalog.secrets())
    _, local = await parts.catalog.servers(caller.project)
    if any(each.server == asked.name for each in local.listings):
        raise exists(asked.name)
    server_id, is_replay = await id_for(request, caller, idempotency_key, asked)
    await parts.tools.add(caller.project, server_id, McpServer.model_validate(asked.model_dump()))
    return await _shown(request, caller.project, asked.name, 201, replay_headers(is_replay))


@router.patch(
    "/{name}",
    summary="Change an MCP server",
    response_model=McpServerView,
    responses={
        **refuses("read-only-key", "no-such-server", *REFUSED, body=True),
        **gives("mcp-server"),
    },
    openapi_extra=takes(McpServerChange, examples.MCP_SERVER_CHANGE),
)
async def change_mcp_server(request: Request, caller: Caller, name: ServerPath) -> Response:
    """What is left out stays. Of one that is switched off no tool is offered."""
    asked, parts = await read_model(request, McpServerChange), parts_of(request)
    secrets = await parts.catalog.secrets()

    async def changed(server: McpServer) -> McpServer:
        made = server.model_copy(update=asked.changes)
        await parts.tool_checks.server(caller.project, made.url, made.headers, secrets)
        return made

    await parts.tools.change_server(caller.project, name, changed)
    return await _shown(request, caller.project, name)


@router.delete(
    "/{name}",
    status_code=204,
    summary="Delete an MCP server",
    responses=refuses("read-only-key", "no-such-server", "database-away"),
)
async def delete_mcp_server(request: Request, caller: Caller, name: ServerPath) -> Response:
    """Runs that have begun keep its tools; what is said of single tools stays for when it comes back."""
    if not await parts_of(request).tools.remove(caller.project, "mcp", name):
        raise no_such_server(name)
    return Response(status_code=204)


async def _servers(request: Request, project: str) -> tuple[McpServerView, ...]:
    catalog = parts_of(request).catalog
    return tuple(server_views(await catalog.configured(project), *await catalog.servers(project)))


async def _shown(
    request: Request, project: str, name: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    for server in await _servers(request, project):
        if server.name == name:
            return json_answer(server, status, headers=headers)
    raise no_such_server(name)
