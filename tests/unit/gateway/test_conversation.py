"""The steps that wait while a chat's client does not read: bounded, and an overflow ends the chat."""

import pytest

from services.gateway.conversation import MOST_STEPS, POLICY, Steps, _Ended
from tests.support.steps import claimed, new_key

STEP = claimed(new_key(), 1)


async def test_as_many_steps_as_may_wait_come_out_and_then_the_end() -> None:
    steps = Steps()
    for _ in range(MOST_STEPS):
        steps.put(STEP)
    steps.end()
    assert [await steps.next() for _ in range(MOST_STEPS)] == [STEP] * MOST_STEPS
    assert await steps.next() is None


async def test_one_step_too_many_ends_the_chat_and_is_not_kept() -> None:
    steps = Steps()
    for _ in range(10 * MOST_STEPS):
        steps.put(STEP)
    steps.end()
    assert steps._queue.qsize() == MOST_STEPS + 1
    with pytest.raises(_Ended, match="read too slowly") as caught:
        await steps.next()
    assert caught.value.code == POLICY
