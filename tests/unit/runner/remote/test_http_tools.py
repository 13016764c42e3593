"""HTTP tools against a small real server: what is sent, what comes back, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from services.runner.remote.settings import RemoteSettings
from services.runner.remote.tools import RemoteTools
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolOutcome
from shared.catalog import HttpTool
from shared.http_request import HttpRequest
from shared.steps import Effect, ToolSpec
from tests.support.serving import serving

SECRET = "s3cret-value-of-the-shop"


class Shop:
    """A server and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.elsewhere = ""

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "PUT", "DELETE"])]
        )

    async def answer(self, request: Request) -> Response:
        body = (await request.body()).decode()
        self.requests.append(
            {
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "headers": dict(request.headers),
                "body": json.loads(body) if body else None,
            }
        )
        match request.path_params["path"]:
            case "text":
                return PlainTextResponse("é is text")
            case "image":
                return Response(b"\x89PNG", media_type="image/png")
            case "missing":
                return PlainTextResponse("no such order " + "x" * 5000, 404)
            case "large":
                return PlainTextResponse("y" * 200_000)
            case "endless":
                return StreamingResponse(self._forever(), media_type="text/plain")
            case "slow":
                async with asyncio.timeout(30):
                    await request.receive()  # the client has left
            case "bad-json":
                return Response("{no json", media_type="application/json")
            case "no-number":
                return Response('{"total": NaN}', media_type="application/json")
            case "packed":
                return Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}, media_type="text/plain")
            case "moved":
                return RedirectResponse("/text", 307)
            case "circle":
                return RedirectResponse("/circle")
            case "away":
                return RedirectResponse(self.elsewhere)
            case "cookie":
                return PlainTextResponse("set", headers={"set-cookie": "session=1"})
        return JSONResponse({"path": request.url.path})

    async def _forever(self) -> AsyncIterator[bytes]:
        while True:
            yield b"z" * 65_536
            await asyncio.sleep(0)  # so that the news of the client's leaving comes through


@asynccontextmanager
async def remote_tools(**settings: Any) -> AsyncIterator[RemoteTools]:
    remote = RemoteTools(RemoteSettings(**settings))
    try:
        yield remote
    finally:
        await remote.close()


def spec(url: str, *, timeout_s: float = 5.0, effect: Effect = Effect.PURE, **request: Any) -> ToolSpec:
    template = HttpRequest(url=url, **request)
    tool = HttpTool(name="shop", description="The shop.", parameters={}, request=template, effect=effect)
    return tool.tool.spec.model_copy(update={"timeout_s": timeout_s})


CONTEXT = ToolContext(
    project="default", run_id="run", session_id=None, call_id="call", idempotency_key="run:call"
)


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def url(shop: Shop) -> AsyncIterator[str]:
    async with serving(shop.app) as url:
        yield url


@pytest.fixture
async def remote(url: str) -> AsyncIterator[RemoteTools]:
    secrets = {
        "SHOP_KEY": {"value": SECRET, "hosts": ["127.0.0.1"], "projects": ["default"]},
        "ELSEWHERE": {"value": "another-secret", "hosts": ["api.example.com"]},
    }
    async with remote_tools(tools_allow_private=url.removeprefix("http://"), tool_secrets=secrets) as remote:
        yield remote


def said(outcome: ToolOutcome) -> str:
    assert outcome.status == "error"
    assert isinstance(outcome.result, str)
    return outcome.result


async def test_a_request_carries_arguments_key_and_secret(remote: RemoteTools, shop: Shop, url: str) -> None:
    tool = spec(
        f"{url}/orders/{{order}}",
        method="PUT",
        headers={"Authorization": "Bearer {secret:SHOP_KEY}", "X-Shop": "7"},
        query={"dry": "{dry}"},
    )
    outcome = await remote.call(tool, {"order": "a/b", "dry": True, "note": "ü"}, CONTEXT)
    assert (outcome.status, outcome.result) == ("ok", {"path": "/orders/a/b"})
    [request] = shop.requests
    assert (request["method"], request["query"], request["body"]) == ("PUT", "dry=true", {"note": "ü"})
    headers = request["headers"]
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["idempotency-key"] == "run:call"
    assert (headers["x-shop"], headers["content-type"]) == ("7", "application/json")


ANSWERS: list[tuple[str, Any]] = [
    ("text", "é is text"),
    ("image", {"content_type": "image/png", "note": "The content is not text, so it is not shown."}),
    ("bad-json", "{no json"),
    ("no-number", '{"total": NaN}'),
    ("moved", "é is text"),
]


