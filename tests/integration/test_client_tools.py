"""Tools and MCP servers through the client and the `studio` command, at a real gateway."""

import json
from collections.abc import AsyncIterator

import pytest

from services.gateway.tools import examples as shown
from shared.bus import CATALOG, jetstream
from shared.subjects import mcp_subject
from studio import AsyncStudio, Conflict, Invalid, NotFound
from tests.integration.test_gateway_examples import announce_example
from tests.support.commands import Command
from tests.support.gateway import Gateway, running_gateway
from tests.support.waiting import eventually

DEFINITION = json.dumps({name: value for name, value in shown.TOOL.items() if name != "kind"})


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce_example(running)
        yield running


@pytest.fixture
def command(gateway: Gateway) -> Command:
    return Command(gateway)


async def see(gateway: Gateway) -> None:
    """As a runner that has asked the server of the example."""
    seen = shown.SEEN.model_dump_json().encode()
    await jetstream(gateway.nats).publish(mcp_subject("default"), seen, stream=CATALOG)


async def test_the_client_changes_what_a_project_says_of_a_tool(gateway: Gateway) -> None:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        changed = await client.update_tool("calculator", enabled=False, description="Sums.")
        assert (changed.enabled, changed.description, changed.source) == (False, "Sums.", "installed")
        assert (await client.update_tool("calculator", timeout_s=7)).description == "Sums."
        again = await client.update_tool("calculator", enabled=None, description=None)
        assert (again.enabled, again.timeout_s) == (True, 7)
        assert again.description != "Sums."
        assert again in await client.tools()
        with pytest.raises(NotFound):
            await client.update_tool("shell", enabled=False)


async def test_a_tool_can_be_made_again_from_what_the_client_shows_of_it(gateway: Gateway) -> None:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        made = await client.create_tool(json.loads(DEFINITION))
        assert made.request is not None
        assert (made.source, made.request.url) == ("http", shown.TOOL["url"])
        with pytest.raises(Conflict):
            await client.create_tool(json.loads(DEFINITION))
        definition = made.definition
        assert definition is not None
        await client.delete_tool(made.name)
        assert await client.create_tool(definition) == made
        assert (await client.tool("calculator")).definition is None


async def test_the_client_adds_changes_and_removes_an_mcp_server(gateway: Gateway) -> None:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        made = await client.create_mcp_server("docs", shown.SERVER["url"], headers={"Accept-Language": "en"})
        assert (made.headers, made.tools, made.asked_at) == ({"Accept-Language": "en"}, (), None)
        changed = await client.update_mcp_server("docs", allowed_tools=["search"], headers={})
        assert (changed.allowed_tools, changed.headers) == (("search",), {})
        await see(gateway)

        async def is_seen() -> bool:
            return (await client.mcp_server("docs")).tools == ("docs__search",)

        await eventually(is_seen)
        assert (await client.tool("docs__search")).server == "docs"
        with pytest.raises(Invalid):
            await client.update_mcp_server("docs", url="http://10.0.0.1/mcp")
        await client.delete_mcp_server("docs")
        assert await client.mcp_servers() == ()


async def test_tools_are_switched_and_described_by_commands(command: Command) -> None:
    await command("tools", "off", "calculator")
    await command("tools", "describe", "calculator", "Only\x1b sums.")
    await command("tools", "approval", "calculator")
    heading, *rows = (await command("tools")).stdout.splitlines()
    assert heading.split() == ["tool", "from", "effect", "approval", "description"]
    assert any(row.split()[:5] == ["calculator", "off", "installed", "pure", "asks"] for row in rows)
    view = (await command("tools", "show", "calculator")).stdout
    assert "sums." in view
    assert "\x1b" not in view
    await command("tools", "approval", "calculator", "--do-not-ask")
    assert (await command.json("tools", "show", "calculator"))[0]["needs_approval"] is False
    await command("tools", "reset", "calculator")
    tool = next(each for each in await command.json("tools", "list") if each["name"] == "calculator")
    assert tool["enabled"] is True
    assert tool["description"] != "Only sums."


async def test_an_http_tool_is_added_shown_and_removed_by_commands(command: Command) -> None:
    await command("tools", "add", "-", given=DEFINITION)
    shown_again = (await command("tools", "show", "order_status", "--definition")).stdout
    view = (await command("tools", "show", "order_status")).stdout
    for words in ("GET https://api.example.com/orders/{order}", "order  integer", "(may be left out)"):
        assert words in view
    await command("tools", "remove", "order_status")
    await command("tools", "add", "-", given=shown_again)
    assert "is there already" in await command.refused("tools", "add", "-", given=DEFINITION)


async def test_what_cannot_be_done_with_a_tool_is_said_in_the_words_of_the_command_line(
    command: Command,
) -> None:
    for wanted in ("show", "on", "off", "reset", "remove"):
        assert "`studio tools` lists" in await command.refused("tools", wanted, "shell")
    refusal = await command.refused("tools", "remove", "calculator")
    assert "it comes with the runners; `studio tools off calculator` works" in refusal
    refusal = await command.refused("tools", "show", "calculator", "--definition")
    assert "was not added by a definition" in refusal
    assert "must hold one JSON object" in await command.refused("tools", "add", "-", given="[]")
    wrong = json.dumps({**json.loads(DEFINITION), "headers": {"X-Key": "{secret:SHOP}"}})
    assert "unknown secret 'SHOP'" in await command.refused("tools", "add", "-", given=wrong)


async def test_mcp_servers_are_added_shown_switched_and_removed_by_commands(
    gateway: Gateway, command: Command
) -> None:
    assert "`studio mcp add NAME URL`" in (await command("mcp")).stderr
    await command("mcp", "add", "docs", shown.SERVER["url"])
    assert "not yet" in (await command("mcp", "show", "docs")).stdout
    await see(gateway)

    async def is_seen() -> bool:
        return "docs__search" in (await command("mcp", "show", "docs")).stdout

    await eventually(is_seen)
    refusal = await command.refused("tools", "remove", "docs__search")
    assert "it is a tool of the MCP server docs" in refusal
    await command("mcp", "off", "docs")
    assert [server["enabled"] for server in await command.json("mcp")] == [False]
    assert (await command("mcp")).stdout.splitlines()[1].split()[:3] == ["docs", "off", "0"]
    await command("mcp", "remove", "docs")
    assert "there is no MCP server 'docs'" in await command.refused("mcp", "on", "docs")


async def test_headers_of_an_mcp_server_are_given_as_lines(command: Command) -> None:
    given = ("mcp", "add", "docs", shown.SERVER["url"])
    await command(*given, "--header", "Accept-Language: en:gb", "--tool", "search")
    server = (await command.json("mcp", "show", "docs"))[0]
    assert (server["headers"], server["allowed_tools"]) == ({"Accept-Language": "en:gb"}, ["search"])
    refused = await command(*given, "--header", "Bearer-abcdef", code=2)
    assert "'Name: value'" in refused.stderr
    assert "abcdef" not in refused.stderr
