"""`studio waiting`, `approve`, `deny`, `settle` and `retry` against a scripted server: what they ask and say.

That the server takes it is tested with the real gateway, in `tests/e2e/test_deciding.py`.
"""

import json
from typing import Any

import pytest

from tests.unit.studio.client_steps import RUN_ID
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer, problem
from tests.unit.studio.test_cli_commands import OTHER_ID, run_json, studio

HASH = "5d1f4fa6d1a1b8a3f0b3e4a5f5b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f70"
ACCEPTED = answer({"run_id": RUN_ID, "status": "waiting"}, 202)
CALL: dict[str, Any] = {
    "call_id": "D681PevKs",
    "tool": "send_mail",
    "arguments": {"to": "all@example.com"},
    "arguments_hash": HASH,
    "effect": "irreversible",
    "asked_at": "2026-11-20T08:30:00Z",
}
OPEN = {**CALL, "arguments_hash": None}
SHORT = RUN_ID[-8:]


def run(*calls: dict[str, Any], reason: str = "approval", run_id: str = RUN_ID) -> dict[str, Any]:
    return {"run_id": run_id, "reason": reason, "since": "2026-11-20T08:30:00Z", "calls": calls}


def waiting(*runs: dict[str, Any]) -> Reply:
    return answer({"items": runs, "next_cursor": None})


def test_what_waits_is_a_row_for_each_call_and_for_each_run_without_one() -> None:
    second = {**CALL, "call_id": "another", "tool": "pay \x1b[31m"}
    short_of_money = run(reason="budget", run_id=OTHER_ID)
    with ScriptedServer(waiting(run(CALL, second), short_of_money)) as server:
        result = studio(server, "waiting")
    heading, first, more, last = result.stdout.splitlines()
    assert heading.split() == ["run", "waits", "for", "since", "call", "tool", "arguments"]
    assert first.split()[:2] == [RUN_ID, "approval"]
    assert first.endswith('D681PevKs  send_mail  {"to": "all@example.com"}')
    assert more.split()[0] == "another"
    assert last.split()[:2] == [OTHER_ID, "budget"]
    assert "\x1b" not in result.stdout


def test_what_waits_as_json_is_a_line_for_each_run() -> None:
    hostile = {**CALL, "tool": "pay\x9b2J"}
    with ScriptedServer(waiting(run(hostile), run(reason="budget", run_id=OTHER_ID))) as server:
        result = studio(server, "waiting", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["calls"][0]["tool"], second["run_id"]) == ("pay\x9b2J", OTHER_ID)
    assert "\x9b" not in result.stdout


def test_nothing_that_waits_is_said_on_standard_error() -> None:
    with ScriptedServer(waiting(), waiting()) as server:
        result = studio(server, "waiting")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no run waits for a person" in result.stderr
        assert studio(server, "waiting", "--json").stdout == ""


@pytest.mark.parametrize(
    ("command", "sent", "says"),
    [
        (("approve",), {"decision": "approve"}, 'approved send_mail {"to": "all@example.com"}'),
        (
            ("approve", "--arguments", '{"to": "me"}'),
            {"decision": "approve", "arguments": {"to": "me"}},
            'approved send_mail {"to": "me"}',
        ),
        (
            ("deny", "--note", "Not to all."),
            {"decision": "deny", "note": "Not to all."},
            'denied send_mail {"to": "all@example.com"}',
        ),
    ],
)
@pytest.mark.parametrize("typed", [RUN_ID, SHORT, RUN_ID[:-1].upper()])
def test_a_decision_is_bound_to_the_arguments_that_were_shown(
    command: tuple[str, ...], sent: dict[str, Any], says: str, typed: str
) -> None:
    with ScriptedServer(waiting(run(CALL), run(CALL, run_id=OTHER_ID)), ACCEPTED) as server:
        result = studio(server, *command, typed)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{says}\nof run {RUN_ID}; `studio show {SHORT}`")
    assert server.asked[1].path == f"/api/runs/{RUN_ID}/approvals/D681PevKs"
    assert server.asked[1].body == {**sent, "arguments_hash": HASH}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("happened", "--result", '{"id": 7}'), {"decision": "happened", "result": {"id": 7}}),
        (("did-not-happen",), {"decision": "did-not-happen", "result": None}),
        (("fail",), {"decision": "fail", "result": None}),
    ],
)
def test_an_outcome_is_told(arguments: tuple[str, ...], sent: dict[str, Any]) -> None:
    with ScriptedServer(waiting(run(CALL, OPEN, reason="unknown-outcome")), ACCEPTED) as server:
        result = studio(server, "settle", SHORT, *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"noted {arguments[0]} for send_mail")
    assert (server.asked[1].path, server.asked[1].body) == (
        f"/api/runs/{RUN_ID}/outcomes/D681PevKs",
        sent,
    )


