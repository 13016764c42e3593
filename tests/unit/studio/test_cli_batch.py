"""`studio batch` against a scripted server: what it sends, what it says, and with which code it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.client.errors import StudioError
from studio.commands import batching
from studio.commands.batching import read_runs
from tests.unit.studio.client_steps import RUN_ID
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer
from tests.unit.studio.test_cli_commands import studio

BATCH_ID = "01890a5d-ac96-774b-bcce-b30200000b01"
REFUSED = {"type": "urn:agentops-studio:problem:invalid-request", "detail": "prompt: this field is required"}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "EVERY_S", 0.001)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("What is 1 + 1?\n\n  What is 2 + 2?\n")
    return file


def lines(*problems: bool) -> Reply:
    """The answer to an upload; True stands for a run that was refused."""
    given = [
        {"index": index, "batch_id": BATCH_ID, **({"problem": REFUSED} if is_wrong else {"run_id": RUN_ID})}
        for index, is_wrong in enumerate(problems)
    ]
    body = "".join(json.dumps(line) + "\n" for line in given)
    return Reply(body.encode(), 202, {"Content-Type": "application/x-ndjson"})


def batch(status: str = "finished", size: int = 2, **runs: int) -> Reply:
    view: dict[str, Any] = {"batch_id": BATCH_ID, "name": "sums", "status": status, "size": size}
    view |= {"created_at": "2026-11-20T08:30:00Z", "accepted": sum(runs.values()), "runs": runs}
    return answer(view | {"total_tokens": 1234, "total_cost_usd": "0.0024", "unpriced": 0})


def test_each_line_is_a_run_and_the_end_is_a_table(prompts: Path) -> None:
    done = [batch(completed=2)] * 3
    with ScriptedServer(lines(False, False), batch("running", queued=1, running=1), *done) as server:
        result = studio(server, "batch", str(prompts), "--name", "sums", "--max-rounds", "2", "--key", "k1")
    assert result.exit_code == 0, result.stderr
    assert server.asked[0].body == [
        {"defaults": {"max_rounds": 2}},
        {"prompt": "What is 1 + 1?"},
        {"prompt": "What is 2 + 2?"},
    ]
    assert server.asked[0].path == "/api/runs/batch?name=sums"
    assert server.asked[0].headers["Idempotency-Key"] == "k1"
    assert result.stdout.split() == ["batch", "completed", "tokens", "USD", "sums", "2", "1,234", "0.002400"]


def test_a_new_key_is_told_so_that_the_batch_can_be_taken_up(prompts: Path) -> None:
    with ScriptedServer(lines(False, False)) as server:
        result = studio(server, "batch", str(prompts), "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"idempotency key {server.asked[0].headers['Idempotency-Key']}" in result.stderr


def test_what_was_refused_is_told_and_is_a_failure(prompts: Path) -> None:
    with ScriptedServer(lines(False, True), *[batch(completed=1)] * 3) as server:
        result = studio(server, "batch", str(prompts))
    assert result.exit_code == 1
    assert "run 2: prompt: this field is required" in result.stderr
    assert "refused" in result.stdout


def test_json_is_a_line_for_each_run_and_one_for_the_batch(prompts: Path) -> None:
    with ScriptedServer(lines(False, True), *[batch(completed=1)] * 3) as server:
        result = studio(server, "batch", str(prompts), "--json")
    first, second, last = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["run_id"], second["problem"]["detail"]) == (RUN_ID, REFUSED["detail"])
    assert (last["batch_id"], last["runs"]) == (BATCH_ID, {"completed": 1})


def test_an_interrupted_batch_says_how_to_take_it_up(prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studio.commands.batching.time.sleep", interrupt)
    with ScriptedServer(lines(False, False), batch("running", running=2)) as server:
        result = studio(server, "batch", str(prompts), "--key", "k1")
    assert result.exit_code == 130
    assert f"`studio batch {prompts} --key k1` follows it" in " ".join(result.stderr.split())


def test_objects_are_sent_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson"
    file.write_text('{"prompt": "a", "group": "g"}\n{"prompt": "b"}\n')
    assert read_runs(file) == [{"prompt": "a", "group": "g"}, {"prompt": "b"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no line"),
        (b'{"prompt": "a"}\nb\n', "line 2 is no JSON object"),
        (b"caf\xe9\n", "is no UTF-8 text: byte 3"),
    ],
)
def test_a_file_that_holds_no_runs_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "runs"
    file.write_bytes(content)
    with pytest.raises(StudioError, match=says):
        read_runs(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        result = studio(server, "batch", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "cannot be read: No such file" in result.stderr
    assert server.asked == []
