"""Errors as the real API sends them: the bodies, the status codes, the headers.

In: one exception and its constructors, one per error. Out: when to raise which. The wording follows
what the public API was seen to answer; a body of the `detail` kind comes from its validation layer,
one of the `object: error` kind from its engine, HTML from the proxy before it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

MAX_ECHO = 500
"""Longer inputs are not repeated in a validation error."""


class ApiError(Exception):
    """An answer other than 200; `body` is JSON, or HTML when it is a string."""

    def __init__(self, status: int, body: Mapping[str, Any] | str, headers: Mapping[str, str] | None = None):
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def _engine(status: int, message: str, kind: str, code: str | None, **headers: str) -> ApiError:
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiError(status, {**body, "raw_status_code": status}, named)


def unauthorized() -> ApiError:
    return ApiError(401, {"detail": "Unauthorized"})


def no_route() -> ApiError:
    return ApiError(404, {"message": "no Route matched with those values", "request_id": uuid4().hex})


def model_not_found(name: str) -> ApiError:
    return _engine(404, f"Model not found: {name}", "model_not_found", "1500")


def invalid_model(name: str) -> ApiError:
    return _engine(400, f"Invalid model: {name}", "invalid_model", "1500")


def invalid_order(message: str) -> ApiError:
    return _engine(400, message, "invalid_request_message_order", "3230")


def empty_assistant_message() -> ApiError:
    message = "Assistant message must have either content or tool_calls, but not none."
    return _engine(400, message, "invalid_request_assistant_message", "3240")


def invalid_tool_call_id(identifier: str) -> ApiError:
    message = f"Tool call id was {identifier[:MAX_ECHO]} but must be a-z, A-Z, 0-9, with a length of 9."
    return _engine(400, message, "invalid_function_call", "3280")


def invalid_arguments(message: str) -> ApiError:
    return _engine(400, message, "invalid_request_invalid_args", "3051")


def context_too_long(tokens: int, context: int) -> ApiError:
    return invalid_arguments(
        f"Prompt contains {tokens} tokens and 0 draft tokens, "
        f"too large for model with {context} maximum context length"
    )


def too_many_inputs(what: str) -> ApiError:
    return _engine(400, f"Too many {what}, split into more batches.", "invalid_request_prompt", "3210")


def client_gone() -> ApiError:
    """For the metrics alone: nobody is there to read it."""
    return ApiError(499, {"detail": "The client closed the connection."})


def too_large(limit: int) -> ApiError:
    return _engine(413, f"Request body is larger than {limit} bytes.", "request_too_large", None)


def not_json(content_type: str) -> ApiError:
    message = f"The content type is {content_type[:MAX_ECHO]!r}; send application/json."
    return _engine(415, message, "unsupported_media_type", None)


def injected(status: int, retry_after: float | None) -> ApiError:
    """The error of a fault: the real body of that status, with Retry-After where one belongs."""
    wait = {} if retry_after is None else {"Retry_After": str(round(retry_after))}
    match status:
        case 400:
            return invalid_arguments("The request was refused on purpose.")
        case 401:
            return unauthorized()
        case 403:
            return _engine(403, "This key cannot use this model.", "authentication_error", None)
        case 404:
            return no_route()
        case 422:
            return unprocessable([detail(("body",), "The request was refused on purpose.", "value_error")])
        case 429:
            remaining = {"x_ratelimit_remaining_req_minute": "0", "x_ratelimit_limit_req_minute": "720"}
            headers = {"Retry_After": "1", **wait, **remaining}
            return _engine(429, "Rate limit exceeded", "rate_limited", "1300", **headers)
        case 500:
            return _engine(500, "Internal server error", "internal_server_error", "1000", **wait)
        case 503:
            return _engine(503, "Service unavailable.", "internal_server_error", "3800", **wait)
        case _:
            return _proxy_error(status)


def _proxy_error(status: int) -> ApiError:
    title = {502: "502 Bad Gateway", 504: "504 Gateway Time-out"}.get(status, f"{status} Error")
    return ApiError(status, f"<html><head><title>{title}</title></head><body>{title}</body></html>")


def detail(location: Sequence[str | int], message: str, kind: str, value: Any = None) -> dict[str, Any]:
    """One entry of a validation error's list."""
    return {"type": kind, "loc": list(location), "msg": message, "input": _echo(value)}


def unprocessable(details: Sequence[Mapping[str, Any]]) -> ApiError:
    return ApiError(422, {"detail": list(details)})


def from_validation(error: ValidationError) -> ApiError:
    """The 422 for a body that fails its model: every problem with its place, as FastAPI words it."""
    problems = error.errors(include_url=False, include_context=False)
    return unprocessable(
        [detail(("body", *p["loc"]), p["msg"], p["type"], p["input"]) for p in problems[:100]]
    )


def _echo(value: Any) -> Any:
    """The input given back to the caller: whole if it is short JSON, else its beginning as text."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    try:
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    except ValueError:
        return repr(value)[:MAX_ECHO]
    return value if len(text) <= MAX_ECHO else f"{text[:MAX_ECHO]}… ({len(text)} characters)"