def test_a_retry_sends_the_reason() -> None:
    with ScriptedServer(ACCEPTED) as server:
        result = studio(server, "retry", RUN_ID, "--why", "the provider is back")
    assert (server.asked[0].path, server.asked[0].body) == (
        f"/api/runs/{RUN_ID}/retry",
        {"why": "the provider is back"},
    )
    assert "is in the queue again" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("approve", SHORT, "--arguments", "{"), "give JSON"),
        (("approve", SHORT, "--arguments", "[" * 100_000), "give JSON"),
        (("approve", SHORT, "--arguments", "[1]"), "give one JSON object"),
        (("settle", SHORT, "happened", "--result", "yes"), "give JSON"),
        (("settle", SHORT, "fail", "--result", "1"), "only a call that happened has a result"),
        (("settle", SHORT, "perhaps"), "'did-not-happen'"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_sent(arguments: tuple[str, ...], says: str) -> None:
    with ScriptedServer() as server:
        result = studio(server, *arguments)
    assert (result.exit_code, server.asked) == (2, [])
    assert says in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "there", "says"),
    [
        (
            ("approve",),
            run(OPEN, reason="unknown-outcome"),
            f"what became of a call: `studio settle {SHORT} ",
        ),
        (("deny",), run(reason="budget"), f"run {RUN_ID} waits for a higher budget"),
        (("settle", "fail"), run(CALL), f"a decision: `studio approve {SHORT}` or `studio deny {SHORT}`"),
        (("approve",), run(), f"run {RUN_ID} has been answered; `studio show {SHORT}`"),
        (("deny",), run(reason="moonlight"), "waits for moonlight"),
        (("deny", "--call", "another"), run(CALL), "with --call: D681PevKs (send_mail {"),
        (("approve",), run(CALL, {**CALL, "call_id": "another"}), "D681PevKs (send_mail {"),
    ],
)
def test_a_call_that_is_not_asked_about_is_not_decided(
    command: tuple[str, ...], there: dict[str, Any], says: str
) -> None:
    name, *more = command
    with ScriptedServer(waiting(there)) as server:
        result = studio(server, name, SHORT, *more)
    assert (result.exit_code, len(server.asked)) == (1, 1)
    assert says in result.stderr


def test_one_of_several_calls_is_named() -> None:
    with ScriptedServer(waiting(run({**CALL, "call_id": "another"}, CALL)), ACCEPTED) as server:
        assert studio(server, "deny", SHORT, "--call", "D681PevKs").exit_code == 0
    assert server.asked[1].path.endswith("/approvals/D681PevKs")


def test_a_part_that_several_waiting_runs_have_lists_them() -> None:
    with ScriptedServer(waiting(run(CALL), run(CALL, run_id=OTHER_ID))) as server:
        result = studio(server, "approve", RUN_ID[:8])
    assert result.exit_code == 1
    assert {RUN_ID, OTHER_ID} <= set(result.stderr.split())


@pytest.mark.parametrize(
    ("replies", "typed", "says"),
    [
        ((problem(404, "not-found", "no run"),), RUN_ID, f"there is no run {RUN_ID}; `studio runs`"),
        ((answer({"items": []}),), "dead", "no id of the last 500 runs begins or ends with dead"),
        ((answer(run_json(status="completed")),), RUN_ID, f"run {RUN_ID} is completed and asks nobody"),
        ((answer({"items": [run_json()]}), answer(run_json())), SHORT, f"run {RUN_ID} is completed and"),
        ((), "../keys", "is no part of a run's id"),
    ],
)
def test_a_run_that_does_not_wait_is_told(replies: tuple[Reply, ...], typed: str, says: str) -> None:
    with ScriptedServer(waiting(run(CALL, run_id=OTHER_ID)), *replies) as server:
        result = studio(server, "approve", typed)
    assert result.exit_code == 1
    assert says in result.stderr
    assert {asked.method for asked in server.asked} == {"GET"}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (problem(409, "call-decided", "the call was denied by key laptop"), "was denied by key laptop"),
        (problem(409, "other-arguments", "look at its arguments again"), "look at its arguments again"),
        (
            problem(422, "invalid-request", "arguments: $: 'to' is a required property"),
            "'to' is a required property",
        ),
        (problem(404, "not-found", "no such run"), f"there is no run {RUN_ID}"),
    ],
)
def test_a_decision_that_is_refused_says_why(reply: Reply, says: str) -> None:
    with ScriptedServer(waiting(run(CALL)), reply) as server:
        result = studio(server, "approve", SHORT, "--arguments", "{}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


SHORT_OF_MONEY = {**run(reason="budget"), "why": "of 0.02 USD (budget_usd) 0.004000 are left"}


def test_a_used_up_budget_is_raised() -> None:
    with ScriptedServer(waiting(SHORT_OF_MONEY), ACCEPTED) as server:
        result = studio(server, "resume", SHORT, "--budget", "0.5")
    assert (result.exit_code, server.asked[-1].body) == (0, {"budget_usd": 0.5})
    assert f"run {RUN_ID} is in the queue again" in result.stdout


def test_without_a_higher_budget_it_is_said_what_the_run_lacks() -> None:
    with ScriptedServer(waiting(SHORT_OF_MONEY)) as server:
        result = studio(server, "resume", SHORT)
    assert result.exit_code == 1
    assert f"`studio resume {SHORT} --budget USD`" in result.stderr
    assert "0.004000 are left" in result.stderr


def test_a_run_that_waits_for_anything_else_is_looked_at_again() -> None:
    with ScriptedServer(waiting(run(CALL)), ACCEPTED) as server:
        result = studio(server, "resume", SHORT)
    assert (result.exit_code, server.asked[-1].body) == (0, {})
    assert server.asked[-1].path == f"/api/runs/{RUN_ID}/resume"
