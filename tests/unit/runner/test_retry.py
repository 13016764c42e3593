"""Which failures of a model call are tried again, and how long the wait is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import AsyncRetrying, Future, RetryCallState

from services.runner.retry import DETAIL_LIMIT, Stumble, wait_as_told
from shared.retry_after import retry_after


@pytest.mark.parametrize("status", [None, 408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status: int | None) -> None:
    assert Stumble(status, "x").is_retryable
    assert Stumble(status, "x").failure().retryable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 501])
def test_what_never_passes_fails_at_once(status: int) -> None:
    assert not Stumble(status, "x").is_retryable


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (None, "", "model-unavailable"),
        (500, "context", "model-unavailable"),
        (400, "Prompt contains 40000 tokens and is too large for model with 32768 maximum context length",
         "context-too-long"),
        (413, "Request too large", "context-too-long"),
        (422, "too many tokens", "context-too-long"),
        (400, "temperature out of range", "model-rejected"),
        (401, "", "model-unauthorized"),
        (403, "", "model-unauthorized"),
        (404, "", "model-not-found"),
        (429, "", "rate-limited"),
        (418, "", "model-rejected"),
    ],
)  # fmt: skip
def test_a_failure_is_named_by_what_to_do_about_it(status: int | None, detail: str, kind: str) -> None:
    assert Stumble(status, detail).failure().type == kind


@given(st.text(max_size=2000), st.none() | st.integers(100, 599))
def test_a_failure_has_a_bounded_message(detail: str, status: int | None) -> None:
    before = [Stumble(429, "slow").attempt(1.0)] * 2
    failure = Stumble(status, detail).failure(before)
    assert len(failure.message) < DETAIL_LIMIT + 100
    assert [attempt.status for attempt in failure.attempts] == [429, 429, status]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_retry_after_that_is_no_time_does_not_wait_for_ever(value: str) -> None:
    told = retry_after(value)
    wait = wait_as_told(0.1, 2.0)(_state(Stumble(429, "x", told)))
    assert 0 <= wait <= 2.0


@given(st.floats(0, 5), st.floats(5, 60), st.none() | st.floats(0, 1000), st.integers(1, 12))
def test_the_wait_is_at_least_what_was_told_and_never_over_the_cap(
    shortest: float, longest: float, told: float | None, number: int
) -> None:
    wait = wait_as_told(shortest, longest)(_state(Stumble(429, "x", told), number))
    assert min(shortest, longest) <= wait <= longest
    if told is not None:
        assert wait >= min(told, longest)


def test_other_errors_wait_by_the_backoff_alone() -> None:
    assert 0.1 <= wait_as_told(0.1, 2.0)(_state(OSError("gone"), 3)) <= 2.0


def _state(error: Exception, number: int = 1) -> RetryCallState:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = number
    state.outcome = Future(number)
    state.outcome.set_exception(error)
    return state


@pytest.mark.parametrize(
    "detail",
    [
        "Prompt contains 300000 tokens, too large for model with 262144 maximum context length",
        "This model's maximum context length is 32768 tokens.",
        "The input is too long.",
    ],
)
def test_a_prompt_beyond_the_context_is_named_so(detail: str) -> None:
    assert Stumble(400, detail).failure().type == "context-too-long"


@pytest.mark.parametrize(
    "detail",
    [
        "there is no fault 'nonsense'; the faults are: 400, empty, context-too-long",
        "Input should be a valid dictionary (context: tools.0)",
        "temperature is too large",
    ],
)
def test_another_refusal_is_not_taken_for_it(detail: str) -> None:
    assert Stumble(422, detail).failure().type == "model-rejected"
