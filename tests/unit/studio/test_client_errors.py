"""Which error an answer becomes, and when the request is made again."""

import pytest

from studio.client.errors import (
    ApiError,
    BadAnswer,
    Busy,
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    RunFailed,
    StillRunning,
    StudioError,
    Unauthorized,
    Unavailable,
    Unreachable,
    error_of,
)
from studio.client.retries import RetryPolicy, Tries

POLICY = RetryPolicy(tries=4, shortest_s=1.0, longest_s=5.0)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "invalid-request", Invalid),
        (401, "unauthorized", Unauthorized),
        (403, "forbidden", Unauthorized),
        (404, "not-found", NotFound),
        (409, "run-active", Conflict),
        (413, "too-large", Invalid),
        (422, "invalid-request", Invalid),
        (429, "busy", Busy),
        (500, "internal-error", ApiError),
        (502, "run-failed", RunFailed),
        (503, "unavailable", Unavailable),
    ],
)
def test_problem_becomes_the_error_of_its_kind(status: int, name: str, kind: type[ApiError]) -> None:
    body = f'{{"type": "urn:agentops-studio:problem:{name}", "status": {status}, "detail": "It says why."}}'
    error = error_of(status, {}, body.encode())
    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert (str(error), error.status) == ("It says why.", status)


def test_invalid_fields_are_named_with_what_would_be_right() -> None:
    body = b'{"detail": "d", "errors": [{"field": "parameters.temperature", "message": "at most 1.5"}]}'
    error = error_of(422, {}, body)
    assert isinstance(error, Invalid)
    assert error.fields == (FieldError(field="parameters.temperature", message="at most 1.5"),)


def test_unfinished_chat_names_its_run() -> None:
    body = b'{"type": "urn:agentops-studio:problem:run-unfinished", "detail": "d", "run_id": "r1"}'
    error = error_of(504, {}, body)
    assert isinstance(error, StillRunning)
    assert error.run_id == "r1"


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b'{"status": "many"}'])
def test_answer_of_a_proxy_is_understood_by_its_status(body: bytes) -> None:
    error = error_of(502, {}, body)
    assert isinstance(error, Unavailable)
    assert str(error) == "the server answered HTTP 502"


def test_wait_doubles_up_to_the_longest_with_jitter() -> None:
    tries = Tries(RetryPolicy(tries=100, shortest_s=1.0, longest_s=5.0))
    waits = [tries.wait_after(Unreachable("x")) for _ in range(50)]
    assert 0.5 <= waits[0] <= 1.0
    assert 1.0 <= waits[1] <= 2.0
    assert all(2.5 <= wait <= 5.0 for wait in waits[3:])
    assert len(set(waits[3:])) > 1


def test_wait_is_at_least_what_the_server_asks_for() -> None:
    assert Tries(POLICY).wait_after(error_of(503, {"retry-after": "4"}, b"")) == 4


@pytest.mark.parametrize(
    "error",
    [
        error_of(503, {"retry-after": "6"}, b""),
        error_of(422, {}, b""),
        error_of(409, {"retry-after": "1"}, b""),
        error_of(500, {}, b""),
        BadAnswer("x"),
        StillRunning("x", "r"),
    ],
)
def test_what_will_not_pass_soon_is_raised_at_once(error: StudioError) -> None:
    with pytest.raises(type(error)) as caught:
        Tries(POLICY).wait_after(error)
    assert caught.value is error


def test_tries_end_with_the_last_error() -> None:
    tries = Tries(POLICY)
    for number in range(3):
        tries.wait_after(Unreachable(str(number)))
    with pytest.raises(Unreachable, match="the last"):
        tries.wait_after(Unreachable("the last"))
