"""The tools of a project: look at them, switch them, and add some that are HTTP requests."""

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
from services.gateway.problems import invalid
from services.gateway.routes.creation import id_for
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown
from services.gateway.tools.book import exists, no_such_tool
from services.gateway.tools.models import HttpToolInput, ToolChange, ToolList, ToolView
from services.gateway.tools.views import tool_view

router: Final = APIRouter(
    prefix="/api/tools", tags=["tools"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
ToolPath = Annotated[str, Path(description="The name of a tool.", examples=["calculator"])]


@router.get(
    "",
    summary="List tools",
    response_model=ToolList,
    responses={**refuses("no-runner", "broker-away"), **gives("tools")},
)
async def list_tools(request: Request, caller: Caller) -> Response:
    """The tools that come with the runners, those of MCP servers, and the project's own; also those that are
    switched off. 503 while no runner has announced its tools."""
    offered = await parts_of(request).catalog.tools(caller.project)
    return json_answer(ToolList(items=tuple(map(tool_view, offered))))


@router.get(
    "/{name}",
    summary="A tool",
    response_model=ToolView,
    responses={**refuses("no-such-tool", "no-runner"), **gives("tool")},
)
async def get_tool(request: Request, caller: Caller, name: ToolPath) -> Response:
    """With the JSON schema of its arguments, as the model sees it."""
    return await _shown(request, caller.project, name)


@router.post(
    "",
    status_code=201,
    summary="Add an HTTP tool",
    response_model=ToolView,
    responses={
        **refuses(
            "read-only-key",
            "tool-exists",
            "key-reused-elsewhere",
            "bad-idempotency-key",
            "private-tool",
            "fixed-host",
            "unknown-secret",
            "no-runner",
            "database-away",
            body=True,
        ),
        **gives("http-tool", status=201, description="Runs may use it.", headers=(REPLAYED_HEADER,)),
    },
    openapi_extra=takes(HttpToolInput, examples.HTTP_TOOL_INPUT),
)
async def add_tool(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """Runs may use it at once. Each call carries an `Idempotency-Key`, the same when it is repeated after a
    crash. The host is fixed and must be a public one, when the tool is made and at each call; secrets stand
    in headers by name and are known to the runners only. To change a tool, delete it and add it again.
    """
    asked, parts = await read_model(request, HttpToolInput), parts_of(request)
    tool = await parts.tool_checks.http_tool(caller.project, asked, await parts.catalog.secrets())
    if asked.name in await parts.catalog.installed():
        raise exists(asked.name)
    tool_id, is_replay = await id_for(request, caller, idempotency_key, asked)
    await parts.tools.add(caller.project, tool_id, tool)
    return await _shown(request, caller.project, asked.name, 201, replay_headers(is_replay))


@router.patch(
    "/{name}",
    summary="Change what a project says of a tool",
    response_model=ToolView,
    responses={
        **refuses("read-only-key", "no-such-tool", "no-runner", "database-away", body=True),
        **gives("switched-tool"),
    },
    openapi_extra=takes(ToolChange, examples.TOOL_CHANGE),
)
async def change_tool(request: Request, caller: Caller, name: ToolPath) -> Response:
    """Switch any tool on or off, describe it otherwise, let its calls wait for approval, or bound its time.

    Runs that have begun keep the tools that they began with. Other gateways follow within a second.
    """
    asked, parts = await read_model(request, ToolChange), parts_of(request)
    if await parts.catalog.tool(caller.project, name) is None:
        raise no_such_tool(name)
    parts.tool_checks.refuse_credentials({"description": asked.description})
    await parts.tools.override(caller.project, name, asked.values)
    return await _shown(request, caller.project, name)


@router.delete(
    "/{name}",
    status_code=204,
    summary="Delete an HTTP tool",
    responses=refuses("read-only-key", "no-such-tool", "installed-tool", "no-runner", "database-away"),
)
async def delete_tool(request: Request, caller: Caller, name: ToolPath) -> Response:
    """Runs that have begun keep it. A tool of another source cannot be deleted, only switched off."""
    parts = parts_of(request)
    if not await parts.tools.remove(caller.project, "http", name):
        if await parts.catalog.tool(caller.project, name) is None:
            raise no_such_tool(name)
        raise invalid("name", "only HTTP tools can be deleted; switch this one off with PATCH")
    return Response(status_code=204)


async def _shown(
    request: Request, project: str, name: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    offered = await parts_of(request).catalog.tool(project, name)
    if offered is None:
        raise no_such_tool(name)
    return json_answer(tool_view(offered), status, headers=headers)
