"""A run's events over several connections: no step is lost, none comes twice, every wait is bounded."""

import pytest

from shared.steps import RunDeleted, RunFinished, Step
from studio.client.errors import BadAnswer, StillRunning, Unreachable
from studio.client.events import Delta, Event, ModelCallStarted, Retrying
from studio.client.feed import SILENCE_S, Feed
from studio.client.retries import RetryPolicy
from tests.unit.studio.client_steps import END, HEARTBEAT, RUN_ID, frame, run_steps

STEPS = run_steps()
POLICY = RetryPolicy(tries=3)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def take(feed: Feed, *frames: str) -> list[Event]:
    return list(feed.take("".join(frames).encode()))


def test_steps_come_once_and_in_order_over_two_connections() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    assert "Last-Event-ID" not in feed.headers()
    first = take(feed, *map(frame, STEPS[:4]))
    assert feed.headers()["Last-Event-ID"] == "3"
    second = take(feed, *map(frame, STEPS[2:]), END)
    assert first + second == STEPS
    assert feed.ended


def test_half_an_event_is_forgotten_with_its_connection() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    assert take(feed, frame(STEPS[0]), frame(STEPS[1])[:-20]) == [STEPS[0]]
    assert feed.headers()["Last-Event-ID"] == "0"
    assert take(feed, frame(STEPS[1])) == [STEPS[1]]


def test_stream_that_left_out_a_step_is_asked_again() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    with pytest.raises(Unreachable, match="left out step 1"):
        take(feed, frame(STEPS[0]), frame(STEPS[2]))
    assert feed.headers()["Last-Event-ID"] == "0"


def test_deleted_run_may_end_behind_a_gap() -> None:
    deleted = RunDeleted(run_id=RUN_ID, seq=9, at=STEPS[0].at, project="default", writer="w", who="me")
    feed = Feed(RUN_ID, policy=POLICY)
    assert take(feed, frame(STEPS[0]), frame(deleted), END) == [STEPS[0], deleted]


def test_stream_may_begin_behind_a_known_step() -> None:
    feed = Feed(RUN_ID, after=5, policy=POLICY)
    assert feed.headers()["Last-Event-ID"] == "5"
    assert take(feed, frame(STEPS[6]), frame(STEPS[7]), END) == STEPS[6:]


def test_live_events_come_between_the_steps() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    events = take(
        feed,
        'event: delta\ndata: {"type": "model-call", "model": "m"}\n\n',
        'event: delta\ndata: {"type": "delta", "text": "The "}\n\n',
        HEARTBEAT,
        'event: delta\ndata: {"text": "answer"}\n\n',
        'event: retry\ndata: {"status": 429, "error": "slow down", "wait_s": 1.5}\n\n',
        "event: something-new\ndata: not even JSON\n\n",
        'event: delta\ndata: {"type": "something-new"}\n\n',
    )
    assert events == [
        ModelCallStarted(model="m"),
        Delta(text="The "),
        Delta(text="answer"),
        Retrying(status=429, error="slow down", wait_s=1.5),
    ]


def test_step_of_a_newer_kind_is_kept() -> None:
    text = f'{{"run_id": "{RUN_ID}", "seq": 0, "kind": "dreamt", "at": "2026-11-20T12:00:00Z", '
    feed = Feed(RUN_ID, policy=POLICY)
    (step,) = take(
        feed, f'id: 0\nevent: step\ndata: {text} "project": "default", "writer": "w", "of": 1}}\n\n'
    )
    assert isinstance(step, Step)
    assert step.kind == "dreamt"


@pytest.mark.parametrize("data", ["no JSON", "{}", '{"kind": "run-claimed", "seq": "x"}'])
def test_unreadable_step_is_an_error_that_is_not_tried_again(data: str) -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    with pytest.raises(BadAnswer) as caught:
        take(feed, f"id: 0\nevent: step\ndata: {data}\n\n")
    with pytest.raises(BadAnswer):
        feed.wait_after(caught.value)


def test_connections_without_progress_are_bounded() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    for _ in range(2):
        with pytest.raises(Unreachable) as caught:
            feed.finish()
        assert feed.wait_after(caught.value) > 0
    take(feed, 'event: delta\ndata: {"text": "a live event is no progress"}\n\n')
    with pytest.raises(Unreachable, match="broke off"):
        feed.wait_after(caught.value)


def test_each_step_gives_new_tries() -> None:
    feed = Feed(RUN_ID, policy=POLICY)
    for step in STEPS:
        take(feed, frame(step))
        for _ in range(2):
            feed.wait_after(Unreachable("cut"))


def test_wait_ends_at_its_bound() -> None:
    clock = Clock()
    feed = Feed(RUN_ID, wait_s=60, policy=POLICY, clock=clock)
    assert feed.silence_s == SILENCE_S
    clock.now += 50
    assert feed.silence_s == pytest.approx(10)
    clock.now += 10
    with pytest.raises(StillRunning) as caught:
        take(feed, HEARTBEAT)
    assert caught.value.run_id == RUN_ID
    with pytest.raises(StillRunning):
        feed.wait_after(Unreachable("silence"))


def test_end_counts_though_the_time_is_over() -> None:
    clock = Clock()
    feed = Feed(RUN_ID, wait_s=1, policy=POLICY, clock=clock)
    clock.now += 5
    assert isinstance(take(feed, *map(frame, STEPS), END)[-1], RunFinished)
    feed.finish()
