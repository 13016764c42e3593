"""Runs as files between two projects behind two gateways: made, taken in once, and refused with words."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.bundles.arrivals import Arrivals
from services.gateway.bundles.trust import Trust
from services.gateway.examples import ANSWERS, SIGNER
from services.gateway.log_reader import LogReader
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.runs import Runs
from services.gateway.settings import GatewaySettings
from shared.bundle.origin import MARK, WRITER
from shared.bundle.reading import read
from shared.bundle.signing import SigningKey, fingerprint
from shared.run_log import RunLog, Sealed
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.step_codec import encode_step
from shared.steps import RunRequested, Step, ToolResult, now
from shared.subjects import RunKey
from tests.support.bundles import KEY, OTHER_SEED, SEED, bundled, changed, entries_of, steps_of
from tests.support.commands import Command
from tests.support.fake_runner import Batches, FakeRunner, running_fake_runner, use_tool
from tests.support.gateway import PEPPER, Gateway, projecting, running_gateway
from tests.support.proxy import proxied
from tests.support.retention import aged_id, forget, forget_bodies
from tests.support.run_samples import whole_run
from tests.support.waiting import eventually

LARGE = "large and said to Rosalind " * 4000
RESULT = {"value": 15, "text": LARGE}
SENDS = {"Content-Type": "application/octet-stream"}
ENVIRON = {"BUNDLE_SIGNING_KEY": SEED}


def with_large_result(key: RunKey, request: RunRequested) -> Batches:
    return [
        [
            step.model_copy(update={"result": RESULT}) if isinstance(step, ToolResult) else step
            for step in batch
        ]
        for batch in use_tool(key, request)
    ]


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url, ENVIRON) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        serving.scripts["large"] = with_large_result
        yield serving


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


@pytest.fixture
async def elsewhere(gateway: Gateway) -> dict[str, str]:
    """The headers of a caller from another project."""
    return {**SENDS, "Authorization": f"Bearer {await gateway.key_for('elsewhere')}"}


async def a_run(gateway: Gateway, prompt: str = "large question", **more: Any) -> str:
    answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": prompt, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


async def is_recorded(gateway: Gateway, run_id: str, steps: int, charges: int = 2) -> None:
    async def done() -> bool:
        return await _row(gateway, run_id) == (steps, charges)

    await eventually(done)


async def _row(gateway: Gateway, run_id: str) -> tuple[int, int]:
    async with gateway.database.connection() as connection:
        steps = await connection.fetchval("SELECT steps FROM runs WHERE run_id = $1", run_id)
        charges = await connection.fetchval("SELECT count(*) FROM charges WHERE run_id = $1", run_id)
        return steps or 0, charges


async def bundle_of(gateway: Gateway, run_id: str, query: str = "") -> bytes:
    answer = await gateway.http.get(f"/api/runs/{run_id}/bundle{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="run-{run_id}.studio"'
    return answer.content


async def imported(gateway: Gateway, file: bytes, headers: dict[str, str], status: int = 201) -> Any:
    answer = await gateway.http.post("/api/bundles", content=file, headers=headers)
    assert answer.status_code == status, answer.text
    given = answer.json()
    assert given.keys() == ANSWERS["imported-bundle"].value.keys()
    assert answer.headers["location"] == f"/api/runs/{given['run_id']}"
    return given


async def steps_at(gateway: Gateway, run: RunKey) -> tuple[Step, ...]:
    return (await RunLog(gateway.nats, Scrubber()).read(run, fresh=True)).steps


def said(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the steps say, but for whose they are."""
    changed_here = ("run_id", "project", "writer", "copied_from", "idempotency_key", "metadata", "group")
    return [{name: value for name, value in step.items() if name not in changed_here} for step in steps]


