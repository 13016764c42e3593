"""The commands against a scripted server: what they print, where, and with which code they end."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_group
from typer.testing import CliRunner, Result

from shared.step_codec import decode_steps, encode_steps
from shared.steps import RunStatus
from studio.cli import COMMANDS, PANELS, app
from studio.client.retries import RetryPolicy
from studio.commands import connection, patience, running
from tests.unit.studio.client_steps import BEGIN, END, RUN_ID, frame, run_steps
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer, problem, stream

STEPS = run_steps()
FRAMES = [frame(step) for step in STEPS]
ACCEPTED = answer({"run_id": RUN_ID, "status": "queued"}, 202)
OTHER_ID = "01890a5d-ac96-774b-bcce-b3020000ffff"


def run_json(**changed: Any) -> dict[str, Any]:
    at = BEGIN.isoformat()
    run = {
        "run_id": RUN_ID,
        "status": "completed",
        "agent": "assistant",
        "model": "mistral-large-latest",
        "prompt": "How much?",
        "response": "The answer is 45.",
        "created_at": at,
        "finished_at": at,
        "step_count": 8,
        "model_calls": 2,
        "total_tokens": 240,
        "total_cost_usd": "0.0024",
        "unpriced": 0,
        "charged": 2,
    }
    return run | changed


def detail(**changed: Any) -> Reply:
    return answer(run_json(**changed) | {"steps": json.loads(encode_steps(STEPS)), "next_after": None})


def studio(server: ScriptedServer | None, *arguments: str, given: str | None = None) -> Result:
    url = server.url if server else "http://127.0.0.1:9"
    environment = {"STUDIO_URL": url, "STUDIO_API_KEY": "key", "COLUMNS": "200"}
    return CliRunner().invoke(app, arguments, input=given, env=environment)


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", RetryPolicy(tries=2, shortest_s=0.001, longest_s=1.0))
    monkeypatch.setattr(running, "PAUSE_S", 0.001)


def test_run_shows_its_steps_and_what_it_cost() -> None:
    with ScriptedServer(ACCEPTED, stream(*FRAMES, END), detail()) as server:
        result = studio(
            server, "run", "How much?", "--temperature", "0", "--seed", "7", "--tool", "calculator"
        )
    assert result.exit_code == 0
    kinds = [line.split()[2] for line in result.stdout.splitlines() if line.lstrip().startswith("+")]
    assert kinds == [step.kind for step in STEPS]
    assert "The answer is 45." in result.stdout
    assert "completed  8 steps · 240 tokens · 0.002400 USD" in result.stdout
    assert "\x1b" not in result.stdout
    assert server.asked[0].body == {
        "prompt": "How much?",
        "tools": ["calculator"],
        "parameters": {"temperature": 0.0, "random_seed": 7},
    }


def test_run_with_json_prints_each_step_and_nothing_else() -> None:
    delta = 'event: delta\ndata: {"type": "delta", "text": "The"}\n\n'
    with ScriptedServer(ACCEPTED, stream(*FRAMES[:6], delta, *FRAMES[6:], END)) as server:
        result = studio(server, "run", "How much?", "--json")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert decode_steps(f"[{','.join(lines)}]".encode()) == STEPS
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_failed_run_ends_with_code_1(arguments: tuple[str, ...]) -> None:
    failed = STEPS[-1].model_copy(update={"status": RunStatus.FAILED})
    with ScriptedServer(
        ACCEPTED, stream(*FRAMES[:-1], frame(failed), END), detail(status="failed")
    ) as server:
        assert studio(server, "run", "How much?", *arguments).exit_code == 1


def test_run_that_is_only_started_prints_its_id() -> None:
    with ScriptedServer(ACCEPTED, ACCEPTED) as server:
        assert studio(server, "run", "Hello", "--no-wait").stdout == f"{RUN_ID}\n"
        told = json.loads(studio(server, "run", "Hello", "--no-wait", "--json").stdout)
    assert told == {"run_id": RUN_ID, "status": "queued"}


def test_prompt_is_read_from_standard_input() -> None:
    with ScriptedServer(ACCEPTED) as server:
        studio(server, "run", "-", "--no-wait", given="Two\nlines")
    assert server.asked[0].body["prompt"] == "Two\nlines"


def test_endless_input_is_refused() -> None:
    with ScriptedServer(ACCEPTED) as server:
        result = studio(server, "run", "-", given="x" * (running.MOST_INPUT + 1))
    assert (result.exit_code, server.asked) == (1, [])
    assert "more than 1048576 bytes" in result.stderr


@pytest.mark.parametrize("arguments", [("x", "--temperature", "nan"), ("half \udcff",)])
def test_what_cannot_be_sent_is_told_in_words(arguments: tuple[str, ...]) -> None:
    with ScriptedServer() as server:
        result = studio(server, "run", *arguments)
    assert (result.exit_code, server.asked) == (1, [])
    assert "cannot be written as JSON text" in result.stderr


def test_cost_is_awaited_until_every_call_is_charged() -> None:
    late = [detail(total_cost_usd=None, unpriced=None, charged=0), detail(total_cost_usd="0.001", charged=1)]
    with ScriptedServer(ACCEPTED, stream(*FRAMES, END), *late, detail()) as server:
        assert "0.002400 USD" in studio(server, "run", "How much?").stdout


def test_cost_that_stays_incomplete_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "COST_PATIENCE_S", 0.0)
    part = detail(total_cost_usd="0.001", charged=1)
    with ScriptedServer(ACCEPTED, stream(*FRAMES, END), part) as server:
        assert "≥ 0.001000 USD" in studio(server, "run", "How much?").stdout


def test_sum_that_has_stopped_growing_counts_where_the_server_does_not_say() -> None:
    growing = [detail(charged=None, total_cost_usd=cost) for cost in (None, "0.001", "0.0024", "0.0024")]
    with ScriptedServer(ACCEPTED, stream(*FRAMES, END), *growing) as server:
        assert "0.002400 USD" in studio(server, "run", "How much?").stdout


def test_unpriced_run_is_never_free() -> None:
    unpriced = detail(total_cost_usd=None, unpriced=2)
    with ScriptedServer(ACCEPTED, stream(*FRAMES, END), unpriced) as server:
        assert "· unpriced ·" in studio(server, "run", "How much?").stdout


def test_wrong_fields_are_told_one_by_one() -> None:
    errors = [{"field": "prompt", "message": "is empty"}, {"field": "model", "message": "unknown model [b]"}]
    with ScriptedServer(problem(422, "invalid-request", errors=errors)) as server:
        result = studio(server, "run", " ")
    assert result.exit_code == 1
    assert "prompt: is empty" in result.stderr
    assert "model: unknown model [b]" in result.stderr
    assert result.stdout == ""


def test_absent_server_is_told_with_what_to_do() -> None:
    result = studio(None, "runs")
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:9" in result.stderr
    assert "The address is from STUDIO_URL." in result.stderr
    assert "`studio up`" in result.stderr


def test_refused_key_is_told_with_where_it_is_from() -> None:
    with ScriptedServer(problem(401, "unauthorized", "this API key is not known here")) as server:
        result = studio(server, "runs")
    assert "this API key is not known here" in result.stderr
    assert "The key is from STUDIO_API_KEY." in result.stderr


def test_nothing_found_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STUDIO_URL", "STUDIO_API_KEY", "STUDIO_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["runs"])
    assert result.exit_code == 1
    assert "No server found" in result.stderr
    assert "`studio up`" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_run_is_followed_over_a_gateway_that_was_away(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.001)
    away = [Reply(cut=True)] * 5
    with ScriptedServer(ACCEPTED, stream(*FRAMES[:3]), *away, stream(*FRAMES[3:], END), detail()) as server:
        result = studio(server, "run", "How much?", *arguments)
    assert result.exit_code == 0
    assert (result.stdout + result.stderr).count("the gateway is away, waiting") == 1
    for step in STEPS:
        assert result.stdout.count(f'"{step.kind}"' if arguments else f" {step.kind} ") == 1
    assert server.asked[-2 if not arguments else -1].headers["Last-Event-ID"] == "2"


def test_run_whose_gateway_stays_away_is_said_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_S", 0.0)
    monkeypatch.setattr(patience, "PAUSE_S", 0.001)
    with ScriptedServer(ACCEPTED, stream(*FRAMES[:3]), *[Reply(cut=True)] * 20) as server:
        result = studio(server, "run", "How much?")
    assert result.exit_code == 1
    short = RUN_ID[-8:]
    assert f"Run {RUN_ID} goes on: `studio show {short}`" in result.stderr
    assert f"`studio cancel {short}` ends it" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reply", "says"),
    [
        (("show",), problem(404, "not-found", "no such thing"), f"there is no run {RUN_ID}; `studio runs`"),
        (("cancel",), problem(409, "run-finished", "too late"), f"run {RUN_ID} has ended already"),
        (("delete", "-y"), problem(409, "run-active", "POST /cancel first"), "`studio cancel 00000001` ends"),
    ],
)
def test_refusal_is_told_in_the_words_of_the_command_line(
    arguments: tuple[str, ...], reply: Reply, says: str
) -> None:
    with ScriptedServer(reply) as server:
        result = studio(server, *arguments, RUN_ID)
    assert result.exit_code == 1
    assert says.replace("00000001", RUN_ID[-8:]) in result.stderr
    assert reply.body.decode() not in result.stderr
    assert "POST" not in result.stderr


def test_runs_are_listed_with_whole_ids_in_a_pipe() -> None:
    runs = {"items": [run_json(), run_json(run_id=OTHER_ID, status="failed", prompt="x" * 500)]}
    with ScriptedServer(answer(runs)) as server:
        result = studio(server, "runs", "--status", "failed", "--user", "me", "-n", "2")
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split() == [
        "run",
        "status",
        "created",
        "agent",
        "model",
        "prompt",
        "steps",
        "tokens",
        "USD",
        "time",
    ]
    assert [row.split()[0] for row in rows] == [RUN_ID, OTHER_ID]
    assert not any(line.endswith(" ") for line in rows)
    assert server.asked[0].path == "/api/runs?status=failed&user_id=me&limit=2"


def test_runs_with_json_are_one_line_each() -> None:
    with ScriptedServer(answer({"items": [run_json(response="\x9b2J"), run_json()]})) as server:
        result = studio(server, "runs", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["response"] == "\x9b2J"
    assert "\x9b" not in result.stdout
    assert second["total_cost_usd"] == "0.0024"


def test_empty_list_says_how_to_begin_on_standard_error() -> None:
    with ScriptedServer(answer({"items": []}), answer({"items": []})) as server:
        result = studio(server, "runs")
        assert "studio run" in result.stderr
        assert result.stdout == ""
        assert "no run is like that" in studio(server, "runs", "--agent", "nobody").stderr


def test_run_is_shown_on_a_time_axis() -> None:
    with ScriptedServer(detail()) as server:
        result = studio(server, "show", RUN_ID)
    assert result.exit_code == 0
    assert "0.002400 USD" in result.stdout
    thought = next(line for line in result.stdout.splitlines() if "agent-thought" in line)
    assert "+750 ms" in thought
    assert "400 ms" in thought
    assert "█" in thought


def test_run_with_json_is_shown_whole() -> None:
    with ScriptedServer(detail()) as server:
        shown = json.loads(studio(server, "show", RUN_ID, "--json").stdout)
    assert [step["kind"] for step in shown["steps"]] == [step.kind for step in STEPS]


@pytest.mark.parametrize("typed", [RUN_ID.upper(), f" {RUN_ID} "])
def test_whole_id_is_used_as_it_is(typed: str) -> None:
    with ScriptedServer(detail()) as server:
        studio(server, "show", typed)
    assert [asked.path for asked in server.asked] == [f"/api/runs/{RUN_ID}"]


@pytest.mark.parametrize("typed", [RUN_ID[-6:], RUN_ID[:-4]])
def test_part_that_only_one_run_has_means_that_run(typed: str) -> None:
    runs = answer({"items": [run_json(), run_json(run_id=OTHER_ID)]})
    with ScriptedServer(runs, detail()) as server:
        assert studio(server, "show", typed).exit_code == 0
    assert server.asked[1].path == f"/api/runs/{RUN_ID}"


def test_part_that_several_runs_have_lists_them() -> None:
    with ScriptedServer(answer({"items": [run_json(), run_json(run_id=OTHER_ID)]})) as server:
        result = studio(server, "show", RUN_ID[:8])
    assert result.exit_code == 1
    assert RUN_ID in result.stderr
    assert OTHER_ID in result.stderr


@pytest.mark.parametrize(
    ("typed", "says"),
    [("dead", "no id of the last 500 runs"), ("../keys", "is no part of a run's id"), ("", "is no part of")],
)
def test_reference_without_a_run_is_told(typed: str, says: str) -> None:
    with ScriptedServer(answer({"items": [run_json()]})) as server:
        result = studio(server, "cancel", typed)
    assert result.exit_code == 1
    assert says in result.stderr


def test_cancelling_sends_the_reason() -> None:
    with ScriptedServer(ACCEPTED) as server:
        result = studio(server, "cancel", RUN_ID, "--why", "wrong question")
    assert result.exit_code == 0
    assert server.asked[0].body == {"why": "wrong question"}


@pytest.mark.parametrize("said", ["n\n", "\n", ""])
def test_nothing_is_deleted_without_a_yes(said: str) -> None:
    with ScriptedServer(Reply(status=204)) as server:
        result = studio(server, "delete", RUN_ID, given=said)
    assert (result.exit_code, server.asked) == (1, [])


@pytest.mark.parametrize(("arguments", "said"), [((), "y\n"), (("--yes",), "")])
def test_run_is_deleted_after_a_yes(arguments: tuple[str, ...], said: str) -> None:
    with ScriptedServer(Reply(status=204)) as server:
        result = studio(server, "delete", RUN_ID, *arguments, given=said)
    assert result.exit_code == 0
    assert [asked.method for asked in server.asked] == ["DELETE"]


def test_every_command_is_there_with_its_help() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for command in COMMANDS:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
        assert f" {command} " in result.stdout


def test_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"studio {version('agentops-studio')}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_what_is_to_be_typed(name: str) -> None:
    command: Any = get_group(app).get_command(Context(get_group(app)), name)
    for each in (command, *getattr(command, "commands", {}).values()):
        assert each.get_short_help_str()
        for param in each.params:
            assert getattr(param, "is_flag", False) or getattr(param, "metavar", None), param.name


def test_help_lists_every_command_under_a_heading() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert "─ Commands " not in shown
    for heading in set(PANELS.values()):
        assert shown.count(f"─ {heading} ─") == 1


@pytest.mark.parametrize("name", ["agents", "tools", "mcp", "schedules", "webhooks"])
def test_a_noun_alone_lists(name: str) -> None:
    with ScriptedServer(*[answer({"items": []})] * 3) as server:
        told = [studio(server, name, *more) for more in ((), ("list",), ("--json",))]
    assert [result.exit_code for result in told] == [0, 0, 0]
    assert told[0].stderr == told[1].stderr != ""
    assert [result.stdout for result in told] == ["", "", ""]
    assert len({asked.path for asked in server.asked}) == 1
    assert studio(None, name, "frobnicate").exit_code == 2


def test_misspelt_command_is_corrected() -> None:
    result = CliRunner().invoke(app, ["rums"])
    assert result.exit_code == 2
    assert "'runs'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--help"], {"httpx", "shared.steps", "asyncpg"}),
        (["run", "--help"], {"psutil", "asyncpg", "studio.stack.supervisor"}),
        (["status", "--help"], {"httpx", "shared.steps"}),
    ],
)
def test_command_loads_only_what_it_needs(arguments: list[str], needless: set[str]) -> None:
    code = (
        "import sys\nfrom studio.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert needless.isdisjoint(loaded.split())
