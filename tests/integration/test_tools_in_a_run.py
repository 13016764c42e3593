"""Tools in a real run: a runner's process, the broker and the gateway; only model and speech are played."""

import asyncio
import json
from pathlib import Path
from typing import Any

from shared.memory import Memory, Owner, Scope
from tests.support.gateway import Gateway, running_gateway
from tests.support.processes import service
from tests.support.provider import error_answer, provider, text_answer, tool_answer, tool_delta
from tests.support.waiting import eventually

FACTORY = "services.runner.app:make_app"
AUDIO = b"ID3\x04\x00" + bytes(range(256)) * 400
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("elevenlabs_speak", {"text": "Good morning."}),
    ("python", {"code": "print('six')\n2 * 3"}),
    ("memory", {"action": "put", "scope": "user", "key": "greeted", "text": "in the morning"}),
    ("memory", {"action": "put", "scope": "agent", "key": "greeted", "text": "once"}),
]


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {len(AUDIO)}\r\n\r\n"
    writer.write(head.encode() + AUDIO)
    await writer.drain()
    writer.close()


async def has_tools(gateway: Gateway) -> bool:
    return (await gateway.http.get("/api/tools")).status_code == 200


async def test_what_tools_make_of_a_run_is_in_its_log_its_files_and_its_memory(
    nats_url: str, database_url: str, tmp_path: Path
) -> None:
    asked = [
        tool_delta(index, f"call0000{index}", tool, json.dumps(arguments))
        for index, (tool, arguments) in enumerate(CALLS)
    ]
    script = [error_answer(404, {"message": "no list"}), tool_answer(*asked), text_answer("Done.")]
    speech = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with speech, provider(*script) as model, running_gateway(nats_url, database_url) as gateway:
        environment = {
            "NATS_URL": nats_url,
            "MISTRAL_API_KEY": "not-used",
            "MISTRAL_SERVER_URL": model.url,
            "RUN_ACK_WAIT_S": "2",
            "WORKSPACE_DIR": str(tmp_path / "workspace"),
            "ELEVENLABS_API_KEY": "the-key-of-elevenlabs",
            "ELEVENLABS_BASE_URL": f"http://127.0.0.1:{speech.sockets[0].getsockname()[1]}",
        }
        async with service(FACTORY, environment, tmp_path / "runner.log"):
            await eventually(lambda: has_tools(gateway))
            await eventually(lambda: model.requests)  # its list of models was asked for
            names = sorted({tool for tool, _ in CALLS})
            given = {"prompt": "Greet.", "tools": names, "user_id": "ada-of-tools"}
            run = (await gateway.http.post("/api/runs?wait=40", json=given)).json()
        assert (run["status"], run["response"]) == ("completed", "Done."), run
        await check(gateway, run)
        told = [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "tool"]
        assert not any("SUQz" in content for content in told), "the model was sent the audio"


async def check(gateway: Gateway, run: dict[str, Any]) -> None:
    steps = (await gateway.http.get(f"/api/runs/{run['run_id']}")).json()["steps"]
    results = {step["call_id"]: step for step in steps if step["kind"] == "tool-result"}
    assert {each["status"] for each in results.values()} == {"ok"}, results
    speech, python = results["call00000"], results["call00001"]
    assert python["result"] == {"stdout": "six\n", "result": "6"}
    assert (speech["units"]["characters"], speech["result"]["bytes"]) == (13.0, len(AUDIO))
    file = await gateway.http.get(f"/api/runs/{run['run_id']}/artifacts/{speech['result']['artifact']}")
    assert (file.status_code, file.content) == (200, AUDIO)
    memory = Memory(gateway.nats)
    kept: list[tuple[Scope, str, str]] = [
        ("user", "ada-of-tools", "in the morning"),
        ("agent", "assistant", "once"),
    ]
    for scope, name, text in kept:
        note = await memory.get(Owner("default", scope, name), "greeted")
        assert note is not None
        assert note.text == text
