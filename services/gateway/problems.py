"""Errors as RFC 9457 problem documents: the one form in which this API says no.

Which kinds there are, how one is raised and how it looks on the wire. How a failed validation becomes
field errors is in `validation.py`, which exception becomes which problem in `exception_handlers.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem. `name` is for programs and never changes, `title` is for people."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        return f"urn:agentops-studio:problem:{self.name}"


UNAUTHORIZED: Final = Kind("unauthorized", 401, "A valid API key is needed")
FORBIDDEN: Final = Kind("forbidden", 403, "The API key does not allow this")
NOT_FOUND: Final = Kind("not-found", 404, "There is no such thing")
METHOD_NOT_ALLOWED: Final = Kind("method-not-allowed", 405, "The method is not allowed here")
REQUEST_TIMEOUT: Final = Kind("request-timeout", 408, "The request took too long to arrive")
RUN_ACTIVE: Final = Kind("run-active", 409, "The run has not finished")
RUN_FINISHED: Final = Kind("run-finished", 409, "The run has finished")
RUN_TOO_LARGE: Final = Kind("run-too-large", 409, "The run does not fit into a bundle")
NOT_SET_UP: Final = Kind("not-set-up", 409, "This deployment is not set up for that")
BATCH_CANCELLED: Final = Kind("batch-cancelled", 409, "The batch was cancelled")
KEY_REUSED: Final = Kind("idempotency-key-reused", 409, "The idempotency key belongs to another request")
TOO_LARGE: Final = Kind("too-large", 413, "The request is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind("unsupported-media-type", 415, "The body is not JSON")
INVALID: Final = Kind("invalid-request", 422, "The request is not valid")
BUNDLE_INVALID: Final = Kind("bundle-invalid", 422, "The file is no bundle that can be taken in")
TOO_MANY_RUNS: Final = Kind("too-many-runs", 429, "Too many runs wait for their turn")
INTERNAL: Final = Kind("internal-error", 500, "Something went wrong here")
RUN_FAILED: Final = Kind("run-failed", 502, "The run did not complete")
UNAVAILABLE: Final = Kind("unavailable", 503, "The service cannot do this right now")
RUN_UNFINISHED: Final = Kind("run-unfinished", 504, "The run did not finish in time")


class DatabaseAway(Unavailable):
    """The database did not answer; an Unavailable that is no DatabaseAway is the broker's."""


class FieldError(BaseModel):
    """A field at fault, as a dotted path, and what would be right."""

    field: str = Field(examples=["parameters.temperature"])
    message: str = Field(examples=["Input should be less than or equal to 1.5"])


class ProblemDocument(BaseModel):
    """An error, as of RFC 9457."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=[INVALID.uri], description="Names the kind of problem; made for programs.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What was wrong this time, and what would be right.")
    errors: tuple[FieldError, ...] = Field(default=(), description="The fields at fault, if any are.")
    run_id: str | None = Field(default=None, description="The run that the problem is about.")


class Problem(Exception):
    """Raised anywhere below a route; answered as a problem document."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.run_id = run_id

    @property
    def document(self) -> ProblemDocument:
        return ProblemDocument(
            type=self.kind.uri,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            errors=self.errors,
            run_id=self.run_id,
        )

    def response(self) -> Response:
        body = self.document.model_dump_json(exclude_defaults=True)
        return Response(body, self.kind.status, headers=self.headers, media_type=MEDIA_TYPE)


def unavailable(detail: str, *, retry_after_s: int = 1, run_id: str | None = None) -> Problem:
    """A 503 that says when to come back."""
    return Problem(UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)}, run_id=run_id)


def away(error: Unavailable) -> Problem:
    """A 503 that names the dependency; the cause, which may hold names of hosts, is only logged."""
    name = "database" if isinstance(error, DatabaseAway) else "broker"
    log.warning("a dependency is away", dependency=name, error=str(error))
    return unavailable(f"the {name} does not answer as it should right now; try again")


def unauthorized(detail: str) -> Problem:
    """A 401 that says how to authenticate."""
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="agentops-studio"'})


def invalid(field: str, message: str) -> Problem:
    """A 422 about one field."""
    return Problem(INVALID, f"{field}: {message}", errors=[FieldError(field=field, message=message)])


def no_such_run(run_id: str) -> Problem:
    # The same words for a run that never was, that was deleted, and that belongs to another project.
    return Problem(
        NOT_FOUND, f"there is no run {run_id[:64]!r}; a run id is a UUID as POST /api/runs returns it"
    )
