"""A run that is a file, replayed by the code of today without a server, a network or a key."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.bundle.building import build
from shared.steps import RunRequested, Step
from studio.commands import bundle_replay
from studio.commands.bundle_replay import replay_file
from tests.support.bundles import KEY, bundled, changed, contents_of
from tests.support.replays import Stage
from tests.support.run_samples import whole_run
from tests.support.steps import call, new_key

ANSWERS = ([call("pure", '{"value": 1}', call_id="call00001")], "The answer is 1.")


@pytest.fixture
async def steps() -> list[Step]:
    return (await Stage().play(ANSWERS, instructions="Be careful.")).steps


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MISTRAL_API_KEY", "a-secret-of-this-shell")


def written(folder: Path, data: bytes) -> Path:
    file = folder / "run.studio"
    file.write_bytes(data)
    return file


def otherwise(steps: Sequence[Step]) -> list[Step]:
    """What a signer may claim: other instructions than those that were sent."""
    return [
        step.model_copy(update={"instructions": "Be quick."}) if isinstance(step, RunRequested) else step
        for step in steps
    ]


async def test_a_run_that_is_as_recorded_is_equal(
    tmp_path: Path, steps: list[Step], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_file(written(tmp_path, bundled(steps))) == 0
    said = capsys.readouterr().out
    assert f"run {steps[0].run_id}  completed  {len(steps)} steps" in said
    assert "signed by 56475aa75463474c, and as it was signed" in said
    assert f"equal: {len(steps)} steps and 2 requests to the model" in said


async def test_a_run_that_is_not_says_where_it_parts_why_and_how(
    tmp_path: Path, steps: list[Step], capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, build(contents_of(otherwise(steps)), KEY, code_version="0"))
    assert replay_file(file, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["divergence"]["step"], told["run_id"]) == (False, 3, steps[0].run_id)
    assert replay_file(file) == 1
    assert "parts at step 3: code-version" in capsys.readouterr().out


async def test_a_file_that_was_tampered_with_is_not_played_and_what_is_wrong_is_named(
    tmp_path: Path, steps: list[Step], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_replay, "REHEARSAL", "no.module.that.there.is")
    tampered = changed(
        bundled(steps), "steps.jsonl", lambda data: data.replace(b"Be careful", b"Be reckless")
    )
    assert replay_file(written(tmp_path, tampered)) == 2
    assert "steps.jsonl, step 0: content does not match its hash" in capsys.readouterr().err
    assert replay_file(written(tmp_path, bundled(steps)), signer="0123456789abcdef") == 2
    assert "it is signed by 56475aa75463474c, not by 0123456789abcdef" in capsys.readouterr().err
    assert replay_file(written(tmp_path, b"\x1b[2Jno bundle" * 9)) == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.err
    assert captured.out == ""


async def test_what_cannot_be_read_or_played_says_so(
    tmp_path: Path, steps: list[Step], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replay_file(tmp_path / "nothing") == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
    monkeypatch.setattr("studio.commands.bundling.MOST_BYTES", 10)
    file = written(tmp_path, bundled(steps))
    assert replay_file(file) == 1
    assert "has more than the 10 bytes that a bundle may have" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(bundle_replay, "REHEARSAL", "no.module.that.there.is")
    assert replay_file(file) == 1
    assert "the run could not be played: " in capsys.readouterr().err


def test_a_run_that_no_runner_had_does_not_pass_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_file(written(tmp_path, bundled(whole_run(new_key())))) == 1
    assert "parts at step 3" in capsys.readouterr().out
