"""What can go wrong when talking to the server, named by what the caller can do about it.

StudioError
├── NoServer            no address or no API key could be found: say where the server is
├── Unsendable          what was given cannot be written as JSON text: give something else
├── Unreachable         no whole answer came: start the server, or try again later
├── NotSaved            a file cannot be written, or is there already: give another place
├── BadAnswer           an answer that this client does not understand: the versions may differ
├── StillRunning        the run goes on, longer than was waited for: ask for it again later
├── ReplayUnfinished    the same of a replay
└── ApiError            the server said no, as a problem document (RFC 9457)
    ├── Unauthorized    the API key is missing, wrong or does not allow this
    ├── NotFound        there is no such thing
    ├── Conflict        it clashes with how things are now
    ├── Invalid         the request is wrong; `fields` says where and what would be right
    ├── Busy            too much at once: later
    ├── Unavailable     the server cannot do it right now: later
    └── RunFailed       the run behind a chat message did not complete
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import StudioError as StudioError
from shared.retry_after import retry_after

PROBLEM_NAMES = "urn:agentops-studio:problem:"


class NoServer(StudioError):
    """No address or no API key could be found; the message says where was looked and what to do."""


class Unsendable(StudioError):
    """What was given cannot be written as JSON text, so the server was not asked."""


class Unreachable(StudioError):
    """No whole answer came: the connection could not be made, broke, or was silent for too long."""


class NotSaved(StudioError):
    """A file cannot be written, or another is there already; what was there is as it was."""


class BadAnswer(StudioError):
    """What came back is not what the API promises."""


class StillRunning(StudioError):
    """The run had not finished when the time to wait for it was over; it goes on."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class ReplayUnfinished(StudioError):
    """The replay had not ended when the time to wait for it was over; it goes on."""

    def __init__(self, message: str, replay_id: str) -> None:
        super().__init__(message)
        self.replay_id = replay_id


class FieldError(BaseModel):
    """A field at fault, as a dotted path, and what would be right."""

    model_config = ConfigDict(frozen=True)

    field: str
    message: str


class Problem(BaseModel):
    """A problem document. Everything has a default, for what a proxy in between may answer."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    run_id: str | None = None


class ApiError(StudioError):
    """The server said no. `retry_after_s`: when it asked to come back, if it did."""

    retryable: ClassVar[bool] = False

    def __init__(self, status: int, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title or f"the server answered HTTP {status}")
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def fields(self) -> tuple[FieldError, ...]:
        return self.problem.errors

    @property
    def run_id(self) -> str | None:
        """The run that the problem is about, if it is about one."""
        return self.problem.run_id


class Unauthorized(ApiError):
    """The API key is missing, wrong, or does not allow this."""


class NotFound(ApiError):
    """There is no such thing, or it belongs to another project."""


class Conflict(ApiError):
    """The request clashes with how things are now: the run has finished, the key belongs to another body."""


class Invalid(ApiError):
    """The request is wrong; `fields` says where and what would be right."""


class Busy(ApiError):
    """Too much at once."""

    retryable = True


class Unavailable(ApiError):
    """The server, or something that it needs, cannot do this right now."""

    retryable = True


class RunFailed(ApiError):
    """The run behind a chat message did not complete; `run_id` names it."""


BY_NAME: Mapping[str, type[ApiError]] = {"run-failed": RunFailed}
BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Busy,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> StudioError:
    """The error for an answer that is not a success; `headers` must find names in any case."""
    problem = _problem(body)
    name = problem.type.removeprefix(PROBLEM_NAMES)
    if name == "run-unfinished" and problem.run_id:
        return StillRunning(problem.detail, problem.run_id)
    kind = BY_NAME.get(name) or BY_STATUS.get(status, ApiError)
    return kind(status, problem, retry_after(headers.get("retry-after", "")))


def _problem(body: bytes) -> Problem:
    try:
        return Problem.model_validate_json(body)
    except ValidationError:
        return Problem()  # a proxy's page, for instance; the status says the rest
