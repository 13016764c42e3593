"""The examples of the API's description beside what the gateway really answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway import examples, limits
from services.gateway.credentials import mint
from services.gateway.examples import ANSWERS, BODY_SHA256, CALCULATOR, INSTRUCTIONS, PROMPT, RUN_ID, STEPS
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.routes import chat
from services.gateway.store import KeyRow, add_key
from services.gateway.tickets import PREFIX
from shared.bus import CATALOG, BusSettings, jetstream, streams
from shared.steps import RunRequested
from shared.subjects import RunKey, catalog_subject
from tests.support.events import Sent, following
from tests.support.fake_runner import Batches, FakeRunner, announce, running_fake_runner
from tests.support.gateway import PEPPER, Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.waiting import eventually

ASKED = {"prompt": PROMPT, "instructions": INSTRUCTIONS, "tools": ["calculator"]}
TIMES = {"at", "created_at", "started_at", "finished_at", "start_time", "end_time", "timestamp"}
TIMES |= {"first_run_at", "last_run_at"}
OF_THE_PROCESS = TIMES | {"writer", "message_id", "next_cursor", "created_by"}


def settled(value: Any, run_id: str) -> Any:
    """The value with the run's id of the examples, and without what differs from run to run."""
    match value:
        case dict():
            return {
                name: type(item).__name__ if name in OF_THE_PROCESS else settled(item, run_id)
                for name, item in value.items()
            }
        case list():
            return [settled(item, run_id) for item in value]
        case str():
            return value.replace(run_id, RUN_ID)
    return value


def play(until: int) -> Callable[[RunKey, RunRequested], Batches]:
    """A runner that writes what the example's runner wrote, the first so many steps of it."""

    def script(key: RunKey, _: RunRequested) -> Batches:
        own = {"run_id": key.run_id, "project": key.project}
        return [[step.model_copy(update=own)] for step in STEPS[1:until]]

    return script


async def announce_example(gateway: Gateway) -> None:
    await announce(gateway.nats)
    tools = json.dumps({"tools": [CALCULATOR.model_dump(mode="json")]}).encode()
    await jetstream(gateway.nats).publish(catalog_subject("tools"), tools, stream=CATALOG)


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce_example(running)
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        await announce_example(gateway)
        serving.scripts["What"] = play(len(STEPS))
        yield serving


def same(name: str, answer: httpx.Response, status: int = 200, run_id: str | None = None) -> Any:
    """The answer, which must be that of the example."""
    assert answer.status_code == status, answer.text
    given = answer.json()
    run_id = run_id or given["run_id"]
    assert settled(given, run_id) == settled(ANSWERS[name].value, RUN_ID), name
    return given


async def charged_run(gateway: Gateway, **more: str) -> str:
    """A finished run of the example, recorded and charged."""
    run_id: str = (await gateway.http.post("/api/runs?wait=20", json=ASKED | more)).json()["run_id"]

    async def is_charged() -> bool:
        newest = (await gateway.http.get("/api/runs?limit=1")).json()["items"]
        known = [(each["run_id"], each["step_count"], each["charged"]) for each in newest]
        return known == [(run_id, len(STEPS), 2)]

    await eventually(is_charged)
    return run_id


async def test_a_run_is_started_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    accepted = await gateway.http.post("/api/runs", json=ASKED)
    run_id = same("accepted", accepted, 202)["run_id"]
    assert accepted.headers["location"] == f"/api/runs/{run_id}"
    same("finished-run", await gateway.http.post("/api/runs?wait=20", json=ASKED))
    runner.scripts["What"] = play(3)
    running = same("running-run", await gateway.http.post("/api/runs?wait=2", json=ASKED), 202)
    same("asked-to-stop", await gateway.http.post(f"/api/runs/{running['run_id']}/cancel"), 202)


async def test_runs_look_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    async with projecting(gateway.nats, gateway.database):
        await charged_run(gateway)
        run_id = await charged_run(gateway)
        for name, path in {
            "run-list": "/api/runs?limit=1",
            "run-with-steps": f"/api/runs/{run_id}",
            "step-list": f"/api/runs/{run_id}/steps?after=3&limit=2",
            "simple-runs": "/runs?limit=1",
            "simple-run": f"/runs/{run_id}",
        }.items():
            same(name, await gateway.http.get(path), run_id=run_id)


async def test_answers_in_one_request_are_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    async with projecting(gateway.nats, gateway.database):
        same("chat-answer", await gateway.http.post("/api/chat", json={"message": PROMPT}))
        same("simple-answer", await gateway.http.post("/run", json={"prompt": PROMPT}))


