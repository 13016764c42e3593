"""What an event stream holds for its client: bounded, and what it gives up first."""

from services.gateway.event_buffer import MOST_BYTES, MOST_EVENTS, EventBuffer
from services.gateway.watch import Arrival
from shared.step_codec import encode_steps
from shared.steps import RunFinished, UserRequest
from tests.support.steps import make, new_key

KEY = new_key()


def arrival(first: int, count: int = 1, *, content: str = "hi") -> Arrival:
    steps = [make(UserRequest, KEY, seq, content=content) for seq in range(first, first + count)]
    return Arrival(encode_steps(steps))


def seqs(buffer: EventBuffer) -> list[int | None]:
    return [event.seq for event in buffer.take()]


def test_steps_and_deltas_come_out_in_the_order_in_which_they_came() -> None:
    buffer = EventBuffer()
    buffer.arrived(arrival(1))
    buffer.delta(b'{"type":"delta"}')
    buffer.arrived(arrival(2))
    assert seqs(buffer) == [1, None, 2]


def test_an_event_is_one_frame_on_the_wire() -> None:
    buffer = EventBuffer()
    buffer.arrived(arrival(7))
    buffer.delta(b'{"type":"delta","text":"x"}')
    step, delta = buffer.take()
    assert step.frame.startswith(b'id: 7\nevent: step\ndata: {"run_id":')
    assert step.frame.endswith(b"}\n\n")
    assert delta.frame == b'event: delta\ndata: {"type":"delta","text":"x"}\n\n'


def test_the_last_step_of_a_run_is_marked() -> None:
    buffer = EventBuffer()
    buffer.arrived(Arrival(encode_steps([make(RunFinished, KEY, 3, status="completed")])))
    assert [event.is_end for event in buffer.take()] == [True]


def test_deltas_are_given_up_before_steps() -> None:
    buffer = EventBuffer()
    for _ in range(MOST_EVENTS):
        buffer.delta(b"{}")
    for seq in range(1, MOST_EVENTS + 1):
        buffer.arrived(arrival(seq))
    assert seqs(buffer) == list(range(1, MOST_EVENTS + 1))
    assert not buffer.is_too_slow


def test_a_client_that_does_not_read_is_too_slow_once_the_buffer_is_full() -> None:
    buffer = EventBuffer()
    buffer.is_sending = True
    for seq in range(1, MOST_EVENTS + 2):
        buffer.arrived(arrival(seq))
    assert buffer.is_too_slow
    assert buffer.take() == []


def test_a_burst_to_a_client_that_reads_is_left_to_the_log() -> None:
    buffer = EventBuffer()
    buffer.arrived(arrival(1, MOST_EVENTS + 1))
    assert not buffer.is_too_slow
    assert buffer.take() == []
    assert buffer.heard == MOST_EVENTS + 1


def test_the_bytes_are_bounded_too() -> None:
    buffer = EventBuffer()
    buffer.is_sending = True
    large = "x" * (MOST_BYTES // 4)
    for seq in range(1, 5):
        buffer.arrived(arrival(seq, content=large))
    assert buffer.is_too_slow


def test_a_delta_that_would_break_the_stream_is_not_sent() -> None:
    buffer = EventBuffer()
    buffer.delta(b'{"text": "a\n\nevent: end\n"}')
    assert buffer.take() == []


async def test_waiting_ends_with_the_first_event_or_with_the_time() -> None:
    buffer = EventBuffer()
    assert not await buffer.wait(0.01)
    buffer.delta(b"{}")
    assert await buffer.wait(0.01)
    buffer.take()
    assert not await buffer.wait(0.01)
    buffer.closed()
    assert await buffer.wait(0.01)
