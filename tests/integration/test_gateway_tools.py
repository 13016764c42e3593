"""Tools and MCP servers in the API: as its description shows them, at several gateways, with parts away."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway import examples
from services.gateway.tools import examples as shown
from shared.bus import CATALOG, jetstream
from shared.subjects import mcp_subject
from tests.integration.test_gateway_examples import announce_example, refused, same
from tests.support.gateway import Gateway, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce_example(running)
        yield running


async def test_tools_look_as_in_the_examples(gateway: Gateway) -> None:
    http = gateway.http
    same("tool", await http.get("/api/tools/calculator"), run_id=examples.RUN_ID)
    same("http-tool", await http.post("/api/tools", json=shown.TOOL), 201, run_id=examples.RUN_ID)
    changed = await http.patch("/api/tools/calculator", json=shown.CHANGE)
    same("switched-tool", changed, run_id=examples.RUN_ID)


async def test_servers_look_as_in_the_examples(gateway: Gateway) -> None:
    http = gateway.http
    made = await http.post("/api/mcp-servers", json=shown.SERVER)
    same("new-mcp-server", made, 201, run_id=examples.RUN_ID)
    seen = shown.SEEN.model_dump_json().encode()
    await jetstream(gateway.nats).publish(mcp_subject("default"), seen, stream=CATALOG)

    async def is_seen() -> bool:
        return bool((await http.get("/api/mcp-servers/docs")).json()["tools"])

    await eventually(is_seen)
    same("mcp-server", await http.get("/api/mcp-servers/docs"), run_id=examples.RUN_ID)
    same("mcp-servers", await http.get("/api/mcp-servers"), run_id=examples.RUN_ID)
    for example in examples.MCP_SERVER_CHANGE.values():
        assert (await http.patch("/api/mcp-servers/docs", json=example.value)).status_code == 200


async def test_every_example_of_a_body_is_accepted(gateway: Gateway) -> None:
    for example in examples.HTTP_TOOL_INPUT.values():
        assert (await gateway.http.post("/api/tools", json=example.value)).status_code == 201
    for example in examples.MCP_SERVER_INPUT.values():
        assert (await gateway.http.post("/api/mcp-servers", json=example.value)).status_code == 201
    for example in examples.TOOL_CHANGE.values():
        assert (await gateway.http.patch("/api/tools/ping", json=example.value)).status_code == 200


async def test_refusals_are_as_in_the_examples(gateway: Gateway) -> None:
    http = gateway.http
    await http.post("/api/mcp-servers", json=shown.SERVER)
    refused("no-such-tool", await http.get("/api/tools/shell"))
    refused("tool-exists", await http.post("/api/tools", json={**shown.TOOL, "name": "calculator"}))
    refused("installed-tool", await http.delete("/api/tools/calculator"))
    refused("no-such-server", await http.get("/api/mcp-servers/wiki"))
    refused("server-exists", await http.post("/api/mcp-servers", json=shown.SERVER))
    wrong: dict[str, dict[str, Any]] = {
        "private-tool": {"url": "http://127.0.0.1:8080/{order}"},
        "fixed-host": {"url": "https://{order}.example.com/"},
        "unknown-secret": {"headers": {"X-Key": "{secret:SHOP_KEY}"}},
    }
    for name, changes in wrong.items():
        refused(name, await http.post("/api/tools", json={**shown.TOOL, **changes}))


async def test_a_change_counts_at_every_gateway(nats_url: str, database_url: str, gateway: Gateway) -> None:
    async with running_gateway(nats_url, database_url) as other:
        assert (await other.http.get("/api/tools/calculator")).json()["enabled"] is True
        await gateway.http.patch("/api/tools/calculator", json={"enabled": False})

        async def is_off() -> bool:
            return (await other.http.get("/api/tools/calculator")).json()["enabled"] is False

        await eventually(is_off, within_s=5)
        for each in (gateway, other):
            answer = await each.http.post("/api/runs", json={"prompt": "hi", "tools": ["calculator"]})
            assert answer.status_code == 422
            assert "switched off" in answer.json()["detail"]


async def test_without_the_database_switches_hold_and_cannot_be_changed(
    nats_url: str, database_url: str
) -> None:
    real = database_url.rpartition(":")
    _, _, name = real[2].partition("/")
    async with (
        proxied(database_url) as proxy,
        running_gateway(nats_url, f"{real[0]}:{proxy.port}/{name}") as gateway,
    ):
        await announce_example(gateway)
        await gateway.http.patch("/api/tools/calculator", json={"enabled": False})
        proxy.target = 1  # nobody listens there
        proxy.cut()
        answer = await gateway.http.post("/api/runs", json={"prompt": "hi", "tools": ["calculator"]})
        assert "switched off" in answer.json()["detail"]
        refused("database-away", await gateway.http.patch("/api/tools/calculator", json={"enabled": True}))
        assert (await gateway.http.get("/api/tools/calculator")).json()["enabled"] is False


async def test_without_the_broker_nothing_is_changed(nats_url: str, database_url: str) -> None:
    async with proxied(nats_url) as proxy, running_gateway(proxy.url, database_url) as gateway:
        await announce_example(gateway)
        assert (await gateway.http.get("/api/tools/calculator")).json()["enabled"] is True
        proxy.target = 1
        proxy.cut()
        answer = await gateway.http.patch("/api/tools/calculator", json={"enabled": False})
        assert answer.status_code == 503
        async with gateway.database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM project_tools") == 0


async def test_a_project_has_a_bounded_number_of_tools(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.tools.book.MOST", {"http": 1, "mcp": 1, "override": 1})
    http = gateway.http
    assert (await http.post("/api/tools", json=shown.TOOL)).status_code == 201
    second = await http.post("/api/tools", json=shown.SHORTEST_TOOL)
    assert second.status_code == 422
    assert "this project has 1 of them, which is the most" in second.json()["detail"]


async def test_an_mcp_server_that_is_changed_is_checked_as_a_new_one(gateway: Gateway) -> None:
    await gateway.http.post("/api/mcp-servers", json=shown.SERVER)
    moved = await gateway.http.patch("/api/mcp-servers/docs", json={"url": "http://10.0.0.1/mcp"})
    assert moved.status_code == 422
    assert "not a public server" in moved.json()["detail"]
    assert (await gateway.http.get("/api/mcp-servers/docs")).json()["url"] == shown.SERVER["url"]
    assert (await gateway.http.delete("/api/mcp-servers/docs")).status_code == 204
    assert (await gateway.http.delete("/api/mcp-servers/docs")).status_code == 404
