"""HTTP tools and MCP servers from the API to the run's log: gateway, runner, broker and servers are real."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.gateway.examples import CALCULATOR
from shared.bus import CATALOG, jetstream
from shared.catalog import ProjectTools, SecretName, Tools
from shared.subjects import catalog_subject, project_tools_subject
from tests.support.gateway import Gateway, running_gateway
from tests.support.mcp_server import Calls, app_of, docs_server
from tests.support.ports import quiet_ports
from tests.support.processes import service
from tests.support.serving import serving
from tests.support.waiting import eventually

SECRET = "s3cret-value-of-the-shop"
SECRETS = {"SHOP_KEY": SECRET, "BOUND": {"value": SECRET, "hosts": ["a.example"]}}
MCP_PORT, LATER_PORT = quiet_ports(2)
ORDERS: dict[str, Any] = {
    "kind": "http",
    "name": "orders",
    "description": "Tells an order.",
    "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    "headers": {"Authorization": "Bearer {secret:SHOP_KEY}"},
    "effect": "idempotent",
}


@dataclass
class World:
    """The gateway under test, the shop outside it, and what the shop was asked."""

    gateway: Gateway
    log: Path
    shop: str
    asked: list[dict[str, str]]

    @property
    def http(self) -> httpx.AsyncClient:
        return self.gateway.http

    async def run(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """A finished run that called the tool, with its steps by kind."""
        prompt = json.dumps({"tool": tool, "arguments": arguments or {}})
        answer = await self.http.post("/api/runs?wait=20", json={"prompt": prompt, "tools": [tool], **more})
        assert answer.status_code == 200, answer.text
        run: dict[str, Any] = (await self.http.get(f"/api/runs/{answer.json()['run_id']}")).json()
        return {**run, "by_kind": {step["kind"]: step for step in run["steps"]}}

    async def add(self, **changes: Any) -> httpx.Response:
        tool = {**ORDERS, "url": f"{self.shop}/orders/{{order}}", **changes}
        return await self.http.post("/api/tools", json=tool)


@pytest.fixture
async def world(nats_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    asked: list[dict[str, str]] = []

    async def answer(request: Request) -> Response:
        asked.append(dict(request.headers))
        return JSONResponse({"order": request.path_params["order"], "told": request.headers["authorization"]})

    shop = Starlette(routes=[Route("/orders/{order}", answer)])
    async with serving(shop) as url:
        reachable = ",".join(
            [url.removeprefix("http://"), f"127.0.0.1:{MCP_PORT}", f"127.0.0.1:{LATER_PORT}"]
        )
        given = {"TOOLS_ALLOW_PRIVATE": reachable}
        runner = {
            **given,
            "NATS_URL": nats_url,
            "MISTRAL_API_KEY": "not-used",
            "MISTRAL_SERVER_URL": "http://127.0.0.1:9",
            "RUN_ACK_WAIT_S": "2",
            "WORKSPACE_DIR": str(tmp_path / "workspace"),
            "TOOL_SECRETS": json.dumps(
                {"SHOP_KEY": SECRET, "BOUND": {"value": SECRET, "hosts": ["a.example"]}}
            ),
        }
        log = tmp_path / "runner.log"
        async with (
            service("tests.support.remote_runner:make_app", runner, log),
            running_gateway(nats_url, database_url, given) as gateway,
        ):

            async def announced() -> bool:
                return (await gateway.http.get("/api/tools")).status_code == 200

            await eventually(announced)
            yield World(gateway, log, url, asked)


@pytest.fixture
async def desk(nats_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The same without a runner: what one would have announced is there."""
    given = {"TOOLS_ALLOW_PRIVATE": f"127.0.0.1:{MCP_PORT}"}
    secrets = (SecretName(name="SHOP_KEY"), SecretName(name="BOUND", hosts=("a.example",)))
    announced = Tools(tools=(CALCULATOR,), secrets=secrets).model_dump_json().encode()
    async with running_gateway(nats_url, database_url, given) as gateway:
        await jetstream(gateway.nats).publish(catalog_subject("tools"), announced, stream=CATALOG)
        yield World(gateway, tmp_path, f"http://127.0.0.1:{MCP_PORT}", [])


