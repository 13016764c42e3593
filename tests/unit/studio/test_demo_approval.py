"""The demo in the place of the person whom its last prompt needs, against a scripted server."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from shared.step_codec import encode_step
from shared.steps import ApprovalRequested, Effect, RunWaiting, Step
from studio.demo import asking
from studio.demo.approval import AGENT, NAME, Attended, keep_agent
from studio.demo.prompts import Prompt
from studio.stack.state import StackState
from tests.unit.studio.client_steps import END, RUN_ID, frame, run_steps
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer, problem, stream
from tests.unit.studio.test_cli_agents import AGENT as SAVED
from tests.unit.studio.test_cli_waiting import HASH

FOUND = answer({"run_id": RUN_ID, "status": "completed", "prompt": "Delete notes.txt."})
ACCEPTED = answer({"run_id": RUN_ID, "status": "queued"}, 202)
THERE = problem(409, "agent-exists", "there is an agent of that name")


def question(tool: str) -> list[Step]:
    """A run up to where it waits for a person."""
    request, claim, user, *_ = run_steps()
    envelope = user.model_dump(include={"run_id", "at", "project", "writer"})
    asked = {"call_id": "c1", "tool": tool, "arguments": {}, "arguments_hash": HASH, "effect": Effect.PURE}
    return [
        request,
        claim,
        user,
        ApprovalRequested(**envelope, seq=3, **asked),
        RunWaiting(**envelope, seq=4, reason="approval", call_id="c1"),
    ]


def run_of(steps: list[Step]) -> Reply:
    body = b",".join(map(encode_step, steps))
    return Reply(b'{"run_id": "%b", "status": "waiting", "steps": [%b]}' % (RUN_ID.encode(), body))


def attended(server: ScriptedServer) -> Attended:
    return Attended(server.url, "key")


def test_agent_of_an_earlier_demo_is_kept() -> None:
    with ScriptedServer(answer(SAVED, 201), THERE, answer(SAVED)) as server, attended(server) as studio:
        keep_agent(studio)
        keep_agent(studio)
    created, refused, kept = server.asked
    assert created.body == refused.body == AGENT
    assert (kept.method, kept.path) == ("PUT", f"/api/agents/{NAME}")


@pytest.mark.parametrize("reply", [ACCEPTED, problem(409, "call-decided", "somebody was quicker")])
def test_what_is_seen_to_wait_is_allowed(reply: Reply) -> None:
    steps = question("file_io")
    with (
        ScriptedServer(stream(*map(frame, steps), END), run_of(steps), reply) as server,
        attended(server) as studio,
    ):
        assert list(studio.stream(RUN_ID)) == steps
    assert server.asked[2].path == f"/api/runs/{RUN_ID}/approvals/c1"
    assert server.asked[2].body == {"decision": "approve", "arguments_hash": HASH}


def test_what_the_demo_does_not_ask_for_is_left_to_the_person() -> None:
    steps = question("send_mail")
    with (
        ScriptedServer(stream(*map(frame, steps), END), run_of(steps)) as server,
        attended(server) as studio,
    ):
        assert list(studio.stream(RUN_ID)) == steps
    assert [asked.method for asked in server.asked] == ["GET", "GET"]


def test_model_that_calls_no_tool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "prompts", lambda _: [Prompt("Delete it.", "an approval", NAME)])
    state: Any = SimpleNamespace(provider="mistral", provider_url="http://x")
    file = io.StringIO()
    with (
        ScriptedServer(answer(SAVED, 201), ACCEPTED, stream(END), FOUND, FOUND) as server,
        attended(server) as studio,
    ):
        runs = asking.ask_all(studio, cast(StackState, state), Console(file=file, width=200))
    assert [run.run_id for run in runs] == [RUN_ID]
    assert server.asked[1].body["agent"] == NAME
    assert "the demo takes that person's place" in file.getvalue()
    assert "The model did not call file_io, so there was nothing to allow." in file.getvalue()
