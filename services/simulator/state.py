"""What the running service holds, and what its routes get of it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.simulator import errors
from services.simulator.faults.ledger import Ledger
from services.simulator.pace import LatencyScale
from services.simulator.settings import Settings

REFUSED_PREFIX = "invalid"
"""A key that begins so is refused, for trying out a wrong key; every other non-empty key is taken."""


@dataclass(frozen=True)
class State:
    settings: Settings
    ledger: Ledger
    latency: LatencyScale


def state_of(request: Request) -> State:
    state = request.app.state.simulator
    assert isinstance(state, State)
    return state


def api_key(request: Request) -> str:
    """The key of a request. Raises 401 without one or with one that is to be refused."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip() or key.strip().startswith(REFUSED_PREFIX):
        raise errors.unauthorized()
    return key.strip()


CurrentState = Annotated[State, Depends(state_of)]
ApiKey = Annotated[str, Depends(api_key)]
