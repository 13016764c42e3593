"""Asking runs to stop, of which some have ended or are deleted by then."""

import asyncio

import pytest

from services.gateway.lifecycle import AT_ONCE, Lifecycle
from services.gateway.problems import RUN_ACTIVE, RUN_FINISHED, Problem, no_such_run
from shared.errors import Unavailable
from shared.steps import RunStatus
from shared.subjects import RunKey
from tests.support.steps import new_key

ENDED, DELETED = Problem(RUN_FINISHED, "the run is completed"), no_such_run("x")


class Answering(Lifecycle):
    """Answers each cancel as it was told to, and counts those that go on at the same time."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.going = self.most = 0

    async def cancel(self, run: RunKey, who: str, why: str) -> RunStatus:
        self.going += 1
        self.most = max(self.most, self.going)
        await asyncio.sleep(0)
        self.going -= 1
        if (answer := self.answers.pop(0)) is not None:
            raise answer
        return RunStatus.RUNNING


@pytest.mark.parametrize("answer", [ENDED, DELETED], ids=["ended", "deleted"])
async def test_a_run_that_has_ended_or_was_deleted_meanwhile_is_as_good_as_cancelled(answer: Problem) -> None:
    assert await Answering(answer).cancel_if_active(new_key(), "user", "") is False
    assert await Answering(None).cancel_if_active(new_key(), "user", "") is True


@pytest.mark.parametrize("fault", [Problem(RUN_ACTIVE, "no"), Unavailable("the broker is away")])
async def test_any_other_fault_is_told_after_all_were_asked(fault: Exception) -> None:
    lifecycle = Answering(None, fault, None)
    with pytest.raises(type(fault)):
        await lifecycle.cancel_all([new_key() for _ in range(3)], "user", "")
    assert lifecycle.answers == []


async def test_many_are_asked_a_few_at_a_time_and_those_that_go_on_are_counted() -> None:
    lifecycle = Answering(*[None, ENDED, DELETED, None] * 20)
    assert await lifecycle.cancel_all([new_key() for _ in range(80)], "user", "") == 40
    assert lifecycle.most == AT_ONCE
