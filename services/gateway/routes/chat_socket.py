"""Who may open a chat's WebSocket: by key, or by ticket where a page cannot send one."""

from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.gateway.auth import authenticated
from services.gateway.conversation import Conversation
from services.gateway.key_ring import Principal
from services.gateway.metrics import REJECTED
from services.gateway.parts import Parts, parts_of
from services.gateway.problems import FORBIDDEN, Problem, away
from shared.errors import Unavailable

router: Final = APIRouter()
PATH: Final = "/api/ws/chat"


@router.websocket(PATH)
async def chat_socket(socket: WebSocket) -> None:
    """Refuses with a problem document before the socket opens."""
    parts = parts_of(socket)
    try:
        place = parts.streams.reserve("chat")
    except Problem as problem:
        await _refuse(socket, problem)
        return
    with place:
        try:
            principal = await _admitted(socket, parts)
        except (Problem, Unavailable) as error:
            await _refuse(socket, error if isinstance(error, Problem) else away(error))
            return
        await socket.accept()
        try:
            await Conversation(socket, parts, principal, PATH).run()
        except WebSocketDisconnect:
            return


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    REJECTED.labels(problem.kind.name).inc()
    socket.scope["problem"] = problem
    await socket.send_denial_response(problem.response())


async def _admitted(socket: WebSocket, parts: Parts) -> Principal:
    _require_origin(socket, parts.settings.gateway_allowed_origins)
    ticket = socket.query_params.get("ticket")
    if ticket is None:
        return await authenticated(socket)
    principal = await parts.key_ring.renew(await parts.tickets.redeem(ticket))
    if "write" not in principal.scopes:
        raise Problem(FORBIDDEN, "this ticket has no scope 'write'; use a key that has")
    return principal


def _require_origin(socket: WebSocket, allowed: tuple[str, ...]) -> None:
    """Browsers say from which site a page comes, and let any page try; programs say nothing."""
    origin = socket.headers.get("origin")
    if origin is None or origin in allowed or origin.partition("://")[2] == socket.headers.get("host"):
        return
    raise Problem(FORBIDDEN, f"pages of {origin[:100]!r} may not open this socket")
