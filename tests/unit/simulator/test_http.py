"""The service over HTTP, in process: keys, limits, validation, admin, metrics, health."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from services.simulator.app import make_app
from services.simulator.asgi import pause
from services.simulator.errors import ApiError
from services.simulator.settings import Settings

CHAT = "/v1/chat/completions"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(Settings(simulator_latency_scale=0, simulator_max_body_bytes=100_000))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://simulator", headers={"Authorization": "Bearer key"}
    ) as client:
        yield client


def body(content: str = "What is 2 + 2?", **parameters: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "mistral-large-latest", "messages": messages, "temperature": 0, **parameters}


async def chat(
    client: httpx.AsyncClient, content: str = "What is 2 + 2?", **parameters: Any
) -> httpx.Response:
    return await client.post(CHAT, json=body(content, **parameters))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "Bearer invalid-key"])
async def test_a_missing_or_refused_key_is_401(client: httpx.AsyncClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    client.headers.pop("Authorization")
    for response in (
        await client.post(CHAT, json=body(), headers=headers),
        await client.get("/v1/models", headers=headers),
        await client.post("/v1/embeddings", json={}, headers=headers),
    ):
        assert response.status_code == 401
        assert response.json() == {"detail": "Unauthorized"}


async def test_an_unknown_model_is_refused_as_the_api_does(client: httpx.AsyncClient) -> None:
    for response in (await chat(client, model="gpt"), await chat(client, model="mistral-embed")):
        assert response.status_code == 400
        assert response.json()["type"] == "invalid_model"
    assert (await client.get("/v1/models/gpt")).status_code == 404


async def test_an_unknown_route_is_404(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/nothing")
    assert response.status_code == 404
    assert response.json()["message"] == "no Route matched with those values"


@pytest.mark.parametrize(
    ("change", "place", "kind"),
    [
        ({"temperature": 2}, ["body", "temperature"], "less_than_equal"),
        ({"messages": None}, ["body", "messages"], "list_type"),
        ({"messages": []}, ["body", "messages"], "too_short"),
        ({"max_completion_tokens": 5}, ["body", "max_completion_tokens"], "extra_forbidden"),
        ({"messages": [{"role": "king", "content": ""}]}, ["body", "messages", 0], "union_tag_invalid"),
        (
            {"messages": [{"role": "user", "content": "x", "name": "y"}]},
            ["body", "messages", 0, "user", "name"],
            "extra_forbidden",
        ),
        ({"n": 0}, ["body", "n"], "greater_than_equal"),
        ({"temperature": float("nan")}, ["body", "temperature"], "less_than_equal"),
        ({"top_k": [float("inf")]}, ["body", "top_k"], "int_type"),
    ],
)
async def test_wrong_fields_are_named(
    client: httpx.AsyncClient, change: dict[str, Any], place: list[str | int], kind: str
) -> None:
    response = await client.post(CHAT, content=json.dumps({**body(), **change}))
    assert response.status_code == 422
    problem = response.json()["detail"][0]
    assert (problem["loc"], problem["type"]) == (place, kind)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": "\\ud800"}', b"[" * 20_000, b'{"a":' * 10_000]
)
async def test_what_is_no_json_object_is_422(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post(CHAT, content=content)
    assert response.status_code == 422
    assert response.json()["detail"]


async def test_a_long_input_is_not_sent_back_whole(client: httpx.AsyncClient) -> None:
    response = await chat(client, model="x" * 50_000, temperature="y" * 40_000)
    assert response.status_code == 422
    assert len(response.content) < 2_000


async def test_a_body_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 1_000

    assert (await chat(client, "x" * 100_000)).status_code == 413
    assert (await client.post(CHAT, content=parts())).status_code == 413


async def test_a_prompt_beyond_the_context_is_400() -> None:
    app = make_app(Settings(simulator_latency_scale=0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://simulator") as client:
        client.headers["Authorization"] = "Bearer key"
        response = await chat(client, "x" * 1_100_000)
    assert response.status_code == 400
    assert "too large for model with 262144 maximum context length" in response.json()["message"]


async def test_a_wrong_directive_is_422_at_its_place(client: httpx.AsyncClient) -> None:
    response = await chat(client, "Hi [[simulate: 418]]")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "messages", 0, "content"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 502, 503, 504])
async def test_every_status_can_be_asked_for(client: httpx.AsyncClient, status: int) -> None:
    response = await chat(client, f"Hi [[simulate: {status}]]")
    assert response.status_code == status


async def test_retry_after_is_told(client: httpx.AsyncClient) -> None:
    assert (await chat(client, "Hi [[simulate: 429]]")).headers["retry-after"] == "1"
    assert (await chat(client, "Hi [[simulate: 503 7s]]")).headers["retry-after"] == "7"
    assert "retry-after" not in (await chat(client, "Hi [[simulate: 500]]")).headers


async def test_other_callers_count_for_themselves(client: httpx.AsyncClient) -> None:
    async def status(key: str, **parameters: Any) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        question = body("Hi [[simulate: 429 x1]]", **parameters)
        return (await client.post(CHAT, json=question, headers=headers)).status_code

    assert [await status("a"), await status("b"), await status("a", metadata={"run": "2"})] == [429, 429, 429]
    assert [await status("a"), await status("b"), await status("a", metadata={"run": "2"})] == [200, 200, 200]


async def test_an_admins_fault_hits_the_next_requests(client: httpx.AsyncClient) -> None:
    added = await client.post("/admin/faults", json={"fault": "503 2s x2", "model": "mistral-large-latest"})
    assert added.status_code == 201
    assert added.json()["remaining"] == 2
    assert (await chat(client, model="mistral-small-latest")).status_code == 200
    assert [(await chat(client)).status_code for _ in range(3)] == [503, 503, 200]
    assert (await client.get("/admin/faults")).json() == {"items": []}


async def test_faults_are_listed_and_switched_off(client: httpx.AsyncClient) -> None:
    first = (await client.post("/admin/faults", json={"fault": "500"})).json()["id"]
    second = (await client.post("/admin/faults", json={"fault": "hang 0s", "model": "mistral-embed"})).json()[
        "id"
    ]
    assert [item["id"] for item in (await client.get("/admin/faults")).json()["items"]] == [first, second]
    assert (await client.delete(f"/admin/faults/{first}")).status_code == 204
    assert (await client.delete(f"/admin/faults/{first}")).status_code == 404
    assert (await client.delete("/admin/faults")).status_code == 204
    assert (await client.get("/admin/faults")).json() == {"items": []}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"fault": "418"}, 422),
        ({}, 422),
        ({"fault": "500", "model": "gpt"}, 400),
        ({"fault": "500", "x": 1}, 422),
    ],
)
async def test_a_wrong_fault_is_refused(
    client: httpx.AsyncClient, fault: dict[str, Any], status: int
) -> None:
    assert (await client.post("/admin/faults", json=fault)).status_code == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"])
async def test_what_a_page_of_another_site_could_send_switches_nothing(
    client: httpx.AsyncClient, kind: str
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    for method, path, body in (
        ("POST", "/admin/faults", b'{"fault": "500"}'),
        ("PUT", "/admin/latency", b'{"scale": 9}'),
    ):
        answer = await client.request(method, path, content=body, headers=headers)
        assert answer.status_code == 415
        assert "send application/json" in answer.json()["message"]
    assert (await client.get("/admin/faults")).json() == {"items": []}
    assert (await client.get("/admin/latency")).json() == {"scale": 0.0}


async def test_a_charset_beside_the_type_does_no_harm(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await client.post("/admin/faults", content=b'{"fault": "500"}', headers=headers)
    assert answer.status_code == 201


async def test_a_fault_hits_embeddings_too(client: httpx.AsyncClient) -> None:
    await client.post("/admin/faults", json={"fault": "429 x1"})
    wanted = {"model": "mistral-embed", "input": "hello"}
    assert [(await client.post("/v1/embeddings", json=wanted)).status_code for _ in range(2)] == [429, 200]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "mistral-large-latest"}, "1500"),
        ({"output_dimension": 256}, "3051"),
        ({"encoding_format": "base64"}, "3051"),
        ({"input": ["x"] * 600}, "3210"),
        ({"input": ["x" * 30_000] * 3}, "3210"),
        ({"input": "x" * 40_000}, "3051"),
    ],
)
async def test_embeddings_refuse_what_the_model_cannot(
    client: httpx.AsyncClient, change: dict[str, Any], code: str
) -> None:
    response = await client.post("/v1/embeddings", json={"model": "mistral-embed", "input": "x", **change})
    assert response.status_code == 400
    assert response.json()["code"] == code


async def test_the_latency_is_switched_while_running(client: httpx.AsyncClient) -> None:
    assert (await client.get("/admin/latency")).json() == {"scale": 0.0}
    assert (await client.put("/admin/latency", json={"scale": 0.2})).json() == {"scale": 0.2}
    started = time.perf_counter()
    await chat(client)
    assert time.perf_counter() - started >= 0.05
    assert (await client.put("/admin/latency", json={"scale": -1})).status_code == 422


async def test_hanging_requests_do_not_hold_up_others(client: httpx.AsyncClient) -> None:
    hanging = asyncio.create_task(chat(client, "Hi [[simulate: hang 20s]]"))
    assert (await asyncio.wait_for(chat(client), 5)).status_code == 200
    assert not hanging.done()
    hanging.cancel()


async def test_a_wait_ends_when_the_caller_hangs_up() -> None:
    messages: Iterator[dict[str, Any]] = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    request = Request({"type": "http", "headers": []}, receive)
    with pytest.raises(ApiError) as caught:
        await asyncio.wait_for(pause(request, 60), 5)
    assert caught.value.status == 499


async def test_a_caller_who_leaves_while_sending_is_counted_as_gone(client: httpx.AsyncClient) -> None:
    app = make_app(Settings(simulator_latency_scale=0))
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer key"), (b"content-type", b"application/json")]
    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
        },
        receive,
        send,
    )
    assert sent[0]["status"] == 499
    counted = (await client.get("/metrics")).text
    assert f'route="{CHAT}",status="499"' in counted


async def test_a_slow_answer_takes_its_time(client: httpx.AsyncClient) -> None:
    started = time.perf_counter()
    response = await chat(client, "What is 2 + 2? [[simulate: slow 200ms]]", stream=True)
    assert time.perf_counter() - started >= 0.2
    assert response.text.endswith("data: [DONE]\n\n")


async def test_every_response_has_a_correlation_id(client: httpx.AsyncClient) -> None:
    ids = {(await chat(client)).headers["mistral-correlation-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_metrics_count_by_route_pattern(client: httpx.AsyncClient) -> None:
    def count(text: str, line: str) -> float:
        return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)), 0.0)

    found = 'studio_simulator_requests_total{route="/v1/models/{model_id}",status="200"}'
    unmatched = 'studio_simulator_requests_total{route="unmatched",status="404"}'
    tokens = 'studio_simulator_tokens_total{kind="completion",model="mistral-large-2512"}'
    before = (await client.get("/metrics")).text
    await client.get("/v1/models/mistral-small-latest")
    await client.get("/no/such/thing")
    await chat(client)
    after = (await client.get("/metrics")).text
    assert count(after, found) == count(before, found) + 1
    assert count(after, unmatched) == count(before, unmatched) + 1
    assert count(after, tokens) > count(before, tokens)
    assert "/no/such/thing" not in after


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_it_is_healthy_without_a_key(client: httpx.AsyncClient, path: str) -> None:
    client.headers.pop("Authorization")
    assert (await client.get(path)).status_code == 200


async def test_a_plain_completion_costs_little_processor_time(client: httpx.AsyncClient) -> None:
    await chat(client)
    started = time.process_time()
    for _ in range(50):
        await chat(client)
    assert (time.process_time() - started) / 50 < 0.01


async def test_a_streamed_answer_is_events(client: httpx.AsyncClient) -> None:
    response = await chat(client, stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(
        json.loads(block.removeprefix("data: "))["model"] == "mistral-large-latest" for block in blocks[:-2]
    )