async def test_a_run_goes_from_one_project_into_another_and_is_there_once(
    gateway: Gateway, runner: FakeRunner, recorded: None, elsewhere: dict[str, str]
) -> None:
    run_id = await a_run(gateway, metadata={"ticket": 7}, group="nightly")
    await is_recorded(gateway, run_id, 8)
    file = await bundle_of(gateway, run_id)
    assert file == await bundle_of(gateway, run_id)
    given = await imported(gateway, file, elsewhere)
    assert (given["status"], given["source_run_id"], given["scrubbed_steps"]) == ("completed", run_id, 0)
    assert (given["signer"], given["trusted"]) == (fingerprint(KEY.public), True)
    await is_recorded(gateway, given["run_id"], 8, charges=0)
    here = (await gateway.http.get(f"/api/runs/{given['run_id']}", headers=elsewhere)).json()
    there = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert said(here["steps"]) == said(there["steps"])
    assert (here["status"], here["response"]) == ("completed", "The result is 15.")
    assert (here["total_cost_usd"], here["total_tokens"], here["charged"]) == (None, 0, 0)
    assert (here["metadata"]["ticket"], here["group"]) == (7, None)
    origin = here["metadata"][MARK]
    assert (origin["run_id"], origin["group"], origin["bundle"]) == (run_id, "nightly", given["bundle"])
    again = await imported(gateway, file, elsewhere, status=200)
    assert again == given
    listed = (await gateway.http.get("/api/runs", headers=elsewhere)).json()["items"]
    assert [each["run_id"] for each in listed] == [given["run_id"]]
    mine = await imported(gateway, file, SENDS)
    assert mine["run_id"] not in (run_id, given["run_id"])
    assert (await gateway.http.get(f"/api/runs/{mine['run_id']}", headers=elsewhere)).status_code == 404
    assert (await gateway.http.get(f"/api/runs/{run_id}/bundle", headers=elsewhere)).status_code == 404


async def test_the_file_holds_log_values_and_cost_and_an_imported_run_leaves_as_it_came(
    gateway: Gateway, runner: FakeRunner, recorded: None, elsewhere: dict[str, str]
) -> None:
    run_id = await a_run(gateway)
    await is_recorded(gateway, run_id, 8)
    bundle = read(await bundle_of(gateway, run_id))
    run = RunKey("default", run_id)
    steps = await steps_at(gateway, run)
    assert steps_of(bundle) == list(steps)
    assert len(bundle.contents.bodies) == 1
    paid = json.loads(bundle.contents.charges)
    assert [(each["step"], each["item"], each["price_source"]) for each in paid] == [
        (3, "model", "genai-prices"),
        (6, "model", "genai-prices"),
    ]
    assert all(float(each["amount_usd"]) > 0 for each in paid)
    given = await imported(gateway, await bundle_of(gateway, run_id), elsewhere)
    again = read((await gateway.http.get(f"/api/runs/{given['run_id']}/bundle", headers=elsewhere)).content)
    ours = [step.model_copy(update={"writer": "x"}) for step in steps]
    assert [step.model_copy(update={"writer": "x"}) for step in steps_of(again)] == ours
    assert again.manifest.run_id == run_id


async def test_after_the_broker_has_forgotten_a_run_its_file_is_the_same(
    gateway: Gateway, runner: FakeRunner, recorded: None
) -> None:
    run_id = await a_run(gateway)
    await is_recorded(gateway, run_id, 8)
    file = await bundle_of(gateway, run_id)
    await forget(gateway.nats, RunKey("default", run_id))
    await forget_bodies(gateway.nats)
    assert await bundle_of(gateway, run_id) == file


async def test_the_conversation_before_a_run_is_in_its_file(gateway: Gateway, runner: FakeRunner) -> None:
    await a_run(gateway, "large first", session_id="s")
    second = read(await bundle_of(gateway, await a_run(gateway, "second", session_id="s")))
    request = steps_of(second)[0]
    assert isinstance(request, RunRequested)
    [part] = request.history
    assert isinstance(part.messages, list)
    roles = [message["role"] for message in part.messages if isinstance(message, dict)]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert LARGE in json.dumps(part.messages)
    assert len(second.contents.bodies) == 1  # they are large, too


async def test_what_the_deployment_cuts_out_is_in_no_byte_of_the_file(
    gateway: Gateway, runner: FakeRunner, nats_url: str, database_url: str
) -> None:
    run_id = await a_run(gateway, user_id="Rosalind", metadata={"for": "Rosalind"})
    assert b"Rosalind" in b"".join(entries_of(await bundle_of(gateway, run_id)).values())
    environ = {**ENVIRON, "BUNDLE_REDACT_PATTERNS": '["Rosalind"]'}
    async with running_gateway(nats_url, database_url, environ) as careful:
        file = await bundle_of(careful, run_id, "?redact=metadata,reasoning")
    assert b"Rosalind" not in b"".join(entries_of(file).values())
    redactions = read(file).manifest.redactions
    assert redactions is not None
    assert redactions.parts == ("metadata", "reasoning")
    assert {each.step: each.fields for each in redactions.steps}[0] == {"metadata": 1, "user_id": 1}


