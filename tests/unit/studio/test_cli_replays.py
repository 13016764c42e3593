"""`studio replay`, `fork`, `diff`, `verify` and their kin against a scripted server."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.steps import RunStatus
from studio.client import following
from studio.client.errors import ReplayUnfinished
from studio.client.retries import RetryPolicy
from studio.client.sync import Studio
from studio.commands import connection, patience, replay_progress
from studio.demo.replaying import another
from tests.unit.studio.client_steps import RUN_ID
from tests.unit.studio.replay_samples import (
    DIVERGENCE,
    OTHER_ID,
    REPLAY_ID,
    a_blame,
    a_diff,
    a_replay,
    a_result,
    a_verdict,
    a_verification,
)
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer, problem
from tests.unit.studio.test_cli_commands import detail, run_json, studio

ACCEPTED = answer({"replay_id": REPLAY_ID, "status": "queued"}, 202)
VERIFY = {"mode": "verify", "items": []}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", RetryPolicy(tries=2, shortest_s=0.001, longest_s=1.0))
    monkeypatch.setattr(following, "LONGEST_S", 0.001)
    monkeypatch.setattr(following, "FIRST_S", 0.001)
    monkeypatch.setattr(patience, "PAUSE_S", 0.001)


def given(**changed: Any) -> Reply:
    """A replay as it is now."""
    return answer(a_replay(**changed).model_dump(mode="json", by_alias=True))


def verified(equal: int, *parted: Any) -> Reply:
    return given(**VERIFY, result=a_verification(equal, *parted))


def test_one_run_is_shown_with_its_answer_and_where_it_parted() -> None:
    replies = [ACCEPTED, given(status="running"), given(diff=a_diff()), detail(run_id=OTHER_ID)]
    with ScriptedServer(*replies) as server:
        result = studio(
            server,
            *("replay", RUN_ID, "--model", "mistral-small-latest", "--temperature", "0", "--tools", "a, b"),
            *(
                "--live",
                "mail",
                "--static",
                'fetch={"page": 1}',
                "--on-miss",
                "fail",
                "--on-miss",
                "mail=error",
            ),
        )
    assert result.exit_code == 0, result.stderr
    assert server.asked[0].body == {
        "run_id": RUN_ID,
        "mode": "rerun",
        "samples": 1,
        "stop_early": True,
        "changes": {"model": "mistral-small-latest", "tools": ["a", "b"], "parameters": {"temperature": 0.0}},
        "tools": {
            "mail": {"answer": "live", "on_miss": "error"},
            "fetch": {"answer": "static", "static": {"page": 1}},
            "*": {"on_miss": "fail"},
        },
    }
    assert server.asked[0].headers["Idempotency-Key"]
    assert "/content  The answer is [-45-]{+46+}." in result.stdout
    assert "parts at step 6: tool-result at /messages/3/content" in result.stdout
    assert result.stdout.splitlines()[-1] == f"completed  rerun · 2 runs · 0.002400 USD  replay {REPLAY_ID}"


def test_of_a_run_that_says_the_same_the_ids_of_its_calls_are_no_difference() -> None:
    same = a_diff(text="The answer is 45.", result="45").model_copy(update={"equal": True})
    with ScriptedServer(ACCEPTED, given(diff=same), detail(run_id=OTHER_ID)) as server:
        result = studio(server, "replay", RUN_ID)
    assert ("the runs are equal" in result.stdout, "parts at" in result.stdout) == (True, False)


def test_samples_are_measured_by_what_was_typed_and_end_in_a_table() -> None:
    done = given(result=a_result(verdict=a_verdict()), items=[a_replay().items[0]] * 2)
    typed = ("--samples", "20", "--contains", "45", "--score", "tokens < 99", "--no-early-stop")
    with ScriptedServer(ACCEPTED, done) as server:
        result = studio(server, "replay", RUN_ID, OTHER_ID, "--instructions", "Be short.", *typed)
    assert result.exit_code == 0, result.stderr
    body = server.asked[0].body
    assert (body["run_ids"], body["samples"], body["stop_early"]) == ([RUN_ID, OTHER_ID], 20, False)
    assert body["metrics"] == [
        {"name": "contains", "expected": "45"},
        {"name": "expression", "expression": "tokens < 99", "label": "score"},
        *({"name": name} for name in ("success", "cost_usd", "latency_ms", "tokens")),
    ]
    assert "replay is undecided: success 5 points lower; better on cost_usd (-96.2 %)" in result.stdout


@pytest.mark.parametrize(
    ("status", "run_status", "code"),
    [("completed", "completed", 0), ("completed", "failed", 1), ("failed", "failed", 1)],
)
def test_a_replay_or_a_run_that_failed_is_a_failure(status: str, run_status: str, code: int) -> None:
    run = a_replay().items[0].model_copy(update={"status": RunStatus(run_status)})
    with ScriptedServer(ACCEPTED, given(status=status, items=[run])) as server:
        result = studio(server, "replay", RUN_ID, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["replay_id"] == REPLAY_ID


def test_what_is_only_started_says_its_id() -> None:
    with ScriptedServer(ACCEPTED, ACCEPTED) as server:
        assert studio(server, "replay", RUN_ID, "--no-wait").stdout == f"{REPLAY_ID}\n"
        told = studio(server, "replay", RUN_ID, "--no-wait", "--json").stdout
    assert json.loads(told) == {"replay_id": REPLAY_ID}


def test_an_interrupt_cancels_the_replay_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studio.client.sync.time.sleep", interrupt)
    cancelled = answer({"replay_id": REPLAY_ID, "status": "cancelling"}, 202)
    with ScriptedServer(ACCEPTED, given(status="running"), cancelled) as server:
        result = studio(server, "replay", RUN_ID)
        over = problem(409, "replay-finished", "the replay is completed")
        server.replies += [ACCEPTED, given(status="running"), over]
        late = studio(server, "replay", RUN_ID)
    assert (result.exit_code, late.exit_code) == (130, 130)
    assert server.asked[2].path == f"/api/replays/{REPLAY_ID}/cancel"
    assert f"cancelled replay {REPLAY_ID}" in result.stderr
    assert f"replay {REPLAY_ID} had ended" in late.stderr


def test_a_gateway_that_goes_away_is_waited_for_and_then_the_replay_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = problem(503, "unavailable", "the database is away", headers={"Retry-After": "0"})
    with ScriptedServer(ACCEPTED, away, away, given(), detail(run_id=OTHER_ID)) as server:
        back = studio(server, "replay", RUN_ID)
        monkeypatch.setattr(patience, "AWAY_S", 0.0)
        server.replies += [ACCEPTED, away, away]
        gone = studio(server, "replay", RUN_ID)
    assert (back.exit_code, patience.AWAY in back.stderr) == (0, True), back.stderr
    assert (gone.exit_code, f"Replay {REPLAY_ID} goes on" in gone.stderr) == (1, True), gone.stderr


def test_a_run_that_waits_for_a_person_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_progress, "ASK_EVERY_S", 0.0)
    run = a_replay().items[0].model_copy(update={"status": None})
    waits = given(status="running", items=[run])
    page = answer({"items": [{"run_id": each, "reason": "approval"} for each in (RUN_ID, OTHER_ID)]})
    with ScriptedServer(ACCEPTED, waits, page, waits, given(), detail(run_id=OTHER_ID)) as server:
        result = studio(server, "replay", RUN_ID)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("waits for a decision: `studio approve 099a0001`") == 1
    assert [asked.path for asked in server.asked].count("/api/waiting?limit=100") == 1


def test_a_fork_sends_its_edits_and_without_a_step_lists_where_it_can_be(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"rows": [1, 2]}')
    typed = (
        "--edit",
        f"5.result=@{file}",
        "--edit",
        "2.content=Why = how?",
        "--edit",
        '3.arguments.c1={"x": 1}',
    )
    with ScriptedServer(ACCEPTED, given(mode="fork"), detail(run_id=OTHER_ID), detail()) as server:
        forked = studio(server, "fork", RUN_ID, "--step", "5", *typed)
        listed = studio(server, "fork", RUN_ID)
    assert forked.exit_code == 0, forked.stderr
    assert server.asked[0].body["edits"] == [
        {"step": 5, "field": "result", "value": {"rows": [1, 2]}},
        {"step": 2, "field": "content", "value": "Why = how?"},
        {"step": 3, "field": "arguments", "value": '{"x": 1}', "call_id": "c1"},
    ]
    marked = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("●")]
    assert marked == ["0", "2", "3", "5"]


def test_arguments_are_edited_without_the_id_of_the_call_where_there_is_one() -> None:
    with ScriptedServer(detail(), ACCEPTED) as server:
        typed = ("--step", "3", "--edit", '3.arguments={"expression": "1"}', "--no-wait")
        result = studio(server, "fork", RUN_ID, *typed)
    assert result.exit_code == 0, result.stderr
    edit = {"step": 3, "field": "arguments", "value": '{"expression": "1"}', "call_id": "c1"}
    assert server.asked[1].body["edits"] == [edit]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fork", RUN_ID, "--step", "5", "--edit", "5"), "give STEP.content=TEXT"),
        (("fork", RUN_ID, "--step", "5", "--edit", "5.result.c1=1"), "give STEP.result=VALUE"),
        (("replay", RUN_ID, "--static", "fetch"), "give TOOL=JSON"),
        (("replay", RUN_ID, "--on-miss", "fetch=wait"), "give one of live, error, fail"),
        (("replay", "a.studio", RUN_ID), "one file at a time"),
        (("replay", "a.studio", "--samples", "2"), "it is replayed as it was recorded"),
        (("verify",), "name runs, or say --all"),
        (("verify", RUN_ID, "--all"), "name runs, or say --all"),
        (("verify", "--all", "--status", "running"), "give cancelled, completed, failed"),
    ],
)
def test_wrong_arguments_are_told_with_what_is_right(arguments: tuple[str, ...], says: str) -> None:
    with ScriptedServer() as server:
        result = studio(server, *arguments)
    assert (result.exit_code, server.asked) == (2, [])
    assert says in result.stderr


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read: No such"), (b"caf\xe9", "is no UTF-8 text: byte 3")]
)
def test_a_text_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("words").write_bytes(content)
    with ScriptedServer() as server:
        result = studio(server, "replay", RUN_ID, "--instructions", "@words")
    assert (result.exit_code, says in result.stderr, server.asked) == (2, True, [])


def test_a_bundle_that_is_not_there_is_told_without_a_server(tmp_path: Path) -> None:
    result = studio(None, "replay", str(tmp_path / "none.studio"))
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)


def test_diff_ends_as_diff_does() -> None:
    same = answer(
        json.loads(a_diff(text="The answer is 45.", result="45").model_dump_json()) | {"equal": True}
    )
    other = answer(json.loads(a_diff().model_dump_json()))
    missing = problem(404, "not-found", "there is no run")
    with ScriptedServer(same, other, other, missing) as server:
        results = [studio(server, "diff", RUN_ID, OTHER_ID, *more) for more in ((), (), ("--json",), ())]
    assert [result.exit_code for result in results] == [0, 1, 1, 2]
    assert server.asked[0].path == f"/api/diff?left={RUN_ID}&right={OTHER_ID}"
    assert "the runs are equal" in results[0].stdout
    assert json.loads(results[2].stdout)["counts"]["changed"] == 2


def test_verify_names_each_run_that_parts_and_shows_how() -> None:
    with ScriptedServer(ACCEPTED, verified(1, DIVERGENCE), ACCEPTED, verified(1, DIVERGENCE)) as server:
        brief = studio(server, "verify", RUN_ID, OTHER_ID)
        whole = studio(server, "verify", RUN_ID, OTHER_ID, "--show")
    assert server.asked[0].body == {"run_ids": [RUN_ID, OTHER_ID], "mode": "verify"}
    parts = f"run {RUN_ID}  parts at step 6: tool-result at /messages/3/content"
    assert (brief.exit_code, brief.stdout.splitlines()) == (1, [parts, "2 verified: 1 equal, 1 parted"])
    assert whole.stdout.splitlines()[1:4] == ["--- recorded", "+++ replayed", "-45"]


def test_verify_tries_what_is_changed() -> None:
    with ScriptedServer(ACCEPTED, verified(1, DIVERGENCE)) as server:
        studio(server, "verify", RUN_ID, "--agent", "helper@2")
    assert server.asked[0].body["changes"] == {"agent": "helper@2"}


def test_verify_all_leaves_out_what_has_not_ended() -> None:
    plan = {"mode": "rerun", "source_run_id": RUN_ID}
    kinds: list[dict[str, Any]] = [{}, {"status": "running"}, {"replay": plan}, {"status": "failed"}]
    runs = [run_json(run_id=f"{RUN_ID[:-1]}{number}", **more) for number, more in enumerate(kinds)]
    with ScriptedServer(answer({"items": runs}), ACCEPTED, verified(3)) as server:
        result = studio(server, "verify", "--all", "--json")
    assert server.asked[1].body["run_ids"] == [runs[place]["run_id"] for place in (0, 2, 3)]
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {"verified": 3, "equal": 3, "parted": 0, "failed": 0},
    )


def test_many_runs_are_verified_in_chunks_several_of_them_at_a_time() -> None:
    ids = [f"01890a5d-ac96-774b-bcce-{number:012x}" for number in range(450)]
    pages = [
        answer({"items": [run_json(run_id=each) for each in ids[start : start + 100]], "next_cursor": cursor})
        for start, cursor in ((0, "a"), (100, "b"), (200, "c"), (300, "d"), (400, None))
    ]
    # Each page is read when its chunk is ordered; from the fourth order on the oldest is waited for.
    ordered = [reply for page in pages[:4] for reply in (page, ACCEPTED)]
    rest = [verified(100), pages[4], ACCEPTED, *[verified(100)] * 3, verified(50)]
    with ScriptedServer(*ordered, *rest) as server:
        result = studio(server, "verify", "--all")
    assert (result.exit_code, result.stdout) == (0, "450 verified: 450 equal, 0 parted\n"), result.stderr
    orders = [asked.body["run_ids"] for asked in server.asked if asked.method == "POST"]
    assert [run_id for order in orders for run_id in order] == ids
    assert [len(order) for order in orders] == [100, 100, 100, 100, 50]


def test_a_run_that_is_refused_does_not_keep_the_others_from_being_verified() -> None:
    refused = problem(409, "run-active", "the run is running")
    with ScriptedServer(refused, refused, ACCEPTED, verified(1)) as server:
        result = studio(server, "verify", RUN_ID, OTHER_ID)
    assert [asked.body["run_ids"] for asked in server.asked[:3]] == [[RUN_ID, OTHER_ID], [RUN_ID], [OTHER_ID]]
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"run {RUN_ID}  the run is running",
        "2 verified: 1 equal, 0 parted, 1 could not be verified",
    ]


def test_an_interrupted_verification_cancels_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studio.client.sync.time.sleep", interrupt)
    cancelled = answer({"replay_id": REPLAY_ID, "status": "cancelling"}, 202)
    with ScriptedServer(ACCEPTED, given(**VERIFY, status="running"), cancelled) as server:
        result = studio(server, "verify", RUN_ID)
    assert (result.exit_code, server.asked[2].path) == (130, f"/api/replays/{REPLAY_ID}/cancel")
    assert f"cancelled replay {REPLAY_ID}" in result.stderr


def test_blame_shows_the_steps_that_were_looked_at() -> None:
    done = given(mode="blame", result=a_result(blame=a_blame()), items=[])
    with ScriptedServer(ACCEPTED, done, detail()) as server:
        result = studio(server, "blame", RUN_ID, "--contains", "45", "--most-runs", "30")
    assert result.exit_code == 0, result.stderr
    body = server.asked[0].body
    assert (body["mode"], body["samples"], body["most_runs"]) == ("blame", 5, 30)
    assert "it is step 5" in result.stdout
    assert "stop_early" not in body


def test_replays_are_found_by_a_part_of_their_id_listed_shown_and_cancelled() -> None:
    listed = answer({"items": [json.loads(a_replay().model_dump_json(by_alias=True))]})
    runs = answer({"items": [json.loads(a_replay().items[0].model_dump_json())]})
    over = problem(409, "replay-finished", "the replay is completed")
    replies = [
        *(listed, listed, given(**VERIFY, result=a_verification(2)), listed, given(), runs),
        *(listed, answer({"replay_id": REPLAY_ID, "status": "cancelling"}, 202), listed, over),
    ]
    typed = ((), ("show", "90aaaa"), ("runs", "90aaaa"), ("cancel", "90aaaa"), ("cancel", "90aaaa"))
    with ScriptedServer(*replies) as server:
        results = [studio(server, "replays", *more) for more in typed]
    table, shown, list_of_runs, cancelled, late = results
    assert [result.exit_code for result in results] == [0, 0, 0, 0, 1]
    assert f"{REPLAY_ID}  completed  rerun" in table.stdout
    assert shown.stdout.startswith("2 equal, 0 parted")
    assert OTHER_ID in list_of_runs.stdout
    assert f"asked replay {REPLAY_ID} to end" in cancelled.stdout
    assert f"replay {REPLAY_ID} has ended" in late.stderr


def test_the_tree_of_a_run_is_drawn() -> None:
    child = {
        "run_id": OTHER_ID,
        "source_run_id": RUN_ID,
        "mode": "rerun",
        "arm": "replay",
        "status": "failed",
    }
    tree = {"root": {"run_id": RUN_ID, "status": "completed", "replays": [child]}, "runs": 2}
    with ScriptedServer(answer(tree)) as server:
        result = studio(server, "lineage", RUN_ID)
    assert result.stdout.splitlines()[1].startswith(f"└── {OTHER_ID}  failed  rerun · replay")


def test_waiting_for_a_replay_has_an_end() -> None:
    with (
        ScriptedServer(given(status="running")) as server,
        Studio(server.url, "key") as client,
        pytest.raises(ReplayUnfinished, match="had not ended after 0 seconds") as raised,
    ):
        client.wait_for_replay(REPLAY_ID, wait_s=0)
    assert raised.value.replay_id == REPLAY_ID


def test_the_demo_replays_with_another_model_rather_a_small_one() -> None:
    models = ("mistral-large-latest", "mistral-small-2603", "mistral-small-latest")
    assert another(models, "mistral-large-latest") == "mistral-small-latest"
    assert another(("large", "larger"), "large") == "larger"
    assert another(("large",), "large") is None