async def test_an_http_tool_is_made_and_called_with_its_secret_and_key(world: World) -> None:
    made = await world.add()
    assert made.status_code == 201, made.text
    assert made.json()["source"] == "http"
    assert made.json()["request"]["headers"] == {"Authorization": "Bearer {secret:SHOP_KEY}"}
    run = await world.run("orders", {"order": 7})
    call, result = run["by_kind"]["tool-call"], run["by_kind"]["tool-result"]
    assert (call["effect"], result["status"]) == ("idempotent", "ok")
    [asked] = world.asked
    assert asked["idempotency-key"] == call["idempotency_key"]
    assert asked["authorization"] == f"Bearer {SECRET}"
    assert result["result"] == {"order": "7", "told": "Bearer [redacted]"}
    seen = [json.dumps(run), made.text, (await world.http.get("/api/tools")).text, world.log.read_text()]
    assert SECRET not in "".join(seen)


async def test_wrong_arguments_reach_the_model_and_not_the_server(world: World) -> None:
    await world.add()
    run = await world.run("orders", {"order": "seven"})
    result = run["by_kind"]["tool-result"]
    assert (result["status"], result["error_type"]) == ("error", "invalid-arguments")
    assert "order: 'seven' is not of type 'integer'" in result["result"]
    assert world.asked == []


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "https://{order}.example.com/"}, "url", "the host is fixed"),
    ({"url": "http://127.0.0.1:1/{order}"}, "url", "not a public server"),
    ({"url": "http://169.254.169.254/{order}"}, "url", "not a public server"),
    ({"url": "https://user:pass@api.example.com/"}, "url", "before the @"),
    ({"url": "https://api.example.com/?key={secret:SHOP_KEY}"}, "url", "belongs into a header"),
    ({"url": "https://api.example.com/{customer}"}, "url", "{customer} must be one of the parameters"),
    ({"url": "ftp://api.example.com/"}, "url", "write the URL in full"),
    ({"parameters": {"type": "text"}}, "parameters", "$.type"),
    ({"parameters": {"type": "array"}}, "parameters", "give type 'object'"),
    ({"parameters": {"type": "object", "$ref": "https://a.example/"}}, "parameters", "within the schema"),
    (
        {"headers": {"X-Key": "{secret:NOBODY}"}},
        "headers",
        "unknown secret 'NOBODY'; the runners know BOUND, SH",
    ),
    ({"headers": {"X-Key": "{secret:BOUND}"}}, "headers", "must not be sent to '127.0.0.1'"),
    ({"headers": {"Authorization": "Bearer abc"}}, "headers.Authorization", "write {secret:NAME}"),
    ({"headers": {"X-Key": "sk-abcdefghijklmnopqrstuvwx"}}, "headers", "looks like a credential"),
    ({"headers": {"Host": "other"}}, "headers.Host", "no header that can be set"),
    ({"headers": {"X-A": "{order}"}}, "headers.X-A", "headers are fixed"),
    ({"headers": {"X-A": "a\r\nX-B: c"}}, "headers.X-A", "printable ASCII"),
    ({"body": {"x": "{order}"}}, "body", "a GET request has no body"),
    (
        {"method": "POST", "url": "https://api.example.com/", "body": {"x": 1}},
        "body",
        "'order' is used nowhere",
    ),
    ({"query": {"q": "{nobody}"}}, "query", "{nobody} is none of the parameters"),
    ({"name": "a__b"}, "name", "must not hold __"),
    ({"name": "handoff_to_x"}, "name", "made elsewhere"),
    ({"timeout_s": 0}, "timeout_s", "greater than 0"),
    ({"kind": "shell"}, "kind", "'http'"),
]


async def test_a_tool_that_cannot_be_is_refused_with_the_field_at_fault(
    desk: World, subtests: pytest.Subtests
) -> None:
    for changes, name, words in REFUSED:
        with subtests.test(changes=changes):
            answer = await desk.add(**changes)
            assert answer.status_code == 422, answer.text
            assert name in {error["field"] for error in answer.json()["errors"]}
            assert words in answer.json()["detail"]
    assert (await desk.add(name="calculator")).status_code == 409
    assert (await desk.http.get("/api/tools/orders")).status_code == 404


