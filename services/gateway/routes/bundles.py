"""Runs as signed files: made here, taken in here. The format is in docs/bundles.md."""

import hashlib
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.bundles.refusals import unknown_part
from services.gateway.bundles.views import BundleKey, ImportedBundle
from services.gateway.idempotency import Entry
from services.gateway.limits import media_type_of, read_body
from services.gateway.openapi.describe import gives, operation_id, references, refuses
from services.gateway.parts import parts_of
from services.gateway.problems import UNSUPPORTED_MEDIA_TYPE, Problem
from services.gateway.routes.creation import claimed
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown, RunIdPath, run_key
from shared.bundle.manifest import Part

router: Final = APIRouter(
    prefix="/api", tags=["bundles"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
BYTES: Final = "application/octet-stream"
ZIP: Final = "application/zip"
ARRIVAL_S: Final = 120.0
PARTS: Final[tuple[Part, ...]] = get_args(Part)
Redact = Annotated[
    str,
    Query(
        max_length=200,
        description=f"Parts to leave out, comma separated: {', '.join(PARTS)}.",
        examples=["metadata,user"],
    ),
]


@router.get(
    "/runs/{run_id}/bundle",
    summary="A run as a file",
    response_class=Response,
    responses={
        **refuses(
            "no-such-run", "run-goes-on", "run-too-large", "unknown-part", "no-signing-key", "database-away"
        ),
        **gives(
            "bundle",
            description="A signed zip, the same at any time.",
            content={ZIP: {"schema": {"type": "string"}, "examples": references("bundle")}},
        ),
    },
)
async def get_bundle(request: Request, caller: Caller, run_id: RunIdPath, redact: Redact = "") -> Response:
    """All of a run that has ended, with what it cost: for `studio replay FILE`, which needs no server, and
    for `POST /api/bundles` of another deployment. What BUNDLE_REDACT_PATTERNS match is cut out, and so are
    the parts that `redact` names."""
    parts = parts_of(request)
    run = run_key(caller, run_id)
    data = await parts.departure.bundle(run, parts.settings, _parts(redact))
    disposition = {"Content-Disposition": f'attachment; filename="run-{run.run_id}.studio"'}
    return Response(data, media_type=ZIP, headers=disposition)


@router.get(
    "/bundles/key",
    summary="The key of this deployment's bundles",
    response_model=BundleKey,
    responses={**refuses("no-signing-key"), **gives("bundle-key")},
)
async def get_bundle_key(request: Request, caller: Caller) -> Response:
    """By which others tell that a bundle was made here and is as it was made."""
    return json_answer(parts_of(request).trust.shown)


@router.post(
    "/bundles",
    status_code=201,
    summary="Take in a run",
    response_model=ImportedBundle,
    responses={
        **refuses(
            *("read-only-key", "key-reused-elsewhere", "slow-body", "large-bundle", "json-bundle"),
            *("tampered-bundle", "unknown-signer", "database-away"),
        ),
        **gives("imported-bundle", description="It is here already.", model=ImportedBundle),
        **gives("imported-bundle", status=201, description="It is here from now on."),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {BYTES: {"schema": {"type": "string"}, "examples": references("bundle")}},
        }
    },
)
async def import_bundle(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """The run of a bundle becomes one of this project, which has ended and costs nothing here; its metadata
    say where it comes from. The same file is the same run, however often it comes. Nothing is taken in of a
    file that is not what was signed."""
    parts = parts_of(request)
    most = parts.settings.bundle_max_bytes
    if (given := media_type_of(request)) not in (BYTES, ZIP):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"the content type is {given[:80]!r}; send {BYTES}")
    data = await read_body(request, most, ARRIVAL_S)
    async with parts.arrivals.turns.one():
        bundle = await parts.arrivals.open(data, most)
        if idempotency_key is not None:
            asked = hashlib.sha256(f"{request.url.path}\n{bundle.sha256}".encode()).hexdigest()
            entry = Entry(run_id=bundle.manifest.run_id, request=asked)
            await claimed(request, caller, idempotency_key, entry)
        imported, is_new = await parts.arrivals.take_in(bundle, caller.project)
    request.scope["run_id"] = imported.run_id
    headers = {
        "Location": f"/api/runs/{imported.run_id}",
        **replay_headers(not is_new and idempotency_key is not None),
    }
    return json_answer(imported, 201 if is_new else 200, headers=headers)


def _parts(redact: str) -> list[Part]:
    wanted = [part.strip() for part in redact.split(",") if part.strip()]
    for part in wanted:
        if part not in PARTS:
            raise unknown_part(part, ", ".join(PARTS))
    return [part for part in PARTS if part in wanted]
