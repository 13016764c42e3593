"""elevenlabs_speak through the official client, against a local server that answers as the API does."""

import asyncio
import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import JsonValue

from services.runner.tools import elevenlabs_speak
from services.runner.tools.base import ToolContext
from services.runner.tools.elevenlabs_speak import ElevenLabsSpeak
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from tests.unit.runner.tools.conftest import Answer, LocalServer, ServerStarter

KEY = "sk_that_must_not_leak_0123456789"
AUDIO = b"ID3\x04\x00" + bytes(range(256)) * 40


def context(key: str = "run:call") -> ToolContext:
    return ToolContext("default", "run", None, "call", key)


def speaks(body: bytes = AUDIO, status: str = "200 OK", media_type: str = "audio/mpeg") -> Answer:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        fields = f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\nrequest-id: r1\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
        await writer.drain()

    return answer


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)


async def speak(server: LocalServer, key: str = "run:call", **arguments: JsonValue) -> ToolOutcome:
    tool = ElevenLabsSpeak(ToolSettings(elevenlabs_base_url=server.url))
    given = {"text": "Good morning.", **arguments}
    return await ToolRegistry({"elevenlabs_speak": tool}).call("elevenlabs_speak", given, context(key))


async def test_the_audio_is_a_file_of_the_run_and_the_model_sees_name_type_and_size(
    start_server: ServerStarter,
) -> None:
    server = await start_server(speaks())
    outcome = await speak(server, voice_id="21m00Tcm4TlvDq8ikWAM")
    assert outcome.status == "ok", outcome.result
    (file,) = outcome.artifacts
    assert outcome.result == {"artifact": file.name, "media_type": "audio/mpeg", "bytes": len(AUDIO)}
    assert (file.media_type, file.size, base64.b64decode(str(file.data))) == (
        "audio/mpeg",
        len(AUDIO),
        AUDIO,
    )
    assert outcome.units == {"requests": 1.0, "characters": 13.0}
    target = urlsplit(server.heads[0].split()[1])
    assert target.path == "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM"
    assert parse_qs(target.query) == {"output_format": ["mp3_22050_32"]}
    assert f"xi-api-key: {KEY}" in server.heads[0]
    sent = json.loads(server.bodies[0])
    assert (sent["text"], sent["model_id"]) == ("Good morning.", "eleven_multilingual_v2")


async def test_a_repeated_call_asks_for_the_same_speech_under_the_same_name(
    start_server: ServerStarter,
) -> None:
    server = await start_server(speaks())
    names = [(await speak(server, key)).artifacts[0].name for key in ("a", "a", "b")]
    seeds = [json.loads(body)["seed"] for body in server.bodies]
    assert names[0] == names[1] != names[2]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "ELEVENLABS_API_KEY is not accepted"),
        ("404 Not Found", "no such voice"),
        ("422 Unprocessable Entity", "cannot be used"),
        ("429 Too Many Requests", "too many requests at once"),
        ("302 Found", "refused (302)"),
        ("503 Service Unavailable", "a fault of its own"),
    ],
)
async def test_a_refusal_is_told_at_once_and_not_tried_again(
    start_server: ServerStarter, status: str, words: str
) -> None:
    body = json.dumps({"detail": {"status": "refused", "message": f"your key {KEY}"}}).encode()
    server = await start_server(speaks(body, status, "application/json"))
    outcome = await speak(server)
    assert (outcome.status, outcome.artifacts) == ("error", ())
    assert words in str(outcome.result)
    assert KEY not in str(outcome.result)
    assert len(server.heads) == 1


async def test_a_refusal_that_is_no_json_is_told(start_server: ServerStarter) -> None:
    outcome = await speak(await start_server(speaks(b"<html>", "502 Bad Gateway", "text/html")))
    assert "ElevenLabs refused (502): a fault of its own" in str(outcome.result)


async def test_the_audio_is_bounded_in_size_and_time(
    start_server: ServerStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def silent(_: str, __: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(done.wait(), 10)

    done = asyncio.Event()
    assert "more than 10485760 bytes" in str((await speak(await start_server(endless))).result)
    monkeypatch.setattr(elevenlabs_speak, "TIMEOUT_S", 0.3)
    told = str((await speak(await start_server(silent))).result)
    done.set()
    assert "did not finish within 0.3 s" in told or "cannot be reached (ReadTimeout)" in told


async def test_no_audio_and_no_server_are_told(start_server: ServerStarter) -> None:
    assert "without audio" in str((await speak(await start_server(speaks(b"")))).result)
    gone = LocalServer(speaks(), port=9)
    assert "cannot be reached (ConnectError)" in str((await speak(gone)).result)


async def test_a_voice_cannot_be_a_path(start_server: ServerStarter) -> None:
    server = await start_server(speaks())
    for voice in ("../history", "a/b", "a?b", ""):
        outcome = await speak(server, voice_id=voice)
        assert "`voice_id`" in str(outcome.result)
    assert server.heads == []


async def test_without_a_key_the_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    outcome = await speak(LocalServer(speaks(), port=9))
    assert "ELEVENLABS_API_KEY is not set" in str(outcome.result)


def test_the_keys_of_the_tools_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-secret")
    monkeypatch.setenv("WANDB_API_KEY", "wandb-secret")
    assert set(ToolSettings().secrets()) == {KEY, "hf-secret", "wandb-secret"}
