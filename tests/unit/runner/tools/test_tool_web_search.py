"""web_search against a server that answers as SearXNG does, and through ddgs on a page of an engine."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ddgs import http_client
from ddgs.exceptions import DDGSException
from pydantic import JsonValue

from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from services.runner.tools.web_search import NOTE, WebSearch
from tests.unit.runner.tools.conftest import Answer, ServerStarter

CONTEXT = ToolContext("default", "run", None, "call", "key")
# What SearXNG answers to /search?format=json, with two of its results.
ANSWER: dict[str, Any] = {
    "query": "nats jetstream",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://docs.nats.io/nats-concepts/jetstream",
            "title": "JetStream | NATS Docs",
            "content": "NATS has a built-in\n persistence engine  called JetStream.",
            "engine": "duckduckgo",
            "parsed_url": ["https", "docs.nats.io", "/nats-concepts/jetstream", "", "", ""],
            "engines": ["duckduckgo"],
            "positions": [1],
            "score": 1.0,
            "category": "general",
        },
        {"url": "https://example.com/", "title": None, "content": "x" * 2000},
    ],
    "answers": [],
    "corrections": [],
    "infoboxes": [],
    "suggestions": [],
    "unresponsive_engines": [],
}
# The parts of DuckDuckGo's page without scripts that ddgs reads.
PAGE = """<html><body><div id="links"><div class="result results_links web-result"><div class="body">
<h2><a href="https://docs.nats.io/">JetStream | NATS Docs</a></h2>
<a class="result__snippet" href="https://docs.nats.io/">A persistence engine.</a>
</div></div></div></body></html>"""


def answers(body: bytes, status: str = "200 OK", head: str = "") -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{head}"
        writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
        await writer.drain()

    return answer


async def search(tool: WebSearch, **more: JsonValue) -> ToolOutcome:
    arguments = {"query": "nats jetstream", **more}
    return await ToolRegistry({"web_search": tool}).call("web_search", arguments, CONTEXT)


async def search_at(url: str, **more: JsonValue) -> ToolOutcome:
    return await search(WebSearch(url, with_ddgs=False), **more)


async def test_results_come_as_title_url_and_snippet_and_are_marked_as_data(
    start_server: ServerStarter,
) -> None:
    server = await start_server(answers(json.dumps(ANSWER).encode()))
    outcome = await search_at(server.url)
    assert outcome.status == "ok", outcome.result
    assert outcome.result == {
        "query": "nats jetstream",
        "note": NOTE,
        "results": [
            {
                "title": "JetStream | NATS Docs",
                "url": "https://docs.nats.io/nats-concepts/jetstream",
                "snippet": "NATS has a built-in persistence engine called JetStream.",
            },
            {"title": "", "url": "https://example.com/", "snippet": f"{'x' * 500}…"},
        ],
    }
    target = urlsplit(server.heads[0].split()[1])
    assert target.path == "/search"
    assert parse_qs(target.query) == {"q": ["nats jetstream"], "format": ["json"]}


async def test_no_more_results_than_asked_for_and_none_that_is_no_web_page(
    start_server: ServerStarter,
) -> None:
    rows = [
        {"url": "javascript:alert(1)", "title": "a"},
        {"url": "file:///etc/passwd", "title": "b"},
        {"url": 5},
        {"title": "no url"},
        "no row",
        {"url": f"https://example.com/{'x' * 3000}"},
        *({"url": f"https://example.com/{n}", "title": "good"} for n in range(9)),
    ]
    server = await start_server(answers(json.dumps({"results": rows}).encode()))
    outcome = await search_at(f"{server.url}/base", limit=3)
    assert isinstance(outcome.result, dict)
    found: Any = outcome.result["results"]
    assert [row["url"] for row in found] == [f"https://example.com/{n}" for n in range(3)]
    assert server.heads[0].startswith("GET /base/search?")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("403 Forbidden", "allow the format json"),
        ("429 Too Many Requests", "too many requests"),
        ("500 Internal Server Error", "refused the search (500)"),
        ("302 Found", "refused the search (302)"),
    ],
)
async def test_a_refusal_is_told_and_no_redirect_is_followed(
    start_server: ServerStarter, status: str, words: str
) -> None:
    server = await start_server(answers(b"no", status, "Location: http://169.254.169.254/\r\n"))
    outcome = await search_at(server.url)
    assert outcome.status == "error"
    assert words in str(outcome.result)
    assert len(server.heads) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"answers": []}', b"[" * 100_000])
async def test_an_answer_that_is_no_list_of_results_is_told(start_server: ServerStarter, body: bytes) -> None:
    outcome = await search_at((await start_server(answers(body))).url)
    assert "no list of results; check WEB_SEARCH_URL" in str(outcome.result)


async def test_a_server_that_is_not_there_is_told() -> None:
    assert "cannot be reached" in str((await search_at("http://127.0.0.1:9")).result)


async def test_nothing_but_the_configured_server_may_be_private(start_server: ServerStarter) -> None:
    server = await start_server(answers(b"{}"))
    other = await start_server(answers(b"{}"))
    tool = WebSearch(server.url, with_ddgs=False)
    async with tool._client.session() as client:
        assert (await client.get(server.url)).status_code == 200
    with pytest.raises(Exception, match="is refused"):
        async with tool._client.session() as client:
            await client.get(other.url)
    assert other.heads == []


async def test_without_any_way_to_search_the_model_and_the_catalogue_are_told() -> None:
    tool = WebSearch(None, with_ddgs=False)
    assert "WEB_SEARCH_URL is not set" in str((await search(tool)).result)
    described = ToolRegistry({"web_search": tool}).catalog()[0]["description"]
    assert str(described).endswith("Cannot be used here: WEB_SEARCH_URL is not set.")


async def test_without_a_server_public_engines_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Recorded:
        status_code, text, content = 200, PAGE, PAGE.encode()

    def request(_: http_client.HttpClient, __: str, url: str, **___: object) -> Recorded:
        asked.append(url)
        return Recorded()

    monkeypatch.setattr(http_client.HttpClient, "request", request)
    monkeypatch.setattr("ddgs.ddgs.ENGINES", {"text": {"duckduckgo": _engine("duckduckgo")}})
    outcome = await search(WebSearch(None, with_ddgs=True))
    assert isinstance(outcome.result, dict), outcome.result
    assert outcome.result["results"] == [
        {"title": "JetStream | NATS Docs", "url": "https://docs.nats.io/", "snippet": "A persistence engine."}
    ]
    assert asked == ["https://html.duckduckgo.com/html/"]


def _engine(name: str) -> type:
    from ddgs.engines import ENGINES

    found: type = ENGINES["text"][name]
    return found


async def test_engines_that_do_not_answer_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(_: http_client.HttpClient, *__: object, **___: object) -> object:
        raise DDGSException("ConnectError: connection refused")

    monkeypatch.setattr(http_client.HttpClient, "request", request)
    outcome = await search(WebSearch(None, with_ddgs=True))
    assert "No public search engine answered" in str(outcome.result)


def test_the_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_SEARCH_URL", "http://searx.intranet:8888/")
    assert ToolSettings().web_search_url == "http://searx.intranet:8888"
    monkeypatch.setenv("WEB_SEARCH_URL", "searx.intranet")
    with pytest.raises(ValueError, match="web_search_url"):
        ToolSettings()
