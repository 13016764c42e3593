"""Bad input and a broker that is away: every answer is a problem document that says what would be right."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import httpx
import pytest
import uuid_utils
from nats.js.api import StreamConfig

from services.gateway import limits
from shared.bus import BODIES, BusSettings, client_of, jetstream, make_broker, streams
from tests.support.fake_runner import announce, running_fake_runner
from tests.support.gateway import Gateway, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The document, which must be of that kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:agentops-studio:problem:{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


async def post(gateway: Gateway, **fields: Any) -> httpx.Response:
    return await gateway.http.post("/api/runs", json={"prompt": "hi", **fields})


BAD_REQUESTS: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", "at least 1 character"),
    ({"prompt": "  "}, "prompt", "more than white space"),
    ({"model": "gpt-9"}, "model", "simulator has mistral-large-latest, mistral-small-latest"),
    ({"tools": ["calculator", "shell"]}, "tools.1", "the tools are calculator, http_fetch"),
    ({"agent": "nobody"}, "agent", "GET /api/agents lists them"),
    ({"parameters": {"temperature": 2}}, "parameters.temperature", "less than or equal to 1.5"),
    ({"max_rounds": 101}, "max_rounds", "less than or equal to 100"),
    ({"session_id": f"sk-{'a' * 24}"}, "session_id", "must not look like a credential"),
    ({"user_id": f"aos_{'a' * 32}"}, "user_id", "must not look like a credential"),
    ({"group": "a\x00b"}, "group", "nor hold NUL"),
    ({"budget": 1}, "budget", "the fields here are prompt, agent"),
]


async def test_a_bad_request_names_the_field_and_what_would_be_right(
    gateway: Gateway, subtests: pytest.Subtests
) -> None:
    for fields, field, hint in BAD_REQUESTS:
        with subtests.test(field=field):
            document = problem(await post(gateway, **fields), 422, "invalid-request")
            assert document["errors"][0]["field"] == field
            assert hint in document["errors"][0]["message"]


async def test_a_session_named_like_a_credential_leaves_the_idempotency_key_free(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "once"}
    wrong = {"prompt": "hi", "session_id": f"sk-{'a' * 24}"}
    assert (await gateway.http.post("/api/runs", json=wrong, headers=headers)).status_code == 422
    right = {"prompt": "hi", "session_id": "s1"}
    assert (await gateway.http.post("/api/runs", json=right, headers=headers)).status_code == 202


async def test_invalid_json_is_answered_with_the_position(gateway: Gateway) -> None:
    answer = await gateway.http.post("/api/runs", content=b'{"prompt": hi}')
    assert "line 1 column 12" in problem(answer, 422, "invalid-request")["detail"]


async def test_json_nested_ten_thousand_deep_is_refused(gateway: Gateway) -> None:
    deep = b'{"prompt": "hi", "metadata": {"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}"
    answer = await gateway.http.post("/api/runs", content=deep)
    assert "recursion limit" in problem(answer, 422, "invalid-request")["detail"]


async def test_a_body_of_another_type_is_refused(gateway: Gateway) -> None:
    answer = await gateway.http.post("/api/runs", data={"prompt": "hi"})
    assert "application/json" in problem(answer, 415, "unsupported-media-type")["detail"]


async def test_a_prompt_of_ten_megabytes_is_refused_by_its_declared_length(gateway: Gateway) -> None:
    document = problem(await post(gateway, prompt="x" * 10_000_000), 413, "too-large")
    assert "1048576 bytes" in document["detail"]


async def test_a_body_without_a_declared_length_is_refused_where_it_passes_the_limit(
    gateway: Gateway,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 300_000

    answer = await gateway.http.post("/api/runs", content=endless())
    problem(answer, 413, "too-large")
    assert (await post(gateway)).status_code == 202


async def test_a_prompt_just_under_the_limit_is_taken(gateway: Gateway) -> None:
    async with running_fake_runner(gateway.nats):
        answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "x" * 1_048_000})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


async def test_an_unknown_run_is_not_there_whatever_its_id_looks_like(gateway: Gateway) -> None:
    for run_id in (str(uuid_utils.uuid7()), "nonsense", "00000000-0000-0000-0000-000000000000"):
        run = f"/api/runs/{run_id}"
        for path in (run, f"{run}/steps", f"{run}/events", f"/runs/{run_id}"):
            problem(await gateway.http.get(path), 404, "not-found")
        problem(await gateway.http.post(f"{run}/cancel"), 404, "not-found")
        problem(await gateway.http.delete(run), 404, "not-found")


async def test_a_bad_query_names_the_parameter(gateway: Gateway, subtests: pytest.Subtests) -> None:
    limits = ("limit=0", "limit=201", "limit=many")
    twice = ("agent=a&agent=b", "limit=5&limit=5")
    for query in ("cursor=nonsense", *limits, *twice, "status=done", "statu=failed", "agent=%00"):
        with subtests.test(query=query):
            document = problem(await gateway.http.get(f"/api/runs?{query}"), 422, "invalid-request")
            assert document["errors"][0]["field"] == query.partition("=")[0]


async def test_a_wrong_path_and_a_wrong_method_are_problems_too(gateway: Gateway) -> None:
    assert "/openapi.json" in problem(await gateway.http.get("/api/nothing"), 404, "not-found")["detail"]
    answer = await gateway.http.put("/api/runs")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"


async def test_no_answer_may_be_framed_cached_or_sniffed(gateway: Gateway) -> None:
    for answer in (await gateway.http.get("/api/runs"), await gateway.http.get("/api/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_pages_of_other_sites_are_let_in_only_by_the_setting(nats_url: str, database_url: str) -> None:
    page = {"Origin": "https://console.example"}
    async with running_gateway(nats_url, database_url) as gateway:
        answer = await gateway.http.get("/api/models", headers=page)
        assert "access-control-allow-origin" not in answer.headers
    allowed = {"GATEWAY_ALLOWED_ORIGINS": '["https://console.example"]'}
    async with running_gateway(nats_url, database_url, allowed) as gateway:
        answer = await gateway.http.get("/api/models", headers=page)
        assert answer.headers["access-control-allow-origin"] == "https://console.example"
        other = await gateway.http.get("/api/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_metrics_know_routes_by_their_patterns(gateway: Gateway) -> None:
    run_id = str(uuid_utils.uuid7())
    await gateway.http.get(f"/api/runs/{run_id}")
    await gateway.http.get(f"/nothing/{run_id}")
    metrics = (await gateway.http.get("/metrics")).text
    assert 'studio_http_requests_total{method="GET",route="/api/runs/{run_id}",status="404"}' in metrics
    assert run_id not in metrics


async def test_before_a_runner_has_announced_its_tools_nothing_is_accepted(
    nats_url: str, database_url: str
) -> None:
    async with running_gateway(nats_url, database_url) as gateway:
        document = problem(await post(gateway), 503, "unavailable")
        assert document["detail"] == "no runner has announced its tools yet"
        problem(await gateway.http.get("/api/tools"), 503, "unavailable")
        assert (await gateway.http.get("/api/models")).json()["provider"] is None
        async with running_fake_runner(gateway.nats):

            async def is_accepted() -> bool:
                return (await post(gateway)).status_code == 202

            await eventually(is_accepted, within_s=5)


async def test_while_the_models_are_not_known_any_model_is_accepted(nats_url: str, database_url: str) -> None:
    async with running_gateway(nats_url, database_url) as gateway:
        await announce(gateway.nats, models=None)
        assert (await post(gateway, model="a-private-model")).status_code == 202


async def test_a_broker_that_is_away_is_a_fast_503_and_nothing_is_half_accepted(
    nats_url: str, database_url: str
) -> None:
    async with proxied(nats_url) as proxy, running_gateway(proxy.url, database_url) as gateway:
        broker = proxy.target
        await announce(gateway.nats)
        assert (await post(gateway)).status_code == 202
        proxy.target = 1  # nobody listens there
        proxy.cut()

        async def is_noticed() -> bool:
            return (await gateway.http.get("/health/ready")).status_code == 503

        await eventually(is_noticed)
        before = await _jobs(nats_url)
        for call in (post(gateway), gateway.http.post("/api/chat", json={"message": "hi"})):
            begun = monotonic()
            answer = await call
            assert monotonic() - begun < 1
            problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        proxy.target = broker

        async def is_back() -> bool:
            return (await post(gateway)).status_code == 202

        await eventually(is_back, within_s=15)
        assert await _jobs(nats_url) == before + 1


async def _jobs(nats_url: str) -> int:
    async with make_broker("count", nats_url) as broker:
        info = await jetstream(client_of(broker)).stream_info("RUNS", subjects_filter="run.job.>")
        return sum((info.state.subjects or {}).values())


async def test_a_full_stream_is_a_503_and_runs_are_taken_again_when_there_is_room(gateway: Gateway) -> None:
    js = jetstream(gateway.nats)
    config: StreamConfig = streams(BusSettings())[0]
    await js.update_stream(config.evolve(max_bytes=4096))
    answers = [await post(gateway, prompt="x" * 3000) for _ in range(3)]
    document = problem(answers[-1], 503, "unavailable")
    assert "full" in document["detail"]
    await js.update_stream(config)
    assert (await post(gateway)).status_code == 202


async def test_full_storage_for_large_values_is_a_503_and_small_ones_are_taken(gateway: Gateway) -> None:
    js = jetstream(gateway.nats)
    config = (await js.stream_info(BODIES)).config
    await js.update_stream(config.evolve(max_bytes=1024))
    answer = await post(gateway, prompt="x" * 70_000)
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await post(gateway)).status_code == 202
    await js.update_stream(config)
    assert (await post(gateway, prompt="x" * 70_000)).status_code == 202


async def test_bodies_that_arrive_together_are_bounded_and_make_room_when_their_clients_leave(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_ARRIVING", 1_500_000)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    head = (
        "POST /api/runs HTTP/1.1",
        "Host: x",
        f"X-API-Key: {gateway.key}",
        "Content-Length: 999999",
        "",
        "",
    )
    writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(2)]
    for writer in writers:
        writer.write("\r\n".join(head).encode() + b"x" * 700_000)
        await writer.drain()

    async def is_refused() -> bool:
        answer = await post(gateway, prompt="x" * 200_000)
        return answer.status_code == 503 and "large bodies" in answer.json()["detail"]

    await eventually(is_refused)
    assert (await post(gateway)).status_code == 202
    for writer in writers:
        writer.close()

    async def is_taken() -> bool:
        return (await post(gateway, prompt="x" * 200_000)).status_code == 202

    await eventually(is_taken)


async def test_a_client_that_leaves_while_it_sends_costs_nothing(gateway: Gateway) -> None:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = ("POST /api/runs HTTP/1.1", "Host: x", f"X-API-Key: {gateway.key}", "Content-Length: 100", "", "")
    writer.write("\r\n".join(head).encode() + b'{"prompt"')
    await writer.drain()
    writer.close()

    async def is_counted() -> bool:
        return 'route="/api/runs",status="499"' in (await gateway.http.get("/metrics")).text

    await eventually(is_counted)