async def test_a_name_is_taken_once_and_a_repeated_request_is_one(desk: World) -> None:
    key = {"Idempotency-Key": "one"}
    tool = {**ORDERS, "url": f"{desk.shop}/orders/{{order}}"}
    first = await desk.http.post("/api/tools", json=tool, headers=key)
    again = await desk.http.post("/api/tools", json=tool, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert (await desk.add()).status_code == 409


async def test_a_tool_that_is_switched_off_is_not_offered_and_naming_it_is_refused(world: World) -> None:
    await world.add()
    for name in ("orders", "calculator"):
        changed = await world.http.patch(f"/api/tools/{name}", json={"enabled": False})
        assert changed.json()["enabled"] is False
        answer = await world.http.post("/api/runs", json={"prompt": "hi", "tools": [name]})
        assert answer.status_code == 422
        assert f"the tool {name!r} is switched off in this project" in answer.json()["detail"]
    run = (await world.http.post("/api/runs?wait=20", json={"prompt": '{"tool": "none"}'})).json()["run_id"]
    request = (await world.http.get(f"/api/runs/{run}")).json()["steps"][0]
    offered = {tool["name"] for tool in request["tools"]}
    assert offered
    assert not offered & {"orders", "calculator"}
    await world.http.patch("/api/tools/orders", json={"enabled": None})
    assert (await world.run("orders", {"order": 1}))["by_kind"]["tool-result"]["status"] == "ok"


async def test_what_a_project_says_of_a_tool_is_in_the_run_and_nobody_elses(world: World) -> None:
    said = {"description": "Sums.", "timeout_s": 2.5, "needs_approval": False}
    changed = (await world.http.patch("/api/tools/calculator", json=said)).json()
    assert {name: changed[name] for name in said} == said
    run = await world.run("calculator", {"operation": "add", "x": 1, "y": 2})
    [tool] = run["steps"][0]["tools"]
    assert {name: tool[name] for name in said} == said
    stranger = {"Authorization": f"Bearer {await world.gateway.key_for('other')}"}
    theirs = (await world.http.get("/api/tools/calculator", headers=stranger)).json()
    assert theirs["description"] != "Sums."
    back = await world.http.patch("/api/tools/calculator", json=dict.fromkeys(said))
    assert back.json() == theirs
    assert (await world.http.patch("/api/tools/nobody", json=said)).status_code == 404


async def test_tools_and_servers_of_a_project_are_nobody_elses(desk: World) -> None:
    await desk.add()
    await desk.http.post("/api/mcp-servers", json={"name": "docs", "url": f"http://127.0.0.1:{MCP_PORT}/mcp"})
    stranger = {"Authorization": f"Bearer {await desk.gateway.key_for('other')}"}
    for method, path in (
        ("GET", "/api/tools/orders"),
        ("DELETE", "/api/tools/orders"),
        ("GET", "/api/mcp-servers/docs"),
        ("PATCH", "/api/mcp-servers/docs"),
        ("DELETE", "/api/mcp-servers/docs"),
    ):
        body = {"enabled": False} if method == "PATCH" else None
        answer = await desk.http.request(method, path, headers=stranger, json=body)
        assert answer.status_code == 404, (method, path)
    refused = await desk.http.post("/api/runs", json={"prompt": "hi", "tools": ["orders"]}, headers=stranger)
    assert "unknown tool 'orders'" in refused.json()["detail"]


async def test_a_deleted_tool_is_gone_and_an_installed_one_stays(desk: World) -> None:
    await desk.add()
    await desk.http.patch("/api/tools/orders", json={"enabled": False})
    assert (await desk.http.delete("/api/tools/orders")).status_code == 204
    assert (await desk.http.delete("/api/tools/orders")).status_code == 404
    assert (await desk.http.delete("/api/tools/calculator")).status_code == 422
    assert (await desk.add()).json()["enabled"] is True


async def server(world: World, name: str = "docs") -> dict[str, Any]:
    view: dict[str, Any] = (await world.http.get(f"/api/mcp-servers/{name}")).json()
    return view


async def test_the_tools_of_an_mcp_server_are_listed_and_called(world: World) -> None:
    calls = Calls()
    async with serving(app_of(docs_server(calls)), MCP_PORT) as url:
        made = await world.http.post("/api/mcp-servers", json={"name": "docs", "url": f"{url}/mcp"})
        assert made.status_code == 201, made.text
        assert (made.json()["tools"], made.json()["asked_at"]) == ([], None)

        async def listed() -> bool:
            return len((await server(world))["tools"]) == 4

        await eventually(listed)
        tool = (await world.http.get("/api/tools/docs__search")).json()
        assert (tool["source"], tool["server"], tool["effect"]) == ("mcp", "docs", "pure")
        run = await world.run("docs__search", {"query": "nats"})
        assert run["by_kind"]["tool-result"]["result"] == {"result": "found nats"}
        assert run["status"] == "completed"
        await world.http.patch("/api/mcp-servers/docs", json={"allowed_tools": ["search"]})
        assert (await server(world))["tools"] == ["docs__search"]
        refused = await world.http.post("/api/runs", json={"prompt": "hi", "tools": ["docs__tag"]})
        assert refused.status_code == 422
        await world.http.patch("/api/mcp-servers/docs", json={"enabled": False})
        assert (await server(world))["tools"] == []
        assert (await world.http.get("/api/tools/docs__search")).status_code == 404
    assert calls == ["search nats"]


async def test_an_mcp_server_that_is_down_is_told_to_the_model_and_the_run_goes_on(world: World) -> None:
    async with serving(app_of(docs_server(Calls())), MCP_PORT) as url:
        await world.http.post("/api/mcp-servers", json={"name": "docs", "url": f"{url}/mcp"})
        await eventually(lambda: _has_tools(world))
    run = await world.run("docs__send_mail")
    result = run["by_kind"]["tool-result"]
    assert result["status"] == "error"
    assert "The MCP server docs is down" in result["result"]
    assert run["status"] == "completed"
    assert [step["seq"] for step in run["steps"]] == list(range(len(run["steps"])))


async def _has_tools(world: World) -> bool:
    return bool((await server(world))["tools"])


async def test_a_server_that_never_answered_says_so_in_the_list(world: World) -> None:
    url = f"http://127.0.0.1:{LATER_PORT}/mcp"
    await world.http.post("/api/mcp-servers", json={"name": "later", "url": url})

    async def told() -> str | None:
        error: str | None = (await server(world, "later"))["error"]
        return error

    assert "cannot be reached (ConnectError)" in await eventually(told)
    refused = await world.http.post("/api/runs", json={"prompt": "hi", "tools": ["later__search"]})
    assert refused.status_code == 422
    assert "of the MCP server later is known: The MCP server later is down" in refused.json()["detail"]


REFUSED_SERVERS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "a__b"}, "name", "pattern"),
    ({"url": "http://127.0.0.1:1/mcp"}, "url", "not a public server"),
    ({"url": "https://a.example/{x}"}, "url", "is fixed"),
    ({"headers": {"Mcp-Session-Id": "1"}}, "headers.Mcp-Session-Id", "no header that can be set"),
    ({"headers": {"X-Key": "{secret:NOBODY}"}}, "headers", "unknown secret"),
]


async def test_a_server_that_cannot_be_is_refused(desk: World, subtests: pytest.Subtests) -> None:
    for changes, name, words in REFUSED_SERVERS:
        with subtests.test(changes=changes):
            given = {"name": "docs", "url": "https://mcp.example.com/mcp", **changes}
            answer = await desk.http.post("/api/mcp-servers", json=given)
            assert answer.status_code == 422, answer.text
            assert name in {error["field"] for error in answer.json()["errors"]}
            assert words in answer.json()["detail"]


async def test_a_bus_that_forgot_what_projects_say_is_told_again(
    nats_url: str, database_url: str, desk: World
) -> None:
    await desk.add()
    js = jetstream(desk.gateway.nats)
    await js.purge_stream(CATALOG, subject=project_tools_subject("default"))
    async with running_gateway(nats_url, database_url):

        async def told() -> bool:
            info = await js.stream_info(CATALOG, project_tools_subject("*"))
            return bool(info.state.subjects)

        await eventually(told)
    message = await js.get_last_msg(CATALOG, project_tools_subject("default"))
    assert [tool.name for tool in ProjectTools.model_validate_json(message.data or b"").http] == ["orders"]
