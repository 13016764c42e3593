"""hf_list_models through the Hub's official client, against a local server that answers as the Hub does."""

import asyncio
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from services.runner.tools.base import ToolContext
from services.runner.tools.hf_list_models import HfListModels
from services.runner.tools.hub import client
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from tests.unit.runner.tools.conftest import Answer, LocalServer, ServerStarter

TOKEN = "hf_token_that_must_not_leak"
CONTEXT = ToolContext("default", "run", None, "call", "key")
MODELS = [
    {
        "_id": "621ffdc036468d709f174338",
        "id": "google-bert/bert-base-uncased",
        "likes": 3379,
        "downloads": 42711978,
        "pipeline_tag": "fill-mask",
        "lastModified": "2024-02-19T11:06:12.000Z",
    },
    {"_id": "621ffdc136468d709f17b7d4", "id": "someone/without-a-task", "likes": 0, "downloads": 7},
]


def answers(body: bytes, status: str = "200 OK", head: str = "") -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{head}"
        writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
        await writer.drain()

    return answer


async def search(server: LocalServer, token: str | None = None, limit: int = 2) -> ToolOutcome:
    tool = HfListModels(server.url, SecretStr(token) if token else None)
    return await ToolRegistry({"hf": tool}).call("hf", {"query": "bert", "limit": limit}, CONTEXT)


async def test_models_come_back_with_what_helps_to_choose(start_server: ServerStarter) -> None:
    server = await start_server(answers(json.dumps(MODELS).encode()))
    outcome = await search(server, TOKEN)
    assert outcome.status == "ok", outcome.result
    assert outcome.result == {
        "query": "bert",
        "models": [
            {
                "id": "google-bert/bert-base-uncased",
                "downloads": 42711978,
                "likes": 3379,
                "pipeline_tag": "fill-mask",
                "last_modified": "2024-02-19T11:06:12+00:00",
            },
            {
                "id": "someone/without-a-task",
                "downloads": 7,
                "likes": 0,
                "pipeline_tag": None,
                "last_modified": None,
            },
        ],
    }
    target = urlsplit(server.heads[0].split()[1])
    asked = parse_qs(target.query)
    assert (target.path, asked["search"], asked["limit"], asked["sort"]) == (
        "/api/models",
        ["bert"],
        ["2"],
        ["downloads"],
    )
    assert f"authorization: bearer {TOKEN}" in server.heads[0].lower()


async def test_no_more_models_than_asked_for_and_no_second_page(start_server: ServerStarter) -> None:
    more = 'Link: <http://127.0.0.1:1/api/models?cursor=x>; rel="next"\r\n'
    server = await start_server(answers(json.dumps(MODELS).encode(), head=more))
    outcome = await search(server, limit=1)
    assert isinstance(outcome.result, dict)
    assert isinstance(outcome.result["models"], list)
    assert len(outcome.result["models"]) == 1


async def test_without_a_token_none_is_sent_not_even_a_stored_one(
    start_server: ServerStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server = await start_server(answers(b"[]"))
    outcome = await search(server)
    assert outcome.result == {"query": "bert", "models": []}
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "HF_TOKEN must be valid"),
        ("403 Forbidden", "HF_TOKEN must be valid"),
        ("400 Bad Request", "refused the request (400)"),
        ("302 Found", "refused the request (302)"),
        ("429 Too Many Requests", "try again in 3600 seconds"),
        ("503 Service Unavailable", "a fault of its own (503)"),
    ],
)
async def test_a_refusal_is_told_at_once_and_not_tried_again(
    start_server: ServerStarter, status: str, words: str
) -> None:
    head = "Retry-After: 3600\r\nLocation: http://127.0.0.1:1/\r\n"
    server = await start_server(answers(b'{"error":"no"}', status, head))
    started = time.monotonic()
    outcome = await search(server, TOKEN)
    assert time.monotonic() - started < 5
    assert outcome.status == "error"
    assert words in str(outcome.result)
    assert TOKEN not in str(outcome.result)
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"error": 1}', b'[{"no": "id"}]', b"[1]", b'[{"id": "x", "lastModified": "soon"}]']
)
async def test_an_answer_that_is_no_list_of_models_is_told(start_server: ServerStarter, body: bytes) -> None:
    outcome = await search(await start_server(answers(body)))
    assert outcome.status == "error"
    assert "not a list of models; check HF_ENDPOINT" in str(outcome.result)


async def test_a_hub_that_does_not_answer_is_told_in_bounded_time(
    start_server: ServerStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUTS", dict.fromkeys(client.TIMEOUTS, 0.2))
    done = asyncio.Event()

    async def silent(_: str, __: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(done.wait(), 10)

    outcome = await search(await start_server(silent))
    done.set()
    assert "did not answer in time" in str(outcome.result)


async def test_an_endless_answer_is_bounded_in_size(start_server: ServerStarter) -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
        while True:
            writer.write(b" " * 16384)
            await writer.drain()

    assert "too long" in str((await search(await start_server(endless))).result)


async def test_a_hub_that_is_not_there_is_told() -> None:
    gone = LocalServer(answers(b""))
    server = await asyncio.start_server(gone.serve, "127.0.0.1", 0)
    gone.port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert "cannot be reached (ConnectError)" in str((await search(gone)).result)


def test_the_endpoint_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1234/")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    settings = ToolSettings()
    assert settings.hf_endpoint == "http://127.0.0.1:1234"
    assert settings.secrets() == (TOKEN,)
    monkeypatch.setenv("HF_ENDPOINT", "not a url")
    with pytest.raises(ValidationError, match="hf_endpoint"):
        ToolSettings()
