"""Replays as their user types them, against the real parts: from a recorded run to a verdict."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.steps import Edit
from studio import AsyncStudio, Invalid, ReplayUnfinished, RunDiff, Studio
from studio.stack.supervisor import Stack
from tests.e2e.embedded import embedded_stack, studio
from tests.e2e.test_cli import run_id_in

QUESTION = "What is 5 + 10, then multiply by 3?"
OTHER = "mistral-small-latest"
REPLAY = re.compile(r"replay ([0-9a-f-]{36})")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with embedded_stack(tmp_path_factory.mktemp("replaying")) as stack:
        yield stack


@pytest.fixture(scope="module")
def folder(stack: Stack) -> Path:
    return stack.folder.root.parent


@pytest.fixture(scope="module")
def run_id(folder: Path) -> str:
    """A run that anybody can repeat: at temperature 0 the simulator says the same again."""
    done = studio(folder, "run", QUESTION, "--temperature", "0")
    assert "45" in done.stdout
    return run_id_in(done.stdout)


@pytest.fixture
def client(stack: Stack) -> Iterator[Studio]:
    with Studio(stack.state.gateway_url, Path(stack.state.key_file).read_text().strip()) as client:
        yield client


def result_step(folder: Path, run_id: str) -> int:
    """The step of its first tool result."""
    steps = json.loads(studio(folder, "show", run_id, "--json").stdout)["steps"]
    return int(next(step["seq"] for step in steps if step["kind"] == "tool-result"))


def test_an_untouched_run_verifies(folder: Path, run_id: str) -> None:
    done = studio(folder, "verify", run_id)
    assert (done.returncode, done.stdout) == (0, "1 verified: 1 equal, 0 parted\n")
    listed = studio(folder, "runs", "--json").stdout
    assert '"verify"' not in listed


def test_all_that_have_ended_are_verified_at_once(folder: Path, run_id: str) -> None:
    failed = studio(folder, "run", "[[simulate: 401]] Hello")
    done = studio(folder, "verify", "--all", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["equal"], found["failed"]) == (0, found["verified"], 0), done.stdout
    assert found["verified"] >= 2
    assert run_id_in(failed.stdout)
    only = json.loads(studio(folder, "verify", "--all", "--status", "failed", "--json").stdout)
    assert 1 <= only["verified"] < found["verified"]


def test_a_rerun_with_nothing_changed_is_equal_and_with_another_model_it_parts(
    folder: Path, run_id: str
) -> None:
    same = studio(folder, "replay", run_id)
    assert (same.returncode, "the runs are equal" in same.stdout) == (0, True), same.stdout
    other = studio(folder, "replay", run_id, "--model", OTHER)
    assert other.returncode == 0, other.stderr
    assert f"/model  [-mistral-large-latest-]{{+{OTHER}+}}" in other.stdout
    assert re.search(r"parts at step \d+: parameter at /model", other.stdout)
    assert "\x1b" not in other.stdout
    made = run_id_in(other.stdout)
    assert studio(folder, "diff", run_id, run_id_in(same.stdout)).returncode == 0
    apart = studio(folder, "diff", run_id, made, "--full")
    assert (apart.returncode, "user-request" in apart.stdout) == (1, True)
    assert RunDiff.model_validate_json(studio(folder, "diff", run_id, made, "--json").stdout).equal is False
    assert studio(folder, "diff", run_id, "nonesuch").returncode == 2
    tree = studio(folder, "lineage", made).stdout
    assert tree.splitlines()[0].startswith(run_id)
    assert re.search(rf"── {made}  completed  rerun · replay · {OTHER}", tree)


def test_samples_end_in_a_verdict(folder: Path, run_id: str) -> None:
    done = studio(folder, "replay", run_id, "--model", OTHER, "--samples", "8", "--metric", "cost_usd")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^cost_usd .* better$", done.stdout, re.MULTILINE)
    assert "replay is better: cost_usd" in done.stdout
    [replay_id] = REPLAY.findall(done.stdout)
    again = studio(folder, "replays", "show", replay_id[-8:])
    assert again.stdout == done.stdout
    runs = studio(folder, "replays", "runs", replay_id, "--json").stdout.splitlines()
    assert {json.loads(line)["arm"] for line in runs} == {"baseline", "replay"}
    assert replay_id in studio(folder, "replays").stdout


def test_a_fork_goes_on_from_an_edited_step_and_blame_finds_it(folder: Path, run_id: str) -> None:
    step = result_step(folder, run_id)
    marked = studio(folder, "fork", run_id).stdout
    assert re.search(rf"^● +{step} +tool-result", marked, re.MULTILINE)
    assert re.search(rf"^ +{step - 1} +tool-call", marked, re.MULTILINE)
    between = studio(folder, "fork", run_id, "--step", str(step - 1))
    assert (between.returncode, f"fork at step {step - 2} or {step}" in between.stderr) == (1, True)
    done = studio(folder, "fork", run_id, "--step", str(step), "--edit", f"{step}.result=5 + 10 = 16")
    assert done.returncode == 0, done.stderr
    assert "/result  5 + 10 = [-15-]{+16+}" in done.stdout
    assert f"parts at step {step + 1}: tool-result" in done.stdout
    wrong = run_id_in(done.stdout)
    blamed = studio(folder, "blame", wrong, "--samples", "3", "--contains", "45", "--live", "calculator")
    assert blamed.returncode == 0, blamed.stderr
    assert re.search(r"^step 0 +3 of 3 +█{24} +100 %", blamed.stdout, re.MULTILINE)
    assert "to blame is what happened behind step 0" in blamed.stdout


def test_a_run_as_a_file_replays_without_a_server_and_takes_no_changes(
    folder: Path, run_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.studio"
    assert studio(folder, "bundle", run_id, "-o", str(file)).returncode == 0
    done = studio(tmp_path, "replay", str(file))
    assert (done.returncode, "equal" in done.stdout) == (0, True), done.stderr
    changed = studio(tmp_path, "replay", str(file), "--model", OTHER)
    assert (changed.returncode, "it is replayed as it was recorded" in changed.stderr) == (2, True)


def test_the_client_replays_waits_cancels_and_is_refused_in_words(client: Studio, run_id: str) -> None:
    with pytest.raises(Invalid, match="unknown model 'nonesuch'"):
        client.create_replay(run_id, changes={"model": "nonesuch"})
    accepted = client.create_replay(run_id, mode="verify")
    verified = client.wait_for_replay(accepted.replay_id).result
    assert verified is not None
    assert verified.verification is not None
    assert verified.verification.equal == 1
    long = client.create_replay(run_id, changes={"model": OTHER}, samples=200, stop_early=False).replay_id
    with pytest.raises(ReplayUnfinished, match=f"replay {long} had not ended"):
        client.wait_for_replay(long, wait_s=0.1)
    client.cancel_replay(long)
    assert client.wait_for_replay(long).status == "cancelled"
    assert [each.replay_id for each in client.replays(run_id=run_id, status="cancelled")] == [long]


async def test_the_asynchronous_client_forks(stack: Stack, run_id: str) -> None:
    key = Path(stack.state.key_file).read_text().strip()
    async with AsyncStudio(stack.state.gateway_url, key) as client:
        edit = Edit(step=2, field="content", value="What is 7 * 6?")
        accepted = await client.create_replay(run_id, mode="fork", step=2, edits=[edit])
        replay = await client.wait_for_replay(accepted.replay_id)
        [run] = [run async for run in client.replay_runs(accepted.replay_id)]
        assert (replay.status, (await client.get(run.run_id)).response) == ("completed", "The result is 42.")
        made = await client.replay_diff(accepted.replay_id, run.run_id)
        assert (made.equal, await client.diff(run_id, run.run_id)) == (False, made)
        assert (await client.lineage(run.run_id)).root.run_id == run_id