async def test_events_come_as_in_the_examples(gateway: Gateway) -> None:
    run_id = (await gateway.http.post("/api/runs", json=ASKED)).json()["run_id"]
    seen: list[Sent] = []
    async with following(gateway.http, run_id) as events, running_fake_runner(gateway.nats) as runner:
        runner.scripts["What"] = play(len(STEPS))
        async for event in events:
            seen.append(event)
            if event.name == "end":
                break
    shown = [_parsed(text) for text in ANSWERS["events"].value.strip().split("\n\n")]
    assert [each.name for each in shown] == ["step", "delta", "end"]
    step, delta, end = shown
    assert _settled(step, RUN_ID) in [_settled(each, run_id) for each in seen]
    assert {frozenset(each.data) for each in seen if each.name == "delta"} == {frozenset(delta.data)}
    uncharged = {"total_cost_usd", "unpriced", "charged"}
    real, example = (
        {name: value for name, value in settled(each.data, run).items() if name not in uncharged}
        for each, run in ((seen[-1], run_id), (end, RUN_ID))
    )
    assert real == example


def _parsed(text: str) -> Sent:
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return Sent(fields["event"], fields.get("id"), json.loads(fields["data"]))


def _settled(event: Sent, run_id: str) -> Sent:
    return Sent(event.name, event.id, settled(event.data, run_id))


async def test_the_catalogue_is_as_in_the_examples(gateway: Gateway) -> None:
    same("tools", await gateway.http.get("/api/tools"), run_id=RUN_ID)
    same("models", await gateway.http.get("/api/models"), run_id=RUN_ID)


async def test_a_ticket_looks_as_in_the_examples(gateway: Gateway) -> None:
    given, shown = (await gateway.http.post("/api/tickets")).json(), ANSWERS["ticket"].value
    assert given.keys() == shown.keys()
    assert given["expires_in"] == shown["expires_in"]
    begin = shown["ticket"].removesuffix("…")
    assert begin.startswith(PREFIX)
    assert given["ticket"].startswith(begin)


async def test_a_large_value_is_answered_as_in_the_examples(gateway: Gateway) -> None:
    prompt = "x" * 70_000
    run_id = (await gateway.http.post("/api/runs", json={"prompt": prompt})).json()["run_id"]
    reference = (await gateway.http.get(f"/api/runs/{run_id}")).json()["prompt_body"]
    answer = await gateway.http.get(f"/api/runs/{run_id}/bodies/{reference}")
    assert type(answer.json()) is type(ANSWERS["large-value"].value)
    assert answer.json() == prompt


async def test_every_example_of_a_body_is_accepted(gateway: Gateway, runner: FakeRunner) -> None:
    for example in examples.RUN_INPUT.values():
        answer = await gateway.http.post("/api/runs", json=example.value)
        assert answer.status_code == 202, answer.text
    for example in examples.CHAT_INPUT.values():
        assert (await gateway.http.post("/api/chat", json=example.value)).status_code == 200
    for example in examples.PROMPT_INPUT.values():
        assert (await gateway.http.post("/run", json=example.value)).status_code == 200
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hold"})).json()["run_id"]
    for example in examples.CANCEL_INPUT.values():
        assert (await gateway.http.post(f"/api/runs/{run_id}/cancel", json=example.value)).status_code == 202


def refused(name: str, answer: httpx.Response, *instead: tuple[str, str]) -> None:
    """The answer must be the example's problem; `instead`: words of the example that differ here."""
    example = PROBLEMS[name]
    assert answer.status_code == example.kind.status, answer.text
    given = answer.json()
    shown = example.document.model_dump(mode="json", exclude_defaults=True)
    for there, here in instead:
        shown["detail"] = shown["detail"].replace(there, here)
    assert settled(given, given.get("run_id", RUN_ID)) == shown, name
    for header, value in example.headers.items():
        assert answer.headers[header] == value, (name, header)


async def key_with(gateway: Gateway, scope: str) -> dict[str, str]:
    """The headers of a caller whose key has only that scope."""
    key = mint()
    row = KeyRow(key.id, "default", scope, key.digest(PEPPER), frozenset({scope}), None, None)
    async with gateway.database.transaction() as connection:
        await add_key(connection, row)
    return {"Authorization": f"Bearer {key.text}"}


Call = Callable[[], Awaitable[httpx.Response]]


