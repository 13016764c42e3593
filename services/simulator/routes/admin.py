"""/admin: faults and latency, switched while the service runs. Not part of the Mistral API."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from services.simulator import errors
from services.simulator.asgi import read_body
from services.simulator.faults.fault import BadDirective, parse_fault
from services.simulator.faults.ledger import FullLedger, Standing
from services.simulator.models import find_model
from services.simulator.schemas import FaultBody, LatencyBody
from services.simulator.state import CurrentState

router = APIRouter(prefix="/admin")
MAX_BODY = 10_000


@router.get("/faults")
async def list_faults(state: CurrentState) -> dict[str, Any]:
    """The faults that stand, oldest first."""
    return {"items": [_shown(standing) for standing in state.ledger.standing()]}


@router.post("/faults", status_code=201)
async def add_fault(request: Request, state: CurrentState) -> dict[str, Any]:
    """Let the next requests fail: `{"fault": "429 2s x3", "model": "mistral-small-latest"}`."""
    try:
        body = FaultBody.model_validate_json(await _read_json(request))
        fault = parse_fault(body.fault)
        if body.model is not None and find_model(body.model) is None:
            raise errors.invalid_model(body.model)
        return _shown(state.ledger.add(fault, body.model))
    except ValidationError as error:
        raise errors.from_validation(error) from error
    except (BadDirective, FullLedger) as error:
        problem = errors.detail(("body", "fault"), str(error), "bad_fault")
        raise errors.unprocessable([problem]) from error


@router.delete("/faults", status_code=204)
async def clear_faults(state: CurrentState) -> Response:
    """Switch all off, and forget what prompts have counted."""
    state.ledger.clear()
    return Response(status_code=204)


@router.delete("/faults/{fault_id}", status_code=204)
async def remove_fault(fault_id: int, state: CurrentState) -> Response:
    if not state.ledger.remove(fault_id):
        raise errors.ApiError(404, {"detail": f"There is no fault {fault_id}."})
    return Response(status_code=204)


@router.get("/latency")
async def get_latency(state: CurrentState) -> dict[str, float]:
    return {"scale": state.latency.scale}


@router.put("/latency")
async def set_latency(request: Request, state: CurrentState) -> dict[str, float]:
    """Scale every wait from now on: `{"scale": 0}` answers at once."""
    try:
        body = LatencyBody.model_validate_json(await _read_json(request))
    except ValidationError as error:
        raise errors.from_validation(error) from error
    state.latency.scale = body.scale
    return {"scale": body.scale}


async def _read_json(request: Request) -> bytes:
    """Raises 415 unless the body says that it is JSON: a page of any site could send another."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise errors.not_json(content_type)
    return await read_body(request, MAX_BODY)


def _shown(standing: Standing) -> dict[str, Any]:
    fault = standing.fault
    return {
        "id": standing.id,
        "fault": fault.name,
        "seconds": fault.seconds,
        "call": fault.call,
        "model": standing.model,
        "remaining": standing.remaining,
    }
