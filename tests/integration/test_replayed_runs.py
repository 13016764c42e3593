"""Replays on a real broker: the source's log is read from there, large values and earlier runs with it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.earlier_runs import began
from shared.run_state import fold
from shared.step_codec import encode_steps
from shared.steps import (
    AgentResponse,
    AgentThought,
    Edit,
    HistoryPart,
    ReplayPlan,
    RunFinished,
    RunRequested,
    RunRetried,
    RunStatus,
    RunVerified,
    ToolResult,
    UserRequest,
)
from shared.subjects import RunKey
from tests.support.processes import ROOT
from tests.support.runner_field import Field, field_at
from tests.support.steps import only
from tests.support.waiting import eventually


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as field:
        await field.runner()
        yield field


async def replay(field: Field, source: RunKey, **plan: Any) -> RunKey:
    """A run of the source's step 0 with this plan."""
    [request] = only(await field.steps(source), RunRequested)
    kept = ("prompt", "model", "parameters", "tools", "max_rounds", "history", "instructions")
    fields: dict[str, Any] = {name: getattr(request, name) for name in kept}
    fields["replay"] = ReplayPlan(source_run_id=source.run_id, **plan)
    return await field.send_with(fields)


async def test_runs_are_rehearsed_forked_and_run_anew(field: Field) -> None:
    source = await field.send(tool="pure", rounds=3, calls=2)
    assert (await field.finished(source)).status == RunStatus.COMPLETED
    models, acts = field.notes("model"), field.notes("act")
    verified = await replay(field, source, mode="verify")
    assert (await field.finished(verified)).status == RunStatus.COMPLETED
    [told] = only(await field.steps(verified), RunVerified)
    assert (told.equal, told.model_calls, told.steps) == (True, 4, len(await field.steps(source)))
    assert (field.notes("model"), field.notes("act")) == (models, acts)
    fork = await replay(field, source, mode="fork", fork_step=12)
    assert (await field.finished(fork)).status == RunStatus.COMPLETED
    assert len(field.notes("model")) == len(models) + 2
    assert field.notes("act") == acts  # the source has the answers to the calls that come
    anew = await replay(field, source, mode="rerun")
    assert (await field.finished(anew)).status == RunStatus.COMPLETED
    results = [[step.result for step in only(await field.steps(key), ToolResult)] for key in (source, anew)]
    assert results[0] == results[1]


async def test_large_values_and_earlier_runs_are_read_for_a_rehearsal(field: Field) -> None:
    long_text = "All of it matters. " * 8000
    first = await field.send(rounds=0, answers=[long_text])
    await field.finished(first)
    earlier = {"history": (HistoryPart(run_id=first.run_id),)}
    prompt = json.dumps({"rounds": 0, "answers": ["Brief."], "note": long_text})
    second = await field.send_with({**earlier, "prompt": prompt})
    assert (await field.finished(second)).status == RunStatus.COMPLETED
    verified = await replay(field, second, mode="verify")
    assert (await field.finished(verified)).status == RunStatus.COMPLETED
    edited = Edit(step=2, field="content", value=json.dumps({"rounds": 0, "answers": ["Other."]}))
    fork = await replay(field, second, mode="fork", fork_step=2, edits=(edited,))
    assert (await field.finished(fork)).status == RunStatus.COMPLETED
    steps = await field.steps(fork)
    assert only(steps, UserRequest)[0].content == edited.value
    recorded, asked = (only(each, AgentResponse)[0].model_call for each in (await field.steps(second), steps))
    assert recorded.request_hash != asked.request_hash


async def test_a_run_of_a_session_is_replayed_with_what_it_was_told(field: Field) -> None:
    first = await field.send(tool="teleport", rounds=9)  # there is no such tool: it fails
    assert (await field.finished(first)).status == RunStatus.FAILED
    second = await field.send_with(
        {"history": (HistoryPart(run_id=first.run_id),), "prompt": json.dumps({"rounds": 0})}
    )
    assert (await field.finished(second)).status == RunStatus.COMPLETED
    rerun = await replay(field, second, mode="rerun", told_at=began(await field.steps(second)))
    assert (await field.finished(rerun)).status == RunStatus.COMPLETED
    ends = len(only(await field.steps(first), RunFinished))
    await field.append(first, RunRetried, who="user")

    async def has_ended_again() -> bool:
        return len(only(await field.steps(first), RunFinished)) > ends

    await eventually(has_ended_again, within_s=15)
    for source in (second, rerun):
        verified = await replay(field, source, mode="verify")
        assert (await field.finished(verified)).status == RunStatus.COMPLETED
    await field.log.purge(first)
    gone = await field.finished(await replay(field, second, mode="rerun"))
    assert gone.error is not None
    assert (gone.error.type, first.run_id in gone.error.message) == ("source-gone", True)


async def test_a_source_that_the_broker_does_not_have_ends_the_replay(field: Field) -> None:
    source = await field.send(rounds=0)
    await field.finished(source)
    [request] = only(await field.steps(source), RunRequested)
    await field.log.purge(source)
    gone = await field.send_with(
        {"prompt": request.prompt, "replay": ReplayPlan(mode="rerun", source_run_id=source.run_id)}
    )
    end = await field.finished(gone)
    assert end.error is not None
    assert end.error.type == "source-gone"


async def test_a_fork_of_many_steps_takes_all_of_them_over(field: Field) -> None:
    source = await field.send_with(
        {"max_rounds": 100, "prompt": json.dumps({"tool": "pure", "rounds": 100, "calls": 3})}
    )
    await field.finished(source, within_s=60)
    steps = await field.steps(source)
    last = only(steps, ToolResult)[-1].seq
    fork = await replay(field, source, mode="fork", fork_step=last)
    assert (await field.finished(fork, within_s=60)).status == RunStatus.COMPLETED
    state = fold(await field.steps(fork))
    assert (state.rounds, state.model_calls) == (100, 1)


async def test_a_run_in_a_file_is_rehearsed_without_anything_else(field: Field) -> None:
    source = await field.send(tool="idempotent", rounds=2)
    await field.finished(source)
    steps = await field.steps(source)

    def rehearse(text: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "services.runner.rehearsal"],
            input=text,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
        )

    text = b'{"steps":' + encode_steps(steps) + b"}"
    done = rehearse(text)
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {"equal": True, "steps": len(steps), "model_calls": 3, "divergence": None},
    )
    forged = [
        step.model_copy(update={"result": "forged"}) if isinstance(step, ToolResult) else step
        for step in steps
    ]
    parted = json.loads(rehearse(b'{"steps":' + encode_steps(forged) + b"}").stdout)
    assert (parted["equal"], parted["divergence"]["step"], parted["divergence"]["cause"]) == (
        False,
        only(forged, AgentThought)[1].seq,
        "code-version",
    )
