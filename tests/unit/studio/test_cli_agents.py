"""`studio agents` against a scripted server: what is asked, what is printed, and with which code it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.studio.scripted_server import ScriptedServer, answer, problem
from tests.unit.studio.test_cli_commands import studio

AGENT: dict[str, Any] = {
    "name": "reviewer",
    "version": 2,
    "newest_version": 3,
    "description": "Checks [sums].",
    "model": None,
    "tools": ["calculator"],
    "handoffs": ["desk"],
    "agents": ["clerk@1"],
    "created_at": "2026-11-20T08:30:00Z",
    "created_by": "key laptop (k1)",
    "archived_at": None,
    "is_built_in": False,
    "instructions": "Check \x1b[31mevery sum.",
    "parameters": {"temperature": 0.2},
    "response_format": {"type": "object"},
    "limits": {"max_rounds": 8},
    "approval_rules": [{"tool": "*", "effect": "irreversible"}],
}
DIFF = {
    "name": "reviewer",
    "from_version": 1,
    "to_version": 2,
    "changes": [{"field": "tools", "before": None, "after": ["calculator"]}],
    "instructions": "--- reviewer@1\n+++ reviewer@2\n@@ -1 +1 @@\n-old\n+new",
}


def page(*items: dict[str, Any]) -> Any:
    return answer({"items": list(items), "next_cursor": None})


def test_agents_are_listed_as_a_table() -> None:
    built_in = {**AGENT, "name": "assistant", "is_built_in": True, "tools": None, "handoffs": []}
    with ScriptedServer(page(AGENT, built_in)) as server:
        result = studio(server, "agents")
    assert result.exit_code == 0
    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["agent", "version", "changed", "model", "tools", "agents", "description"]
    assert "→ desk, ? clerk@1" in first
    assert "Checks [sums]." in first
    assert second.split()[:5] == ["assistant", "2", "built", "in", "–"]
    assert server.asked[0].path.startswith("/api/agents?archived=false")


def test_agents_with_json_are_a_line_each() -> None:
    with ScriptedServer(page(AGENT, AGENT)) as server:
        lines = studio(server, "agents", "--archived", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["reviewer", "reviewer"]
    assert server.asked[0].path.startswith("/api/agents?archived=true")


def test_an_agent_is_shown_with_all_that_it_says() -> None:
    with ScriptedServer(answer(AGENT)) as server:
        shown = studio(server, "agents", "show", "reviewer", "--version", "2").stdout
    assert server.asked[0].path == "/api/agents/reviewer/versions/2"
    for words in ("version 2 of 3", "temperature 0.2", "max_rounds 8", "* (irreversible)", "every sum."):
        assert words in shown
    assert "\x1b" not in shown


def test_what_is_shown_as_a_definition_can_be_given_back(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    with ScriptedServer(answer(AGENT), answer({**AGENT, "version": 4})) as server:
        file.write_text(studio(server, "agents", "show", "reviewer", "--definition").stdout)
        result = studio(server, "agents", "update", str(file), "--expect", "3")
    assert result.stdout == "reviewer is at version 4\n"
    asked = server.asked[1]
    assert (asked.method, asked.path) == ("PUT", "/api/agents/reviewer")
    assert asked.headers["If-Match"] == '"3"'
    assert not {"name", "version", "created_at", "created_by"} & asked.body.keys()
    assert (asked.body["tools"], asked.body["instructions"]) == (["calculator"], AGENT["instructions"])


def test_an_agent_is_created_from_standard_input() -> None:
    with ScriptedServer(answer(AGENT, 201)) as server:
        result = studio(server, "agents", "create", "-", given='{"name": "reviewer"}')
    assert result.exit_code == 0
    assert "studio run --agent reviewer" in result.stdout
    assert server.asked[0].body == {"name": "reviewer"}
    assert server.asked[0].headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold one JSON object"),
        ('{"description": "x"}', 'give it a "name"'),
        (None, "cannot be read: No such file"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_without_an_agent_is_told_and_nothing_is_sent(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "agent.json"
    if content is not None:
        file.write_text(content)
    with ScriptedServer() as server:
        result = studio(server, "agents", "update", str(file))
    assert (result.exit_code, server.asked) == (1, [])
    assert message in " ".join(result.stderr.split())


def test_a_change_that_comes_too_late_says_so(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text('{"name": "reviewer"}')
    with ScriptedServer(problem(412, "agent-changed", detail="the newest version is 5, not 3")) as server:
        result = studio(server, "agents", "update", str(file), "--expect", "3")
    assert result.exit_code == 1
    assert "the newest version is 5, not 3" in result.stderr


def test_two_versions_are_compared() -> None:
    with ScriptedServer(answer(DIFF)) as server:
        shown = studio(server, "agents", "diff", "reviewer", "1", "2").stdout.splitlines()
    assert server.asked[0].path == "/api/agents/reviewer/diff?from=1&to=2"
    assert shown[:4] == ["tools", "- null", '+ ["calculator"]', "instructions"]
    assert shown[-2:] == ["-old", "+new"]


def test_versions_that_say_the_same_have_no_difference() -> None:
    with ScriptedServer(answer({**DIFF, "changes": [], "instructions": None})) as server:
        result = studio(server, "agents", "diff", "reviewer", "1", "2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "say the same" in result.stderr


def test_an_agent_is_archived() -> None:
    with ScriptedServer(answer({}, 204)) as server:
        assert studio(server, "agents", "archive", "reviewer").exit_code == 0
    assert (server.asked[0].method, server.asked[0].path) == ("DELETE", "/api/agents/reviewer")
