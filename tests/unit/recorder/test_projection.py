"""From steps to rows, without a database."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.projection import changes, project, shown_bodies
from services.recorder.references import BodyKey
from shared.errors import Permanent
from shared.run_state import fold
from shared.step_codec import decode_step, encode_step
from shared.steps import AgentThought, BodyRef, ReplayPlan, Step, Usage
from tests.support.run_samples import deletion, runs, whole_run
from tests.support.steps import PROJECT, new_key, requested, result

SHA256 = "ab" * 32


@given(runs(), st.data())
def test_the_steps_of_a_run_in_any_order_are_the_same_change(steps: list[Step], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(steps))
    assert changes(shuffled, {}) == changes(steps, {})


@given(runs())
def test_a_change_says_what_the_fold_says(steps: list[Step]) -> None:
    state, [change] = fold(steps), changes(steps, {})
    assert (change.status, change.rounds) == (state.status.value, state.rounds)
    assert (change.model_calls, change.tool_calls) == (state.model_calls, state.tool_calls)
    assert (change.last_seq, change.steps) == (state.next_seq - 1, state.next_seq)
    assert Usage(input=change.input_tokens, output=change.output_tokens) == state.usage
    assert change.finished_at == state.finished_at
    assert change.response == (state.response and state.response.content)


def test_a_replay_is_known_by_its_plan_and_counts_only_what_it_has_paid() -> None:
    key, source = new_key(), new_key()
    plan = ReplayPlan(mode="fork", source_run_id=source.run_id, replay_id=new_key().run_id, fork_step=5)
    steps = [
        step.model_copy(update={"copied_from": step.seq}) if isinstance(step, AgentThought) else step
        for step in whole_run(key, tools=2)
    ]
    [change] = changes([requested(key, replay=plan), *steps[1:]], {})
    assert (change.replay_id, change.source_run_id) == (plan.replay_id, source.run_id)
    assert json.loads(change.replay or "") == plan.model_dump(mode="json")
    assert (change.model_calls, change.rounds, change.input_tokens) == (1, 2, 70)
    assert fold(steps).usage.input == 70


def test_a_run_that_a_replay_asked_is_no_replay_itself() -> None:
    key, parent = new_key(), new_key()
    plan = ReplayPlan(mode="rerun", source_run_id=new_key().run_id)
    [change] = changes([requested(key, replay=plan, parent_run_id=parent.run_id)], {})
    assert (change.source_run_id, change.replay) == (None, None)


def test_the_earliest_claim_is_the_start_of_the_run() -> None:
    steps = whole_run(new_key())
    [change] = changes(steps, {})
    assert change.started_at == steps[1].at
    assert change.finished_at == steps[-1].at


def test_changes_come_one_for_a_run_sorted_by_run() -> None:
    first, second = new_key(), new_key()
    steps = [*whole_run(second), *whole_run(first)]
    assert [change.run_id for change in changes(steps, {})] == sorted([first.run_id, second.run_id])


def test_rows_are_sorted_and_each_key_comes_once() -> None:
    steps = whole_run(new_key())
    batch = project([*reversed(steps), *steps])
    assert list(batch.rows) == [(step.run_id, step.seq) for step in steps]


def test_the_payload_of_a_row_is_the_text_of_the_step() -> None:
    step = result(new_key(), 1, {"b": 1, "a": 1e22, "B": -0.0})
    [row] = project([step]).rows.values()
    assert row.payload.encode() == encode_step(step)
    assert decode_step(json.loads(row.payload)) == step


def test_a_deletion_is_no_row() -> None:
    steps = whole_run(new_key())
    batch = project([deletion(steps)])
    assert not batch.rows
    assert [step.run_id for step in batch.deletions] == [steps[0].run_id]


def test_a_step_with_a_nul_character_is_refused() -> None:
    with pytest.raises(Permanent, match=r"step 3 of run .* NUL"):
        project([result(new_key(), 3, "a\x00b")])


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "u0000"])
def test_a_text_that_only_looks_like_a_nul_character_is_stored(text: str) -> None:
    [row] = project([result(new_key(), 3, text)]).rows.values()
    assert json.loads(row.payload)["result"] == text


def test_every_reference_in_a_step_is_found() -> None:
    ref = {"$body": SHA256, "bytes": 70_000}
    other = {"$body": "cd" * 32, "bytes": 70_000}
    [row] = project([result(new_key(), 1, {"deep": [{"er": ref}, other, ref]})]).rows.values()
    assert row.bodies == (BodyKey(PROJECT, SHA256), BodyKey(PROJECT, "cd" * 32))


@pytest.mark.parametrize(
    "value",
    [
        {"$body": "short", "bytes": 1},
        {"$body": SHA256},
        {"$body": SHA256, "bytes": "1"},
        {"$body": SHA256, "bytes": 1, "more": 1},
        f'{{"$body": "{SHA256}", "bytes": 1}}',
    ],
)
def test_data_that_only_looks_like_a_reference_is_none(value: object) -> None:
    [row] = project([result(new_key(), 1, value)]).rows.values()
    assert row.bodies == ()


def test_a_large_prompt_is_one_whose_beginning_is_shown() -> None:
    key = new_key("blue")
    steps: list[Step] = [
        requested(key, prompt=BodyRef(sha256=SHA256, size=70_000)),
        result(key, 1, {"$body": "cd" * 32, "bytes": 70_000}),
    ]
    assert list(shown_bodies(steps)) == [BodyKey("blue", SHA256)]


def test_a_run_without_steps_that_count_has_no_sums() -> None:
    [change] = changes([requested(new_key())], {})
    sums = {name: value for name, value in asdict(change).items() if name.endswith(("tokens", "calls"))}
    assert set(sums.values()) == {0}
