"""What a person decides, typed as commands and given by the client, against the real gateway.

The runner is a fake one: what a real one makes of a decision is in `tests/integration/test_waiting_runs.py`.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner, Result

from shared.bus import CATALOG, jetstream
from shared.catalog import Tools
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import ApprovalResolved, OutcomeResolved, RunRetried, Step
from shared.subjects import RunKey, catalog_subject
from studio import AsyncStudio, Conflict, Invalid, NotFound
from studio.cli import app
from studio.client.models import WaitingRun
from tests.integration.test_gateway_steering import MAIL, asks, dies
from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import only
from tests.support.waiting import eventually

UNKNOWN_RUN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_url, database_url) as running,
        projecting(running.nats, running.database),
        running_fake_runner(running.nats) as runner,
    ):
        runner.scripts |= {"ask": asks, "die": dies}
        tools = Tools(tools=(MAIL,)).model_dump_json().encode()
        await jetstream(running.nats).publish(catalog_subject("tools"), tools, stream=CATALOG)
        yield running


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncStudio]:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        yield client


async def typed(gateway: Gateway, *arguments: str) -> Result:
    environment = {"STUDIO_URL": gateway.url, "STUDIO_API_KEY": gateway.key, "COLUMNS": "200"}
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)


async def waiting(client: AsyncStudio, prompt: str) -> WaitingRun:
    """A run of that prompt, once it is shown to wait."""
    run_id = (await client.create(prompt, tools=["send_mail"])).run_id
    shown: list[WaitingRun] = []

    async def is_shown() -> bool:
        shown[:] = [run async for run in client.waiting() if run.run_id == run_id]
        return bool(shown)

    await eventually(is_shown)
    return shown[0]


async def steps_of(gateway: Gateway, run_id: str) -> list[Step]:
    return list((await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))).steps)


async def test_a_call_is_approved_with_other_arguments_once(gateway: Gateway, client: AsyncStudio) -> None:
    run = await waiting(client, "ask")
    short = run.run_id[-8:]
    assert f"{run.run_id}  approval" in (await typed(gateway, "waiting")).stdout
    refused = await typed(gateway, "approve", short, "--arguments", '{"to": "team@example.com"}')
    assert (refused.exit_code, "'text' is a required property" in refused.stderr) == (1, True)
    edited = '{"to": "team@example.com", "text": "45"}'
    first = await typed(gateway, "approve", short, "--arguments", edited)
    assert (first.exit_code, f"approved send_mail {edited}" in first.stdout) == (0, True)
    second = await typed(gateway, "deny", short)
    assert second.exit_code == 1
    [resolved] = only(await steps_of(gateway, run.run_id), ApprovalResolved)
    assert (resolved.decision, resolved.arguments) == (
        "approved",
        {"to": "team@example.com", "text": "45"},
    )


async def test_a_call_is_denied_with_a_note(gateway: Gateway, client: AsyncStudio) -> None:
    run = await waiting(client, "ask")
    denied = await typed(gateway, "deny", run.run_id, "--note", "Not to everybody.")
    assert denied.exit_code == 0, denied.stderr
    [resolved] = only(await steps_of(gateway, run.run_id), ApprovalResolved)
    assert (resolved.decision, resolved.note) == ("denied", "Not to everybody.")


async def test_the_outcome_of_a_call_is_settled(gateway: Gateway, client: AsyncStudio) -> None:
    run = await waiting(client, "die")
    approved = await typed(gateway, "approve", run.run_id)
    assert (approved.exit_code, "`studio settle" in approved.stderr) == (1, True)
    settled = await typed(gateway, "settle", run.run_id, "happened", "--result", '{"message_id": "m-17"}')
    assert settled.exit_code == 0, settled.stderr
    [outcome] = only(await steps_of(gateway, run.run_id), OutcomeResolved)
    assert (outcome.decision, outcome.result) == ("happened", {"message_id": "m-17"})


async def test_a_failed_run_is_retried_and_no_other_is(gateway: Gateway, client: AsyncStudio) -> None:
    failed = (await client.run("fail")).run_id
    retried = await typed(gateway, "retry", failed, "--why", "the provider is back")
    assert retried.exit_code == 0, retried.stderr
    assert only(await steps_of(gateway, failed), RunRetried)[0].why == "the provider is back"
    completed = (await client.run("hello")).run_id
    refused = await typed(gateway, "retry", completed)
    assert (refused.exit_code, "the run is completed" in refused.stderr) == (1, True)
    asked = await typed(gateway, "approve", completed)
    assert (asked.exit_code, "is completed and asks nobody" in asked.stderr) == (1, True)
    unknown = await typed(gateway, "approve", UNKNOWN_RUN)
    assert (unknown.exit_code, f"there is no run {UNKNOWN_RUN}" in unknown.stderr) == (1, True)


async def test_the_client_decides_once_and_about_what_was_shown(client: AsyncStudio) -> None:
    run = await waiting(client, "ask")
    [call] = run.calls
    with pytest.raises(Conflict, match="waits with the arguments_hash"):
        await client.approve(run.run_id, call.model_copy(update={"arguments_hash": "0" * 64}))
    with pytest.raises(Invalid, match="'text' is a required property"):
        await client.approve(run.run_id, call, arguments={"to": "me"})
    with pytest.raises(NotFound):
        await client.deny(run.run_id, call.model_copy(update={"call_id": "another"}))
    with pytest.raises(Conflict, match="does not wait for the outcome"):
        await client.settle(run.run_id, call.call_id, "fail")
    with pytest.raises(Conflict, match="only what has ended can be retried"):
        await client.retry(run.run_id)
    await client.approve(run.run_id, call)
    with pytest.raises(Conflict, match="the call was approved by key test"):
        await client.deny(run.run_id, call, "too late")
