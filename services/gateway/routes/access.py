"""Tickets for pages that open a WebSocket, to which a browser cannot attach a key."""

from typing import Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.answers import json_answer
from services.gateway.auth import Caller
from services.gateway.openapi.describe import gives, operation_id, refuses
from services.gateway.parts import parts_of
from services.gateway.routes.parameters import OnlyKnown
from services.gateway.tickets import LIFETIME_S
from services.gateway.views import View

router: Final = APIRouter(tags=["access"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id)


class Ticket(View):
    ticket: str = Field(description="Open WS /api/ws/chat?ticket=… with it, once.")
    expires_in: int = Field(description="Seconds.", examples=[LIFETIME_S])


@router.post(
    "/api/tickets",
    status_code=201,
    summary="Get a ticket for the chat's WebSocket",
    response_model=Ticket,
    responses={**refuses("read-only-key"), **gives("ticket", status=201)},
)
async def issue_ticket(request: Request, caller: Caller) -> Response:
    """Good for one connection within 30 seconds, with what the caller's key allows."""
    ticket = parts_of(request).tickets.issue(caller)
    return json_answer(Ticket(ticket=ticket, expires_in=LIFETIME_S), 201)