async def test_many_who_take_in_the_same_file_at_two_gateways_get_one_run(
    gateway: Gateway, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.bundles.preparation.INLINE_LIMIT", 1500)
    steps = whole_run(RunKey("theirs", aged_id(0.01)), tools=4)
    async with running_gateway(nats_url, database_url, ENVIRON) as other:
        answers = await asyncio.gather(
            *(
                each.http.post("/api/bundles", content=bundled(steps), headers=SENDS)
                for each in (gateway, other) * 4
            )
        )
    assert {answer.status_code for answer in answers} <= {200, 201}
    [run_id] = {answer.json()["run_id"] for answer in answers}
    there = await steps_at(gateway, RunKey("default", run_id))
    assert [step.seq for step in there] == list(range(len(steps)))
    assert {step.writer for step in there} == {WRITER}


class Killed(Exception):
    """The process has ended here."""


class MortalLog(RunLog):
    """Dies before its append number `dies_at`; with 0 of them left, before it puts the job into the queue."""

    left = 0

    async def append(self, run: RunKey, sealed: Sealed, expected: int, *, patience_s: float = 30.0) -> int:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return await super().append(run, sealed, expected, patience_s=patience_s)

    async def requeue(self, run: RunKey, *, cause: str, job: bytes | None = None) -> None:
        raise Killed


async def test_what_a_crash_leaves_of_a_run_is_nobodys_and_the_next_try_completes_it(
    gateway: Gateway, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.bundles.preparation.INLINE_LIMIT", 1500)
    for dies_at in range(4):
        steps = whole_run(RunKey("theirs", aged_id(0.01)), tools=4)
        file, log = bundled(steps), MortalLog(gateway.nats, Scrubber())
        log.left = dies_at
        arrivals = arrivals_of(gateway, log)
        bundle = await arrivals.open(file, 10**6)
        with pytest.raises(Killed):
            await arrivals.take_in(bundle, "default")
        given = await imported(gateway, file, SENDS)
        there = await steps_at(gateway, RunKey("default", given["run_id"]))
        assert [step.seq for step in there] == list(range(len(steps)))
        await is_recorded(gateway, given["run_id"], len(steps), charges=0)


def arrivals_of(gateway: Gateway, log: RunLog) -> Arrivals:
    reader = LogReader(gateway.nats)
    runs = Runs(reader, gateway.database, None, None)  # type: ignore[arg-type]  # rows alone are read
    settings = GatewaySettings(api_key_pepper=PEPPER, database_url="", bundle_signing_key=SEED)
    return Arrivals(log, reader, runs, gateway.database, Trust(settings))


async def test_a_run_of_long_ago_is_recorded_where_its_time_is(
    gateway: Gateway, recorded: None, runner: FakeRunner
) -> None:
    steps = whole_run(RunKey("theirs", aged_id(400)))
    given = await imported(gateway, bundled(steps), SENDS)
    await is_recorded(gateway, given["run_id"], len(steps), charges=0)
    view = (await gateway.http.get(f"/api/runs/{given['run_id']}")).json()
    assert (view["status"], view["response"]) == ("completed", "It is 15.")
    for days in (-30, -300 * 365, 30 * 365):
        strange = bundled(whole_run(RunKey("theirs", aged_id(days))))
        refused = await gateway.http.post("/api/bundles", content=strange, headers=SENDS)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "manifest.json")


async def test_a_run_that_was_deleted_can_be_taken_in_again(gateway: Gateway, recorded: None) -> None:
    file = bundled(whole_run(RunKey("theirs", aged_id(0.01))))
    first = await imported(gateway, file, SENDS)
    await is_recorded(gateway, first["run_id"], 12, charges=0)
    assert (await gateway.http.delete(f"/api/runs/{first['run_id']}")).status_code == 204
    second = await imported(gateway, file, SENDS)
    assert second["run_id"] != first["run_id"]
    assert (await imported(gateway, file, SENDS, status=200))["run_id"] == second["run_id"]
    assert (await gateway.http.get(f"/api/runs/{first['run_id']}")).status_code == 404


async def test_no_runner_has_anything_to_do_for_an_imported_run(gateway: Gateway, runner: FakeRunner) -> None:
    given = await imported(gateway, bundled(whole_run(RunKey("theirs", aged_id(0.01)))), SENDS)
    run = RunKey("default", given["run_id"])
    before = await steps_at(gateway, run)
    assert fold(before).status.is_final
    await a_run(gateway, "another")  # whose job lies behind that of the imported one
    assert await steps_at(gateway, run) == before
    assert runner.played == 1


async def test_the_end_of_an_imported_run_is_told_to_no_webhook(gateway: Gateway, recorded: None) -> None:
    hook = {"url": "https://example.com/hook", "events": ["run.finished"]}
    assert (await gateway.http.post("/api/webhooks", json=hook)).status_code == 201
    steps = whole_run(RunKey("theirs", aged_id(0.01)))
    steps[-1] = steps[-1].model_copy(update={"at": now()})
    given = await imported(gateway, bundled(steps), SENDS)
    await is_recorded(gateway, given["run_id"], len(steps), charges=0)
    async with gateway.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_what_this_deployment_redacts_does_not_get_into_its_log_by_file(gateway: Gateway) -> None:
    credential = f"hf_{'a' * 40}"
    steps = whole_run(RunKey("theirs", aged_id(0.01)))
    steps[2] = steps[2].model_copy(update={"content": f"use {credential}\x00"})
    given = await imported(gateway, bundled(steps), SENDS)
    there = await steps_at(gateway, RunKey("default", given["run_id"]))
    assert credential.encode() not in b"".join(map(encode_step, there))
    assert given["scrubbed_steps"] == 1


async def test_the_key_and_a_file_are_answered_as_in_the_examples(gateway: Gateway) -> None:
    key = (await gateway.http.get("/api/bundles/key")).json()
    assert key == {"public_key": KEY.public, "fingerprint": fingerprint(KEY.public)}
    assert key.keys() == ANSWERS["bundle-key"].value.keys()
    assert fingerprint(SIGNER[0]) == SIGNER[1]
    assert isinstance(ANSWERS["bundle"].value, str)  # bytes, which JSON does not know


def refused(name: str, answer: httpx.Response, *instead: tuple[str, str]) -> None:
    """The answer must be the example's problem; `instead`: words of the example that differ here."""
    shown = json.dumps(PROBLEMS[name].document.model_dump(mode="json", exclude_defaults=True))
    for there, here in instead:
        shown = shown.replace(there, here)
    assert answer.status_code == PROBLEMS[name].kind.status, answer.text
    given = answer.json()
    assert {**given, "run_id": None} == {**json.loads(shown), "run_id": None}


async def test_what_cannot_be_made_is_refused_with_words(
    gateway: Gateway, runner: FakeRunner, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = gateway.http.get
    running = (await gateway.http.post("/api/runs?wait=1", json={"prompt": "hold"})).json()["run_id"]
    refused("run-goes-on", await get(f"/api/runs/{running}/bundle"))
    run_id = await a_run(gateway)
    refused("unknown-part", await get(f"/api/runs/{run_id}/bundle?redact=metadata,prompt"))
    monkeypatch.setitem(RESULT, "text", "x" * 1_100_000)
    huge = await a_run(gateway)
    small = {**ENVIRON, "BUNDLE_MAX_BYTES": "1048576", "BUNDLE_REDACT_PATTERNS": '["pure"]'}
    async with running_gateway(nats_url, database_url, small) as other:
        refused("run-too-large", await other.http.get(f"/api/runs/{huge}/bundle"), ("33554432", "1048576"))
        broken = await other.http.get(f"/api/runs/{run_id}/bundle")
        assert broken.status_code == 422
        assert "redaction pattern" in broken.json()["detail"]
    async with running_gateway(nats_url, database_url) as keyless:
        refused("no-signing-key", await keyless.http.get(f"/api/runs/{run_id}/bundle"))
        refused("no-signing-key", await keyless.http.get("/api/bundles/key"))
        given = await imported(keyless, bundled(whole_run(RunKey("x", aged_id(0.01)))), SENDS)
        assert given["trusted"] is False


async def test_what_cannot_be_taken_in_is_refused_with_words(
    gateway: Gateway, nats_url: str, database_url: str
) -> None:
    post = gateway.http.post
    steps = whole_run(RunKey("theirs", aged_id(0.01)))
    file = bundled(steps)
    tampered = changed(file, "steps.jsonl", lambda data: data.replace(b"calculator", b"calculated"))
    refused("tampered-bundle", await post("/api/bundles", content=tampered, headers=SENDS))
    refused("json-bundle", await post("/api/bundles", json={"prompt": "hi"}))
    for nothing in (b"", b"PK", b"{}", file[:-5]):
        answer = await post("/api/bundles", content=nothing, headers=SENDS)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "the file")
    once = {**SENDS, "Idempotency-Key": "once"}
    await imported(gateway, file, once)
    await imported(gateway, file, once, status=200)
    other_file = bundled(whole_run(RunKey("theirs", aged_id(0.01))))
    refused("key-reused-elsewhere", await post("/api/bundles", content=other_file, headers=once))
    trusting = {**ENVIRON, "BUNDLE_TRUSTED_KEYS": json.dumps([KEY.public]), "BUNDLE_MAX_BYTES": "1048576"}
    async with running_gateway(nats_url, database_url, trusting) as careful:
        stranger = SigningKey(OTHER_SEED)
        answer = await careful.http.post("/api/bundles", content=bundled(steps, stranger), headers=SENDS)
        refused("unknown-signer", answer, ("21fe31dfa154a261", fingerprint(stranger.public)))
        await imported(careful, other_file, SENDS)
        large = await careful.http.post("/api/bundles", content=bytes(1_100_000), headers=SENDS)
        refused("large-bundle", large, ("33554432", "1048576"))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("BUNDLE_SIGNING_KEY", "not-a-key-of-anybody", "32 bytes"),
        ("BUNDLE_TRUSTED_KEYS", '["AAAA"]', "32 bytes"),
        ("BUNDLE_REDACT_PATTERNS", '["("]', "no regular expression"),
        ("BUNDLE_REDACT_PATTERNS", '["x*"]', "matches where nothing stands"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_start_with_words_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=told) as raised:
        GatewaySettings(api_key_pepper=PEPPER, database_url="postgresql://x")
    assert name.lower() in str(raised.value)
    assert value not in str(raised.value)


async def test_without_the_database_nothing_is_made_or_taken_in(nats_url: str, database_url: str) -> None:
    host, _, rest = database_url.rpartition(":")
    async with proxied(database_url) as database:
        through = f"{host}:{database.port}/{rest.partition('/')[2]}"
        async with running_gateway(nats_url, through, ENVIRON) as gateway:
            file, other = (bundled(whole_run(RunKey("theirs", aged_id(0.01)))) for _ in range(2))
            run_id = (await imported(gateway, file, SENDS))["run_id"]
            target, database.target = database.target, 1  # nobody listens there
            database.cut()
            refused("database-away", await gateway.http.get(f"/api/runs/{run_id}/bundle"))
            refused("database-away", await gateway.http.post("/api/bundles", content=other, headers=SENDS))
            tampered = await gateway.http.post("/api/bundles", content=other[:-1], headers=SENDS)
            assert tampered.status_code == 422
            database.target = target
            await imported(gateway, other, SENDS)


async def test_the_command_line_writes_a_file_and_takes_it_in(
    gateway: Gateway, runner: FakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, run_id = Command(gateway), await a_run(gateway, user_id="user-42")
    saved = await command("bundle", run_id)
    file = tmp_path / f"run-{run_id}.studio"
    assert f"saved {file.name}, " in saved.stdout
    assert read(file.read_bytes()).manifest.run_id == run_id
    assert f"{file.name} is there already" in await command.refused("bundle", run_id)
    left = tmp_path / "left.studio"
    await command("bundle", run_id, "-o", str(left), "--redact", "user", "--redact", "people")
    assert read(left.read_bytes()).manifest.redactions is not None
    assert b"user-42" not in b"".join(entries_of(left.read_bytes()).values())
    [told] = await command.json("import", str(file))
    assert (told["source_run_id"], told["trusted"]) == (run_id, True)
    again = await command("import", str(file))
    assert f"run {told['run_id']} is completed" in again.stdout
    assert f"signed by {told['signer']}, a signer that this server knows" in again.stdout
    running = (await gateway.http.post("/api/runs?wait=1", json={"prompt": "hold"})).json()["run_id"]
    assert "the run is running; a bundle is made of a run that has ended" in await command.refused(
        "bundle", running
    )
    left.write_bytes(changed(left.read_bytes(), "charges.json", lambda _: b"[1]"))
    assert "charges.json: it has more than 2 bytes" in await command.refused("import", str(left))
    assert "cannot be read" in await command.refused("import", str(tmp_path / "nothing"))
