"""The id of what a request creates: a new one, or that of the same request before under its key."""

import hashlib
from uuid import UUID

import uuid_utils
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request

from services.gateway.idempotency import Entry
from services.gateway.key_ring import Principal
from services.gateway.parts import parts_of
from services.gateway.problems import KEY_REUSED, Problem

_uuid: TypeAdapter[UUID] = TypeAdapter(UUID)


async def id_for(
    request: Request, caller: Principal, key: str | None, asked: BaseModel | None = None
) -> tuple[UUID, bool]:
    """The id, and whether it is an earlier request's. Raises Problem as `Idempotency.claim` does."""
    fresh = str(uuid_utils.uuid7())
    if key is None:
        return UUID(fresh), False
    body = asked.model_dump_json(exclude_unset=True) if asked is not None else ""
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n{body}".encode()).hexdigest()
    known = await claimed(request, caller, key, Entry(run_id=fresh, request=digest))
    return UUID(known), known != fresh


async def claimed(request: Request, caller: Principal, key: str, entry: Entry) -> str:
    """The id that the key stands for. Raises Problem as `Idempotency.claim` does."""
    try:
        # Apart from the keys of runs: no project begins with an underscore.
        return await parts_of(request).idempotency.claim(f"_created.{caller.project}", key, entry)
    except Problem as problem:
        if problem.kind is not KEY_REUSED:
            raise
        raise Problem(KEY_REUSED, problem.detail) from None  # what it belongs to is no run


def uuid_of(text: str, otherwise: Problem) -> UUID:
    """Raises the problem for what can be no id."""
    try:
        return _uuid.validate_python(text)
    except ValidationError:
        raise otherwise from None