@pytest.mark.parametrize(("path", "result"), ANSWERS)
async def test_an_answer_is_told_as_what_it_is(remote: RemoteTools, url: str, path: str, result: Any) -> None:
    outcome = await remote.call(spec(f"{url}/{path}"), {}, CONTEXT)
    assert (outcome.status, outcome.result) == ("ok", result)


@pytest.mark.parametrize("path", ["large", "endless"])
async def test_a_long_answer_is_cut_with_a_mark(remote: RemoteTools, url: str, path: str) -> None:
    outcome = await remote.call(spec(f"{url}/{path}", max_response_bytes=1000), {}, CONTEXT)
    assert isinstance(outcome.result, str)
    assert outcome.result.endswith("\n[cut: the answer is longer than the limit of 1000 bytes]")
    assert len(outcome.result) < 1100


REFUSALS = [
    ("missing", "127.0.0.1 answered 404 Not Found: no such order x"),
    ("circle", "redirects more than 5 times"),
    ("packed", "broke off (RemoteProtocolError)"),
]


@pytest.mark.parametrize(("path", "words"), REFUSALS)
async def test_what_is_no_answer_is_a_clear_error(
    remote: RemoteTools, url: str, path: str, words: str
) -> None:
    told = said(await remote.call(spec(f"{url}/{path}"), {}, CONTEXT))
    assert words in told
    assert len(told) < 2200


async def test_a_redirect_to_another_server_is_not_followed(
    remote: RemoteTools, shop: Shop, url: str
) -> None:
    other = Shop()
    async with serving(other.app) as elsewhere:
        shop.elsewhere = f"{elsewhere}/text"
        tool = spec(f"{url}/away", headers={"X-Key": "{secret:SHOP_KEY}"})
        assert "sends on to another server" in said(await remote.call(tool, {}, CONTEXT))
    assert other.requests == []


async def test_what_takes_too_long_may_have_happened(remote: RemoteTools, url: str) -> None:
    outcome = await remote.call(spec(f"{url}/slow", timeout_s=0.2), {}, CONTEXT)
    assert "did not answer within 0.2 seconds; whether the request took effect is unknown" in said(outcome)
    assert outcome.latency_ms < 2000


async def test_a_server_that_is_away_was_sent_nothing() -> None:
    async with remote_tools(tools_allow_private="127.0.0.1:1") as remote:
        told = said(await remote.call(spec("http://127.0.0.1:1/"), {}, CONTEXT))
    assert told == "127.0.0.1 cannot be reached (ConnectError); nothing was sent."


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_private_server_is_not_reached(shop: Shop, url: str, host: str) -> None:
    port = url.rpartition(":")[2]
    async with remote_tools() as remote:
        told = said(await remote.call(spec(f"http://{host}:{port}/text"), {}, CONTEXT))
    assert "is not a public server, so nothing was sent" in told
    assert shop.requests == []


async def test_no_cookie_of_one_call_is_sent_by_another(remote: RemoteTools, shop: Shop, url: str) -> None:
    for path in ("cookie", "text"):
        await remote.call(spec(f"{url}/{path}"), {}, CONTEXT)
    assert "cookie" not in shop.requests[-1]["headers"]


FOREIGN = [
    ("ELSEWHERE", "default"),  # of another host
    ("SHOP_KEY", "other"),  # of another project
    ("NOBODY", "default"),
]


@pytest.mark.parametrize(("secret", "project"), FOREIGN)
async def test_a_secret_goes_only_where_it_may(
    remote: RemoteTools, shop: Shop, url: str, secret: str, project: str
) -> None:
    tool = spec(f"{url}/text", headers={"X-Key": f"{{secret:{secret}}}"})
    context = ToolContext(project, "run", None, "call", "key")
    told = said(await remote.call(tool, {}, context))
    assert f"The secret {secret} that this tool needs is not there or must not be sent" in told
    assert shop.requests == []


async def test_calls_of_one_tool_wait_for_a_place(
    remote: RemoteTools, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runner.remote.tools.PLACE_WAIT_S", 0.1)
    monkeypatch.setattr("services.runner.remote.tools.RemoteTool.concurrency", 1)
    slow = asyncio.create_task(remote.call(spec(f"{url}/slow", timeout_s=1.0), {}, CONTEXT))
    await asyncio.sleep(0)
    assert "is busy" in said(await remote.call(spec(f"{url}/text"), {}, CONTEXT))
    await slow
    assert (await remote.call(spec(f"{url}/text"), {}, CONTEXT)).status == "ok"


def test_arguments_are_held_against_the_schema() -> None:
    remote = RemoteTools(RemoteSettings())
    tool = ToolSpec(name="shop", description="", parameters={"required": ["order"]}, source="http")
    assert "'order' is a required property" in str(remote.complaint(tool, {}))
    assert remote.complaint(tool, {"order": 1}) is None
