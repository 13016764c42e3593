"""The demo as a new user runs it, in an empty folder; and what it leaves behind: nothing."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.e2e.embedded import environment, with_project
from tests.support.ports import quiet_ports
from tests.support.processes import service

ROW = re.compile(r"^\S.*? +completed +\d+ +[\d,]+ +\d\.\d{6} +[\d.]+ m?s$", re.MULTILINE)

QUESTION = re.compile(
    r"approval-requested +file_io {[^\n]*}  idempotent\n[^\n]*run-waiting +for approval\n"
    r"[^\n]*`studio approve [0-9a-f]{8}`[^\n]*\n"
    r"[^\n]*approval-resolved +approved by .*agent-response +I deleted notes.txt",
    re.DOTALL,
)


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "studio.demo", *arguments]


def start_demo(folder: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        demo(*arguments),
        cwd=folder,
        env=with_project(environment(**variables)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(folder: Path) -> list[str]:
    """The command lines of processes that belong to a stack in the folder."""
    return [" ".join(process.cmdline()) for process in psutil.process_iter() if _belongs(process, folder)]


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        words = [*process.cmdline(), process.environ().get("STUDIO_STACK_FOLDER", "")]
    except psutil.Error:
        return False
    return process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words)


def test_demo_runs_its_prompts_and_ends_by_itself(tmp_path: Path) -> None:
    with start_demo(tmp_path, "--once") as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "The model is simulated" in output
    assert re.search(r"agent-response .*\b45\b", output)
    assert output.count("retry  ") == 2
    assert re.search(r"`\S*studio approve [0-9a-f]{8}`", output)
    assert QUESTION.search(output), output
    assert re.search(r"^replay  What is 5 \+ 10.* with mistral-small-latest$", output, re.MULTILINE)
    assert "/model  [-mistral-large-latest-]{+mistral-small-latest+}" in output
    assert re.search(r"^completed  rerun · 1 run · 0\.\d{6} USD", output, re.MULTILINE)
    summary = output[output.index("prompt ") :]
    assert len(ROW.findall(summary)) == 4
    # What has ended is not advertised.
    assert "/docs" not in summary
    assert re.search(r"`\S*studio up` starts it again", summary)
    assert "\x1b" not in output
    assert left_behind(tmp_path) == []


async def test_demo_with_a_refused_key_says_what_to_set_and_ends(tmp_path: Path) -> None:
    async with service("services.simulator.app:make_app", environment(), tmp_path / "log") as server:
        variables = {"MISTRAL_SERVER_URL": server.url, "MISTRAL_API_KEY": "invalid"}
        output = await asyncio.to_thread(failing_demo, tmp_path, **variables)
    assert "model-unauthorized" in output
    assert f"The server at {server.url} refuses the key: set MISTRAL_API_KEY to one that it knows" in output


def test_demo_without_a_server_at_the_address_says_what_to_set_and_ends(tmp_path: Path) -> None:
    (port,) = quiet_ports(1)
    output = failing_demo(tmp_path, MISTRAL_SERVER_URL=f"http://127.0.0.1:{port}")
    assert "model-unavailable" in output
    assert f"http://127.0.0.1:{port} does not answer: start it, or set MISTRAL_SERVER_URL" in output


def failing_demo(folder: Path, **variables: str) -> str:
    """What it says. It ends by itself after its first prompt, and leaves nothing."""
    (folder / "demo").mkdir()
    with start_demo(folder / "demo", **variables) as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 1, output
    assert ("1/4" in output, "2/4" in output) == (True, False), output
    assert "until Ctrl-C" not in output, output
    assert left_behind(folder / "demo") == []
    return output


def test_demo_stays_until_interrupted_and_others_may_use_its_stack(tmp_path: Path) -> None:
    with start_demo(tmp_path) as first:
        assert first.stdout is not None
        seen = ""
        while "until Ctrl-C" not in seen:
            line = first.stdout.readline()
            assert line, seen
            seen += line
        second = subprocess.run(
            demo("--once"),
            cwd=tmp_path,
            env=with_project(environment()),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        ending, _ = first.communicate(timeout=60)
    assert re.search(r"API docs +http://127\.0\.0\.1:\d+/docs", seen)
    assert ending.endswith("stopped\n")
    assert (first.returncode, second.returncode) == (0, 0), second.stdout
    assert len(ROW.findall(second.stdout)) == 4
    assert "demo-housekeeper v1" in second.stdout
    assert "goes on; `studio down` stops it" in second.stdout
    assert left_behind(tmp_path) == []


def test_demo_that_is_interrupted_early_leaves_nothing(tmp_path: Path) -> None:
    with start_demo(tmp_path) as process:
        assert process.stdout is not None
        while "nats" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_behind(tmp_path) == []
