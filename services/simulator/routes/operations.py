"""What every service answers: metrics, liveness, readiness. The simulator depends on nothing."""

from fastapi import APIRouter, Response
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

router = APIRouter()


@router.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


@router.get("/health/live")
async def live() -> dict[str, str]:
    return {"service": "alive"}


@router.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"service": "ok"}
