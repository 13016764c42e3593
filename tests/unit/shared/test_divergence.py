"""Where two runs ask for something else, and why."""

from collections.abc import Sequence
from time import monotonic

from pydantic import JsonValue

from shared.divergence import MOST_OF_DIFF, first_divergence, readable, requests_of
from shared.steps import Parameters
from tests.support.models import Answer
from tests.support.replays import Stage, answers, edit
from tests.support.steps import call

RUN: Sequence[Answer] = [
    [call("pure", '{"value": 1}', call_id="call00001")],
    [call("pure", '{"value": 2}', call_id="call00002")],
    "Done.",
]


async def test_every_request_of_a_run_can_be_made_again() -> None:
    run = await Stage().play(RUN, instructions="Be brief.", parameters=Parameters(temperature=0.5))
    made = list(requests_of(run.steps))
    assert [each.request for each in made] == run.model.requests
    assert all(each.is_as_recorded for each in made)


async def test_a_rerun_that_asks_for_the_same_has_no_divergence() -> None:
    stage = Stage()
    source = await stage.play(RUN)
    replay = await stage.replay(source, "rerun", RUN)
    assert first_divergence(source.steps, replay.steps) is None


async def test_a_rerun_with_another_model_parts_at_its_first_call() -> None:
    stage = Stage()
    source = await stage.play(RUN)
    replay = await stage.replay(source, "rerun", RUN, snapshot={"model": "other"})
    apart = first_divergence(source.steps, replay.steps)
    assert apart is not None
    assert (apart.step, apart.cause, apart.path) == (3, "parameter", "/model")


async def test_a_rerun_parts_where_its_model_called_with_other_arguments() -> None:
    stage = Stage()
    source = await stage.play(RUN)
    other = [RUN[0], [call("pure", '{"value": 9}', call_id="call00002")], "Done."]
    replay = await stage.replay(source, "rerun", other, tools={"pure": answers("live")})
    apart = first_divergence(source.steps, replay.steps)
    assert apart is not None
    assert (apart.step, apart.cause) == (9, "message")
    assert any("9" in line for line in apart.diff.splitlines() if line.startswith("+"))


async def test_an_edited_fork_parts_at_the_result_that_was_edited() -> None:
    stage = Stage()
    source = await stage.play(RUN)
    edits = (edit(5, "result", {"doubled": 7}),)
    replay = await stage.replay(source, "fork", RUN, fork_step=5, edits=edits)
    apart = first_divergence(source.steps, replay.steps)
    assert apart is not None
    assert (apart.step, apart.cause) == (6, "tool-result")
    same = await stage.replay(source, "fork", RUN, fork_step=5)
    assert first_divergence(source.steps, same.steps) is None


async def test_other_ids_of_the_same_calls_are_no_difference() -> None:
    stage = Stage()
    source = await stage.play(RUN)
    other: Sequence[Answer] = [
        [call("pure", '{"value": 1}', call_id="other0001")],
        [call("pure", '{"value": 2}', call_id="other0002")],
        "Done.",
    ]
    replay = await stage.replay(source, "rerun", other)
    assert first_divergence(source.steps, replay.steps) is None
    assert [each.turn.model_call.request_hash for each in requests_of(source.steps)] != [
        each.turn.model_call.request_hash for each in requests_of(replay.steps)
    ]


async def test_many_calls_with_other_ids_are_compared_in_a_moment() -> None:
    def script(name: str) -> Sequence[Answer]:
        rounds: list[Answer] = [
            [call("pure", call_id=f"{name}{number:03}x{each:02}") for each in range(20)]
            for number in range(60)
        ]
        return [*rounds, "Done."]

    stage = Stage()
    source = await stage.play(script("a"), max_rounds=100, prompt="All of it matters. " * 5000)
    replay = await stage.replay(source, "rerun", script("b"))
    started = monotonic()
    assert first_divergence(source.steps, replay.steps) is None
    assert monotonic() - started < 2


def test_values_that_somebody_made_up_to_be_compared_for_ever_are_not() -> None:
    sides: list[JsonValue] = [[n % prime for n in range(120_000)] for prime in (101, 103)]
    started = monotonic()
    text = readable(*sides)
    assert monotonic() - started < 5
    assert text.startswith("--- recorded\n+++ replayed\n")
    assert len(text) < 2 * MOST_OF_DIFF