def plain_calls(gateway: Gateway, run_id: str) -> dict[str, Call]:
    """What anybody can do wrong; `run_id` is a run that has completed."""
    get, post = gateway.http.get, gateway.http.post
    reused = {"Idempotency-Key": "once"}
    return {
        "no-such-run": lambda: get(f"/api/runs/{RUN_ID}"),
        "no-such-body": lambda: get(f"/api/runs/{run_id}/bodies/{BODY_SHA256}"),
        "key-reused": lambda: post("/api/runs", json={"prompt": "another"}, headers=reused),
        "run-finished": lambda: post(f"/api/runs/{run_id}/cancel"),
        "large-body": lambda: post("/api/runs", json={"prompt": "x" * 1_100_000}),
        "form-body": lambda: post("/api/runs", data={"prompt": "hi"}),
        "unknown-parameter": lambda: get("/api/tools?verbose=1"),
        "large-limit": lambda: get("/api/runs?limit=500"),
        "bad-cursor": lambda: get("/api/runs?cursor=2"),
        "bad-after": lambda: get(f"/api/runs/{run_id}/steps?after=-2"),
        "bad-event-id": lambda: get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": "last"}),
        "hot-parameter": lambda: post("/api/runs", json={"prompt": "hi", "parameters": {"temperature": 2}}),
        "unknown-tool": lambda: post("/api/runs", json={"prompt": "hi", "tools": ["shell"]}),
        "bad-idempotency-key": lambda: post(
            "/api/runs", json={"prompt": "hi"}, headers={"Idempotency-Key": "a b"}
        ),
        "blank-message": lambda: post("/api/chat", json={"message": " "}),
        "mistyped-field": lambda: post("/run", json={"promt": "hi"}),
        "unknown-field": lambda: post(f"/api/runs/{run_id}/cancel", json={"reason": "late"}),
        "run-failed": lambda: post("/api/chat", json={"message": "fail"}),
    }


async def test_what_a_caller_can_do_wrong_is_refused_as_in_the_examples(
    gateway: Gateway, runner: FakeRunner, subtests: pytest.Subtests
) -> None:
    first = await gateway.http.post("/api/runs?wait=20", json=ASKED, headers={"Idempotency-Key": "once"})
    for name, call in plain_calls(gateway, first.json()["run_id"]).items():
        with subtests.test(name=name):
            refused(name, await call())


async def test_keys_are_refused_as_in_the_examples(gateway: Gateway) -> None:
    post, get = gateway.http.post, gateway.http.get
    refused("read-only-key", await post("/api/tickets", headers=await key_with(gateway, "read")))
    refused("write-only-key", await get("/api/models", headers=await key_with(gateway, "write")))
    gateway.http.headers.pop("authorization")
    refused("no-key", await get("/api/runs"))


async def test_a_run_that_goes_on_is_refused_as_in_the_examples(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "ANSWER_S", 1.0)
    answer = await gateway.http.post("/api/chat", json={"message": "hold"})
    refused("run-unfinished", answer)
    run_id = answer.json()["run_id"]
    active = await gateway.http.delete(f"/api/runs/{run_id}")
    refused("run-active", active, (RUN_ID, run_id))


async def test_a_body_that_does_not_come_is_refused_as_in_the_examples(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_TIMEOUT_S", 0.2)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = ("POST /api/runs HTTP/1.1", "Host: x", f"X-API-Key: {gateway.key}", "Content-Length: 100", "", "")
    writer.write("\r\n".join(head).encode() + b'{"prompt"')
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    top, _, body = answer.partition(b"\r\n\r\n")
    status = int(top.split(b" ")[1])
    refused("slow-body", httpx.Response(status, content=body), ("30 s", "0.2 s"))


async def test_what_is_away_or_full_is_told_as_in_the_examples(nats_url: str, database_url: str) -> None:
    real = database_url.rpartition(":")
    name = real[2].partition("/")[2]
    async with proxied(nats_url) as broker, proxied(database_url) as database:
        away = f"{real[0]}:{database.port}/{name}"
        async with running_gateway(broker.url, away, {"GATEWAY_MAX_STREAMS": "1"}) as gateway:
            refused("no-runner", await gateway.http.post("/api/runs", json={"prompt": "hi"}))
            await announce_example(gateway)
            await eventually(lambda: _starts(gateway))
            refused("not-confirmed", await _full(gateway))
            run_id = await _starts(gateway)
            async with following(gateway.http, run_id):
                second = await gateway.http.get(f"/api/runs/{run_id}/events")
                refused("too-many-streams", second, ("10000", "1"))
            database.target = 1  # nobody listens there
            database.cut()
            refused("database-away", await gateway.http.get("/api/runs"))
            broker.target = 1
            broker.cut()
            refused("broker-away", await gateway.http.get(f"/api/runs/{run_id}"))
            stranger = {"Authorization": f"Bearer {mint().text}"}
            refused("key-not-checked", await gateway.http.get("/api/models", headers=stranger))


async def _starts(gateway: Gateway) -> str:
    """The id of a new run; nothing while the gateway does not take one."""
    return str((await gateway.http.post("/api/runs", json={"prompt": "hi"})).json().get("run_id", ""))


async def _full(gateway: Gateway) -> httpx.Response:
    """What a start is answered while the broker's stream is full."""
    js = jetstream(gateway.nats)
    config = streams(BusSettings())[0]
    await js.update_stream(config.evolve(max_bytes=1024))
    answers = [await gateway.http.post("/api/runs", json={"prompt": "x" * 900}) for _ in range(3)]
    await js.update_stream(config)
    return answers[-1]


def test_every_example_is_compared_with_an_answer() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_gateway_*.py"))
    for name in (*ANSWERS, *PROBLEMS):
        assert f'"{name}"' in text, name
