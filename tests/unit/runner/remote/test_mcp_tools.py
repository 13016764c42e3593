"""Tools of real MCP servers: listed, called, and lost."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types
import pytest

from services.runner.remote.listing import listing
from services.runner.remote.mcp import ServerAddress
from services.runner.remote.settings import RemoteSettings
from services.runner.remote.tools import RemoteTools
from services.runner.tools.base import ToolContext
from shared.catalog import LOCAL, McpListing
from shared.steps import Effect, ToolSpec
from tests.support.mcp_server import Calls, Guarded, WithSessions, app_of, docs_server, lying_app
from tests.support.ports import quiet_ports
from tests.support.serving import serving
from tests.support.waiting import eventually

CONTEXT = ToolContext(
    project="default", run_id="run", session_id=None, call_id="call", idempotency_key="run:call"
)
SECRET = "token-of-the-documents"


@pytest.fixture
def calls() -> Calls:
    return Calls()


@asynccontextmanager
async def reaching(*urls: str, **settings: Any) -> AsyncIterator[RemoteTools]:
    allowed = ",".join(url.removeprefix("http://") for url in urls)
    remote = RemoteTools(RemoteSettings(tools_allow_private=allowed, **settings))
    try:
        yield remote
    finally:
        await remote.close()


def docs_at(url: str, **headers: str) -> ServerAddress:
    return ServerAddress("default", "docs", f"{url}/mcp", tuple(headers.items()))


def spec(listing: McpListing, name: str, server: ServerAddress, timeout_s: float = 5.0) -> ToolSpec:
    """The tool as a run carries it."""
    tool = next(each for each in listing.tools if each.name == name)
    where = {"url": server.url, "headers": dict(server.headers)} if server.url else {}
    return tool.spec.model_copy(update={"settings": {**tool.settings, **where}, "timeout_s": timeout_s})


async def test_tools_are_listed_with_the_effect_that_the_server_claims(calls: Calls) -> None:
    async with serving(app_of(docs_server(calls))) as url, reaching(url) as remote:
        listing = await remote.servers.tools(docs_at(url))
    assert listing.error is None
    assert {tool.name: tool.effect for tool in listing.tools} == {
        "docs__search": Effect.PURE,
        "docs__tag": Effect.IDEMPOTENT,
        "docs__send_mail": Effect.IRREVERSIBLE,
        "docs__refuse": Effect.IRREVERSIBLE,
    }
    assert listing.tools[0].parameters["required"] == ["query"]
    assert {tool.source for tool in listing.tools} == {"mcp"}


async def test_tools_are_called_over_one_session(calls: Calls) -> None:
    async with serving(app_of(docs_server(calls))) as url, reaching(url) as remote:
        server = docs_at(url)
        listing = await remote.servers.tools(server)
        found = await remote.call(spec(listing, "docs__search", server), {"query": "nats"}, CONTEXT)
        tagged = await remote.call(spec(listing, "docs__tag", server), {"name": "abc"}, CONTEXT)
        sent = await remote.call(spec(listing, "docs__send_mail", server), {}, CONTEXT)
        refused = await remote.call(spec(listing, "docs__refuse", server), {}, CONTEXT)
        assert len((await remote.servers._open())._sessions._sessions) == 1
    assert found.result == {"result": "found nats"}
    assert tagged.result == {"tags": 3}
    assert sent.result == {"result": "sent"}
    assert refused.status == "error"
    assert "Error executing tool refuse" in str(refused.result)
    assert calls == ["search nats", "tag abc", "send.mail"]


async def test_secrets_travel_in_headers_and_nowhere_else(calls: Calls) -> None:
    guarded = Guarded(app_of(docs_server(calls)), (b"authorization", f"Bearer {SECRET}".encode()))
    async with (
        serving(guarded) as url,
        reaching(url, tool_secrets={"DOCS": {"value": SECRET, "projects": ["default"]}}) as remote,
    ):
        server = docs_at(url, Authorization="Bearer {secret:DOCS}")
        assert (await remote.servers.tools(server)).error is None
        without = await remote.servers.tools(docs_at(url))
        stranger = ServerAddress("other", "docs", server.url, server.headers)
        foreign = await remote.servers.tools(stranger)
    assert guarded.passed > 0
    assert "The MCP server docs is down: it refused the session" in str(without.error)
    assert "The secret DOCS that this tool needs is not there" in str(foreign.error)
    assert SECRET not in f"{without} {foreign}"


async def test_a_server_that_is_down_is_told_and_comes_back(calls: Calls) -> None:
    [port] = quiet_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = docs_at(url)
    async with reaching(url) as remote:
        async with serving(app_of(docs_server(calls)), port):
            listing = await remote.servers.tools(server)
        search = spec(listing, "docs__search", server)
        mail = spec(listing, "docs__send_mail", server)
        for tool in (search, mail):
            outcome = await remote.call(tool, {"query": "nats"} if tool is search else {}, CONTEXT)
            assert outcome.status == "error"
            assert "The MCP server docs is down: it cannot be reached (ConnectError)." in str(outcome.result)
        assert "is down" in str((await remote.servers.tools(server)).error)
        async with serving(app_of(docs_server(calls)), port):
            assert (await remote.call(mail, {}, CONTEXT)).result == {"result": "sent"}


async def test_a_session_that_the_server_forgot_is_opened_again(calls: Calls) -> None:
    [port] = quiet_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = docs_at(url)
    async with reaching(url) as remote:
        async with serving(WithSessions(app_of(docs_server(calls))), port):
            mail = spec(await remote.servers.tools(server), "docs__send_mail", server)
        async with serving(WithSessions(app_of(docs_server(calls))), port):
            assert (await remote.call(mail, {}, CONTEXT)).result == {"result": "sent"}
    assert calls == ["send.mail"]


async def test_a_call_that_takes_too_long_leaves_the_session_to_others(calls: Calls) -> None:
    async with serving(app_of(docs_server(calls))) as url, reaching(url) as remote:
        server = docs_at(url)
        listing = await remote.servers.tools(server)
        slow = spec(listing, "docs__send_mail", server, timeout_s=0.3)
        late, found = await asyncio.gather(
            remote.call(slow, {"seconds": 5.0}, CONTEXT),
            remote.call(spec(listing, "docs__search", server), {"query": "x"}, CONTEXT),
        )
    assert "did not answer within 0.3 seconds; whether it did what it was asked is unknown" in str(
        late.result
    )
    assert found.status == "ok"


async def test_a_server_that_dies_in_the_middle_leaves_the_outcome_unknown(calls: Calls) -> None:
    [port] = quiet_ports(1)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.mcp_stdio", str(port))
    url = f"http://127.0.0.1:{port}"
    server = docs_at(url)
    async with reaching(url) as remote:

        async def listed() -> McpListing | None:
            listing = await remote.servers.tools(server)
            return listing if listing.error is None else None

        listing = await eventually(listed, within_s=20)
        mail = spec(listing, "docs__send_mail", server, timeout_s=10.0)
        calling = asyncio.create_task(remote.call(mail, {"seconds": 30.0}, CONTEXT))
        await asyncio.wait({calling}, timeout=0.5)
        process.kill()
        outcome = await asyncio.wait_for(calling, 8)
    await process.wait()
    assert outcome.status == "error"
    assert "whether it did what it was asked is unknown" in str(outcome.result)


NO_TYPE = {"type": "object", "properties": {"x": {"type": "text"}}}
REMOTE = {"type": "object", "$ref": "http://127.0.0.1/x"}
LIES: list[tuple[dict[str, Any], str]] = [
    (
        {"name": "a", "inputSchema": {"type": "object", "properties": {"x": {"type": "text"}}}},
        "$.properties.x",
    ),
    (
        {"name": "a", "inputSchema": {"type": "object", "$ref": "http://127.0.0.1/x"}},
        "only references within",
    ),
    ({"name": "a" * 70, "inputSchema": {"type": "object"}}, "more than 64 characters"),
]


@pytest.mark.parametrize(("tool", "words"), LIES)
async def test_a_tool_that_lies_about_its_schema_is_left_out_and_named(
    tool: dict[str, Any], words: str
) -> None:
    honest = {"name": "b", "inputSchema": {"type": "object"}}
    async with serving(lying_app([tool, honest, honest])) as url, reaching(url) as remote:
        listing = await remote.servers.tools(docs_at(url))
    assert [each.name for each in listing.tools] == ["docs__b"]
    assert words in str(listing.error)
    assert "b: the name is there twice" in str(listing.error)


@pytest.mark.parametrize("schema", [{"type": "string"}, {}, {"type": ["object", "null"]}])
def test_a_tool_that_takes_no_object_is_left_out(schema: dict[str, Any]) -> None:
    """A provider would refuse it, and every tool beside it."""
    made = listing("docs", [mcp_types.Tool.model_construct(name="a", input_schema=schema)])
    assert made.tools == ()
    assert "a: its schema is not that of an object" in str(made.error)


async def test_a_private_server_is_not_asked(calls: Calls) -> None:
    async with serving(app_of(docs_server(calls))) as url, reaching() as remote:
        listing = await remote.servers.tools(docs_at(url))
    assert "is not a public server" in str(listing.error)


async def test_a_local_server_is_spoken_to_over_its_standard_streams(tmp_path: Any) -> None:
    told = tmp_path / "env"
    settings = {
        "mcp_stdio": {
            "own": {
                "command": sys.executable,
                "args": ["-m", "tests.support.mcp_stdio"],
                "env": {"TOLD": str(told), "TOKEN": "{secret:OWN}", "PYTHONPATH": "."},
            }
        },
        "tool_secrets": {"OWN": SECRET},
    }
    async with reaching(**settings) as remote:
        server = ServerAddress(LOCAL, "own")
        listing = await remote.servers.tools(server)
        assert listing.error is None
        outcome = await remote.call(spec(listing, "own__search", server), {"query": "x"}, CONTEXT)
        assert outcome.result == {"result": "found x"}
        assert told.read_text() == SECRET
        unknown = spec(listing, "own__search", server).model_copy(
            update={"settings": {"server": "stranger", "tool": "search"}}
        )
        assert "no MCP server stranger" in str((await remote.call(unknown, {}, CONTEXT)).result)


async def test_a_local_server_that_does_not_start_is_told() -> None:
    async with reaching(mcp_stdio={"own": {"command": "/no/such/program"}}) as remote:
        listing = await remote.servers.tools(ServerAddress(LOCAL, "own"))
    assert listing.error == "The MCP server own is down: it cannot be reached (FileNotFoundError)."


async def test_the_library_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, services.runner.app; sys.exit({'mcp', 'mcp_types'} & sys.modules.keys() != set())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
