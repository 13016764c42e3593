"""Following a new run to its end."""

from services.gateway.outcome import Ending, Outcome
from services.gateway.watch import Arrival
from shared.step_codec import encode_steps
from shared.steps import RunFinished, Step
from tests.support.steps import claimed, make, new_key, requested

KEY = new_key()
END = make(RunFinished, KEY, 2, status="completed")


def arrival(*steps: Step) -> Arrival:
    return Arrival(encode_steps(steps))


async def test_the_end_of_the_run_ends_the_waiting() -> None:
    outcome = Outcome(requested(KEY))
    outcome.arrived(arrival(claimed(KEY, 1)))
    assert not await outcome.wait(0.01)
    outcome.arrived(arrival(END))
    assert await outcome.wait(0.01)
    assert outcome.state.finished == END


async def test_a_step_that_comes_twice_counts_once() -> None:
    heard: list[int] = []
    outcome = Outcome(requested(KEY), lambda step: heard.append(step.seq))
    outcome.arrived(arrival(claimed(KEY, 1)))
    outcome.arrived(arrival(claimed(KEY, 1), END))
    assert heard == [1, 2]
    assert outcome.state.next_seq == 3


async def test_a_gap_ends_the_waiting_instead_of_a_wrong_answer() -> None:
    outcome = Outcome(requested(KEY))
    outcome.arrived(arrival(END))
    assert not await outcome.wait(1)
    assert outcome.is_broken


async def test_the_process_end_ends_the_waiting() -> None:
    outcome, ending = Outcome(requested(KEY)), Ending()
    outcome.closed()
    ending.closed()
    assert not await outcome.wait(5)
    await ending.wait(5)
    assert ending.is_closed
    assert not ending.is_seen
