"""Agents over HTTP, on a real database: versions that never change, and what a run makes of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.agents.examples import CHANGED, GIVEN, NAME
from services.gateway.examples import RUN_ID
from shared.bus import CATALOG, jetstream
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import RunRequested, Step
from shared.subjects import RunKey, catalog_subject
from studio import AsyncStudio, Conflict
from tests.integration.test_gateway_examples import announce_example, key_with, refused, same
from tests.support.fake_runner import TOOLS, announce
from tests.support.gateway import Gateway, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually

VERDICT = {"type": "object", "properties": {"verdict": {"type": "string"}, "why": {"type": "string"}}}
NEWEST = {"If-Match": "*"}


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


async def create(gateway: Gateway, name: str, **fields: Any) -> dict[str, Any]:
    answer = await gateway.http.post("/api/agents", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    agent: dict[str, Any] = answer.json()
    return agent


async def change(gateway: Gateway, name: str, match: str = "*", **fields: Any) -> httpx.Response:
    return await gateway.http.put(f"/api/agents/{name}", json=fields, headers={"If-Match": match})


async def step_0(gateway: Gateway, **fields: Any) -> RunRequested:
    """What the run carries that these fields ask for."""
    answer = await gateway.http.post("/api/runs", json={"prompt": "hi", **fields})
    assert answer.status_code == 202, answer.text
    log, key = RunLog(gateway.nats, Scrubber()), RunKey("default", answer.json()["run_id"])

    async def first() -> Step | None:  # the run of a batch may have to wait for its turn at the broker
        return next(iter((await log.read(key)).steps), None)

    step = await eventually(first)
    assert isinstance(step, RunRequested)
    return step


def fault(answer: httpx.Response) -> tuple[str, str]:
    """The field at fault, and what is said about it."""
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    return error["field"], error["message"]


async def no_run(gateway: Gateway, **fields: Any) -> tuple[str, str]:
    return fault(await gateway.http.post("/api/runs", json={"prompt": "hi", **fields}))


async def test_agents_look_as_in_the_examples(gateway: Gateway) -> None:
    created = await gateway.http.post("/api/agents", json={"name": NAME, **GIVEN})
    same("agent", created, 201, run_id=RUN_ID)
    assert created.headers["etag"] == '"1"'
    changed = await change(gateway, NAME, '"1"', **CHANGED)
    same("changed-agent", changed, run_id=RUN_ID)
    assert changed.headers["etag"] == '"2"'
    get = gateway.http.get
    same("agent-list", await get("/api/agents?limit=1"), run_id=RUN_ID)
    same("agent-versions", await get(f"/api/agents/{NAME}/versions"), run_id=RUN_ID)
    same("agent-diff", await get(f"/api/agents/{NAME}/diff?from=1&to=2"), run_id=RUN_ID)
    first = await get(f"/api/agents/{NAME}/versions/1")
    assert first.json() == {**created.json(), "newest_version": 2}


async def test_what_cannot_be_done_to_agents_is_refused_as_in_the_examples(gateway: Gateway) -> None:
    await create(gateway, NAME)
    await create(gateway, "desk", handoffs=[NAME])
    post, path = gateway.http.post, f"/api/agents/{NAME}"
    refused("agent-exists", await post("/api/agents", json={"name": NAME}))
    refused("agent-exists", await post("/api/agents", json={"name": "assistant"}), (NAME, "assistant"))
    refused("no-such-agent", await gateway.http.get("/api/agents/nobody"))
    refused("no-such-agent", await gateway.http.get("/api/agents/A%00"), ("nobody", "A\\x00"))
    refused("agent-built-in", await gateway.http.delete("/api/agents/assistant"))
    refused("agent-built-in", await change(gateway, "assistant"))
    refused("agent-in-use", await gateway.http.delete(path))
    refused("version-needed", await gateway.http.put(path, json={}))
    await change(gateway, NAME, description="better")
    refused("agent-changed", await change(gateway, NAME, '"1"', description="mine"))
    refused("circle-of-agents", await change(gateway, NAME, handoffs=["desk"]))
    schema = {"properties": {"a": {"type": "text"}}}
    refused("no-schema", await change(gateway, NAME, response_format=schema))
    assert fault(await change(gateway, NAME, "3"))[0] == "If-Match"
    for call in (post("/api/agents", headers=await key_with(gateway, "read"), json={"name": "x"}),):
        refused("read-only-key", await call)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"tools": ["calculator", "shell"]}, "tools.1", "unknown tool"),
        ({"model": "gpt-9"}, "model", "unknown model"),
        ({"handoffs": ["nobody"]}, "handoffs.0", "names nobody, which there is not"),
        ({"agents": ["assistant", "assistant@1"]}, "agents", "each agent may stand here once"),
        ({"agents": ["assistant@7"]}, "agents.0", "names assistant@7, which there is not"),
        ({"handoffs": ["x"]}, "handoffs.0", "x@1 → x@1"),
        ({"approval_rules": [{"tool": "shell"}]}, "approval_rules.0.tool", "calculator, http_fetch"),
        (
            {"tools": ["calculator"], "approval_rules": [{"tool": "http_fetch"}]},
            "approval_rules.0.tool",
            "no",
        ),
        ({"limits": {"max_rounds": 0}}, "limits.max_rounds", "greater than or equal to 1"),
        ({"instructions": f"use aos_{'a' * 32}"}, "instructions", "must not look like a credential"),
        ({"response_format": {"description": "a\x00b"}}, "response_format", "nor hold NUL"),
    ],
)
async def test_an_agent_that_no_run_could_use_is_not_created(
    gateway: Gateway, fields: dict[str, Any], field: str, message: str
) -> None:
    at, why = fault(await gateway.http.post("/api/agents", json={"name": "x", **fields}))
    assert at == field
    assert message in why
    assert (await gateway.http.get("/api/agents/x")).status_code == 404


async def test_a_creation_is_repeated_by_its_key(gateway: Gateway) -> None:
    def post(key: str, **fields: Any) -> Any:
        body, headers = {"name": "x", **fields}, {"Idempotency-Key": key}
        return gateway.http.post("/api/agents", json=body, headers=headers)

    first, again = await post("k1", description="one"), await post("k1", description="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (await post("k1", description="two")).status_code == 409
    assert (await post("k2", description="one")).json()["type"].endswith("agent-exists")


async def test_a_change_that_is_repeated_makes_one_version(gateway: Gateway) -> None:
    await create(gateway, "x")
    answers = [await change(gateway, "x", '"1"', description="better") for _ in range(2)]
    assert [answer.json()["version"] for answer in answers] == [2, 2]


async def test_the_order_of_a_schema_is_kept_and_is_a_change(gateway: Gateway) -> None:
    turned = {**VERDICT, "properties": dict(reversed(VERDICT["properties"].items()))}  # type: ignore[attr-defined]  # a dict
    await create(gateway, "x", response_format=VERDICT)
    changed = (await change(gateway, "x", response_format=turned)).json()
    assert changed["version"] == 2
    assert list(changed["response_format"]["properties"]) == ["why", "verdict"]
    first = (await gateway.http.get("/api/agents/x/versions/1")).json()
    assert list(first["response_format"]["properties"]) == ["verdict", "why"]


async def test_of_many_changes_of_the_same_version_one_is_made(gateway: Gateway) -> None:
    await create(gateway, "x")
    answers = await asyncio.gather(
        *(change(gateway, "x", '"1"', description=str(number)) for number in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_two_agents_that_come_to_name_each_other_at_once_make_no_circle(gateway: Gateway) -> None:
    for _ in range(5):
        await create(gateway, "a")
        await create(gateway, "b")
        answers = await asyncio.gather(
            change(gateway, "a", handoffs=["b"]), change(gateway, "b", agents=["a"])
        )
        assert sorted(answer.status_code for answer in answers) == [200, 422]
        for name in ("a", "b", "a"):  # the one that is named goes last
            await gateway.http.delete(f"/api/agents/{name}")


async def test_agents_are_listed_page_by_page_and_the_built_in_one_is_the_last(gateway: Gateway) -> None:
    for name in ("a", "b", "c"):
        await create(gateway, name)
    for limit in (1, 2, 3, 4, 200):
        names: list[str] = []
        query = f"limit={limit}"
        while query:
            page = (await gateway.http.get(f"/api/agents?{query}")).json()
            names += [each["name"] for each in page["items"]]
            query = f"limit={limit}&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        assert names == ["c", "b", "a", "assistant"]
    assistant = (await gateway.http.get("/api/agents/assistant")).json()
    assert (assistant["is_built_in"], assistant["version"]) == (True, 1)
    versions = (await gateway.http.get("/api/agents/assistant/versions")).json()
    assert [each["version"] for each in versions["items"]] == [1]


async def test_versions_are_listed_page_by_page(gateway: Gateway) -> None:
    await create(gateway, "x")
    for number in range(4):
        await change(gateway, "x", description=str(number))
    first = (await gateway.http.get("/api/agents/x/versions?limit=3")).json()
    rest = (await gateway.http.get(f"/api/agents/x/versions?limit=3&before={first['next_before']}")).json()
    assert [each["version"] for each in (*first["items"], *rest["items"])] == [5, 4, 3, 2, 1]
    assert rest["next_before"] is None
    missing = await gateway.http.get("/api/agents/x/versions/6")
    assert "has the versions 1 to 5" in missing.json()["detail"]


async def test_an_archived_agent_is_kept_but_no_run_may_name_it(gateway: Gateway) -> None:
    await create(gateway, "x", description="old")
    for _ in range(2):
        assert (await gateway.http.delete("/api/agents/x")).status_code == 204
    assert (await no_run(gateway, agent="x"))[1] == "the agent x is archived; name another one"
    assert (await no_run(gateway, agent="x@1"))[0] == "agent"
    assert (await change(gateway, "x", description="new")).status_code == 404
    assert (await gateway.http.get("/api/agents/x")).json()["archived_at"] is not None
    kept = (await gateway.http.get("/api/agents?archived=true")).json()["items"]
    assert [each["name"] for each in kept] == ["x"]
    assert "x" not in [each["name"] for each in (await gateway.http.get("/api/agents")).json()["items"]]


async def test_an_archived_name_goes_on_with_its_versions(gateway: Gateway) -> None:
    await create(gateway, "x", description="old")
    await gateway.http.delete("/api/agents/x")
    again = await create(gateway, "x", description="new")
    assert (again["version"], again["archived_at"]) == (2, None)
    assert (await step_0(gateway, agent="x@1")).agent.version == 1


async def test_agents_of_another_project_do_not_exist(gateway: Gateway) -> None:
    await create(gateway, "x", instructions="secret plan")
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    get = gateway.http.get
    for path in ("", "/versions", "/versions/1", "/diff?from=1&to=1"):
        assert (await get(f"/api/agents/x{path}", headers=stranger)).status_code == 404
    listed = (await get("/api/agents", headers=stranger)).json()["items"]
    assert [each["name"] for each in listed] == ["assistant"]
    run = await gateway.http.post("/api/runs", json={"prompt": "hi", "agent": "x"}, headers=stranger)
    assert fault(run)[0] == "agent"
    assert (await gateway.http.delete("/api/agents/x", headers=stranger)).status_code == 404


async def test_a_run_carries_all_that_its_agent_says(gateway: Gateway) -> None:
    await create(
        gateway,
        "x",
        model="mistral-small-latest",
        instructions="Be brief.",
        parameters={"temperature": 0.1, "random_seed": 7},
        tools=["calculator"],
        response_format=VERDICT,
        limits={"max_rounds": 9, "timeout_s": 60, "budget_usd": 0.5, "approval_timeout_s": 30},
    )
    step = await step_0(gateway, agent="x")
    assert (step.agent.name, step.agent.version) == ("x", 1)
    assert (step.model, step.instructions) == ("mistral-small-latest", "Be brief.")
    assert step.parameters.model_dump() == {
        "temperature": 0.1,
        "top_p": None,
        "max_tokens": 2048,
        "random_seed": 7,
    }
    assert [tool.name for tool in step.tools] == ["calculator"]
    assert step.response_format == VERDICT
    assert (step.max_rounds, step.timeout_s, step.budget_usd, step.approval_timeout_s) == (9, 60, 0.5, 30)
    assert (step.agents, step.priority) == ((), "interactive")


async def test_what_the_run_says_wins(gateway: Gateway) -> None:
    limits = {"max_rounds": 9, "timeout_s": 60}
    await create(gateway, "x", instructions="Be brief.", parameters={"temperature": 0.1}, limits=limits)
    step = await step_0(
        gateway,
        agent="x",
        model="mistral-small-latest",
        instructions="",
        parameters={"top_p": 0.5},
        response_format=VERDICT,
        tools=["http_fetch"],
        max_rounds=2,
        budget_usd=3,
        approval_timeout_s=5,
        priority="batch",
    )
    assert (step.model, step.instructions, step.response_format) == ("mistral-small-latest", "", VERDICT)
    assert (step.parameters.temperature, step.parameters.top_p) == (0.1, 0.5)
    assert [tool.name for tool in step.tools] == ["http_fetch"]
    assert (step.max_rounds, step.timeout_s, step.budget_usd, step.approval_timeout_s) == (2, 60, 3, 5)
    assert step.priority == "batch"


async def test_a_run_without_an_agent_has_the_defaults(gateway: Gateway) -> None:
    step = await step_0(gateway)
    assert (step.agent.name, step.max_rounds, step.timeout_s) == ("assistant", 5, 600)
    assert (step.budget_usd, step.approval_timeout_s, step.response_format) == (None, None, None)
    assert (await step_0(gateway, agent="assistant@1")).agent == step.agent
    assert (await no_run(gateway, agent="assistant@2"))[1] == (
        "the agent assistant has no version 2; it has the versions 1 to 1"
    )
    assert "name@version" in (await no_run(gateway, agent="No Name"))[1]


async def test_a_run_can_only_narrow_the_tools_of_its_agent(gateway: Gateway) -> None:
    await create(gateway, "x", tools=["calculator"])
    assert (await step_0(gateway, agent="x", tools=[])).tools == ()
    field, message = await no_run(gateway, agent="x", tools=["calculator", "http_fetch"])
    assert field == "tools.1"
    assert message == "the agent x@1 may not use 'http_fetch'; its tools are calculator"
    assert (await no_run(gateway, agent="x", tools=["shell"]))[0] == "tools.0"


async def test_a_run_may_name_an_older_version(gateway: Gateway) -> None:
    await create(gateway, "x", instructions="one")
    await change(gateway, "x", instructions="two")
    assert (await step_0(gateway, agent="x")).instructions == "two"
    assert (await step_0(gateway, agent="x@1")).instructions == "one"
    assert "has the versions 1 to 2" in (await no_run(gateway, agent="x@3"))[1]


async def test_rules_say_which_calls_wait_for_a_person(gateway: Gateway) -> None:
    await create(gateway, "by-name", approval_rules=[{"tool": "http_fetch"}])
    await create(gateway, "by-effect", approval_rules=[{"tool": "*", "effect": "irreversible"}])
    await create(gateway, "all", approval_rules=[{"tool": "*"}])
    asked = {}
    for name in ("by-name", "by-effect", "all"):
        step = await step_0(gateway, agent=name)
        asked[name] = [tool.name for tool in step.tools if tool.needs_approval]
    assert asked == {"by-name": ["http_fetch"], "by-effect": [], "all": ["calculator", "http_fetch"]}


async def test_handoffs_and_questions_are_tools_and_come_with_their_agents(gateway: Gateway) -> None:
    await create(gateway, "clerk", description="Files things.", limits={"timeout_s": 20, "max_rounds": 3})
    await create(gateway, "desk", agents=["clerk@1"], tools=["calculator"], response_format=VERDICT)
    await create(gateway, "front", handoffs=["desk"], tools=[])
    await change(gateway, "clerk", description="Loses things.")
    step = await step_0(gateway, agent="front")
    assert [(tool.name, tool.source, tool.effect) for tool in step.tools] == [
        ("handoff_to_desk", "handoff", "pure")
    ]
    assert step.tools[0].settings == {"agent": "desk", "version": 1}
    assert step.tools[0].parameters["required"] == ["reason"]
    desk, clerk = step.agents
    assert (desk.ref.name, desk.response_format, clerk.ref.version) == ("desk", VERDICT, 1)
    assert [tool.name for tool in desk.tools] == ["calculator", "ask_clerk"]
    ask = desk.tools[1]
    assert (ask.source, ask.effect, ask.timeout_s) == ("agent", "idempotent", 20)
    assert ask.settings == {"agent": "clerk", "version": 1, "limits": {"timeout_s": 20, "max_rounds": 3}}
    assert ask.parameters["required"] == ["prompt"]
    assert "Files things." in ask.description


async def test_the_format_that_a_run_asks_for_holds_for_whoever_answers_it(gateway: Gateway) -> None:
    await create(gateway, "clerk", response_format={"type": "string"})
    await create(gateway, "desk", agents=["clerk"], response_format={"type": "number"})
    await create(gateway, "front", handoffs=["desk"])
    step = await step_0(gateway, agent="front", response_format=VERDICT)
    formats = {agent.ref.name: agent.response_format for agent in step.agents}
    assert formats == {"desk": VERDICT, "clerk": {"type": "string"}}


async def test_an_agent_whose_tool_has_gone_says_so_when_it_is_to_run(gateway: Gateway) -> None:
    await create(gateway, "x", tools=["http_fetch"])
    await create(gateway, "front", agents=["x"])
    content = json.dumps({"tools": TOOLS[:1]}).encode()
    await jetstream(gateway.nats).publish(catalog_subject("tools"), content, stream=CATALOG)

    async def is_told() -> bool:
        answer = await gateway.http.post("/api/runs", json={"prompt": "hi", "agent": "x"})
        return answer.status_code == 422

    await eventually(is_told)
    for name in ("x", "front"):
        field, message = await no_run(gateway, agent=name)
        assert field == "agent"
        assert "the agent x@1 cannot be used as it is: tools.0: unknown tool 'http_fetch'" in message


async def test_the_built_in_agent_has_few_tools_and_others_by_name(gateway: Gateway) -> None:
    await create(gateway, "all")
    await create(gateway, "front", agents=["assistant"])
    tools = [{**TOOLS[0], "name": name} for name in ("calculator", "http_fetch", "wandb_log")]
    content = json.dumps({"tools": tools}).encode()
    await jetstream(gateway.nats).publish(catalog_subject("tools"), content, stream=CATALOG)

    async def names(**asked: Any) -> list[str]:
        return [tool.name for tool in (await step_0(gateway, **asked)).tools]

    async def is_known() -> bool:
        return "wandb_log" in await names(agent="all")

    await eventually(is_known)
    assert await names(agent="all") == ["calculator", "http_fetch", "wandb_log"]
    assert await names() == ["calculator", "http_fetch"]
    assert await names(tools=["wandb_log"]) == ["wandb_log"]
    [asked] = (await step_0(gateway, agent="front")).agents
    assert [tool.name for tool in asked.tools] == ["calculator", "http_fetch"]
    off = await gateway.http.patch("/api/tools/http_fetch", json={"enabled": False})
    assert off.status_code == 200, off.text
    assert await names() == ["calculator"]


async def test_a_tool_that_is_named_as_an_agent_would_be_is_a_clash(gateway: Gateway) -> None:
    await create(gateway, "x")
    await create(gateway, "front", agents=["x"])
    assert "has two tools" not in (await step_0(gateway, agent="front")).model_dump_json()
    tools = [*TOOLS, {**TOOLS[0], "name": "ask_x"}]
    content = json.dumps({"tools": tools}).encode()
    await jetstream(gateway.nats).publish(catalog_subject("tools"), content, stream=CATALOG)

    async def is_told() -> bool:
        answer = await gateway.http.post("/api/runs", json={"prompt": "hi", "agent": "front"})
        return answer.status_code == 422

    await eventually(is_told)
    assert "two tools named 'ask_x'" in (await no_run(gateway, agent="front"))[1]


async def test_while_the_database_is_away_the_built_in_agent_runs(nats_url: str, database_url: str) -> None:
    server, _, port_and_name = database_url.rpartition(":")
    async with proxied(database_url) as database:
        away = f"{server}:{database.port}/{port_and_name.partition('/')[2]}"
        async with running_gateway(nats_url, away) as gateway:
            await announce_example(gateway)
            await create(gateway, "x")
            database.target = 1  # nobody listens there
            database.cut()
            assert (await step_0(gateway)).agent.name == "assistant"
            refused(
                "database-away", await gateway.http.post("/api/runs", json={"prompt": "hi", "agent": "x"})
            )
            refused("database-away", await gateway.http.get("/api/agents"))


async def test_the_client_keeps_agents(gateway: Gateway) -> None:
    async with AsyncStudio(gateway.url, gateway.key) as studio:
        first = await studio.create_agent({"name": "x", "instructions": "one", "limits": {"max_rounds": 3}})
        assert (first.version, first.limits.max_rounds) == (1, 3)
        second = await studio.update_agent("x", {**first.definition, "instructions": "two"}, version=1)
        with pytest.raises(Conflict, match="newest version"):
            await studio.update_agent("x", {**first.definition, "instructions": "three"}, version=1)
        assert (second.version, second.limits) == (2, first.limits)
        assert (await studio.agent("x", 1)).instructions == "one"
        diff = await studio.diff_agent("x", 1, 2)
        assert (diff.changes, (diff.instructions or "").splitlines()[-1]) == ((), "+two")
        with pytest.raises(Conflict, match="already"):
            await studio.create_agent(first.definition)
        assert [agent.name async for agent in studio.agents(limit=1)] == ["x"]
        await studio.archive_agent("x")
        assert [agent.name async for agent in studio.agents()] == ["assistant"]
        assert [agent.name async for agent in studio.agents(archived=True)] == ["x"]


async def test_schemas_of_runs_are_looked_at_before_anything_is_accepted(gateway: Gateway) -> None:
    remote = {"$ref": "https://example.com/schema.json"}
    field, message = await no_run(gateway, response_format=remote)
    assert field == "response_format"
    assert "$ref" in message
    secret = {"description": f"aos_{'a' * 32}"}
    assert (await no_run(gateway, response_format=secret))[0] == "response_format"
