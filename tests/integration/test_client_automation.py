"""Webhooks and schedules through the client and the `studio` command, at a real gateway."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway.schedules import scheduler
from services.gateway.webhooks import deliveries as sending
from studio import AsyncStudio, Invalid, RunStatus
from tests.integration.test_gateway_schedules import make_due
from tests.support.commands import Command
from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.receiver import Receiver, answer, running_receiver
from tests.support.waiting import eventually

HOURLY: dict[str, Any] = {"name": "hourly", "cron": "0 * * * *", "input": {"prompt": "tick"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses of milliseconds instead of seconds."""
    for module, name in ((sending, "EVERY_S"), (sending, "FIRST_PAUSE_S"), (scheduler, "EVERY_S")):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr("studio.commands.telling.PAUSE_S", 0.01)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


@pytest.fixture
async def gateway(nats_url: str, database_url: str, receiver: Receiver) -> AsyncIterator[Gateway]:
    allowed = {"GATEWAY_WEBHOOK_ALLOW_PRIVATE": f"127.0.0.1:{receiver.port}"}
    async with (
        running_gateway(nats_url, database_url, allowed) as running,
        running_fake_runner(running.nats),
        projecting(running.nats, running.database),
    ):
        yield running


@pytest.fixture
def command(gateway: Gateway) -> Command:
    return Command(gateway)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncStudio]:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        yield client


async def test_the_client_is_told_the_secret_of_a_webhook_once(
    client: AsyncStudio, receiver: Receiver
) -> None:
    made = await client.create_webhook(receiver.url, events=["run.failed"], idempotency_key="k")
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    assert (await client.create_webhook(receiver.url, events=["run.failed"], idempotency_key="k")) == made
    assert not hasattr(await client.webhook(made.id), "secret")
    changed = await client.update_webhook(made.id, active=False, description="the team's")
    assert (changed.events, changed.active, changed.description) == (("run.failed",), False, "the team's")
    with pytest.raises(Invalid):
        await client.update_webhook(made.id, url="http://10.0.0.1/hook")
    await client.delete_webhook(made.id)
    assert await client.webhooks() == ()


async def test_the_client_reads_what_a_webhook_was_told_and_sends_it_again(
    client: AsyncStudio, receiver: Receiver
) -> None:
    hook = await client.create_webhook(receiver.url)
    run = await client.run("hi")
    test = await client.send_test_event(hook.id)

    async def told() -> dict[str, str | None]:
        return {each.type: each.run_id async for each in client.deliveries(hook.id, status="delivered")}

    async def all_told() -> bool:
        return await told() == {"run.finished": run.run_id, "webhook.test": None}

    await eventually(all_told)
    assert len([each async for each in client.deliveries(hook.id, limit=1)]) == 1
    assert (await client.redeliver(hook.id, test.id)).status == "pending"

    async def came_again() -> bool:
        return [each.headers["webhook-id"] for each in receiver.received].count(test.event_id) == 2

    await eventually(came_again)


async def test_the_client_pauses_resumes_and_triggers_a_schedule(
    client: AsyncStudio, gateway: Gateway
) -> None:
    made = await client.create_schedule(HOURLY)
    assert made.definition | HOURLY == made.definition
    paused = await client.pause_schedule(made.id)
    assert (paused.active, paused.next_at) == (False, None)
    accepted = await client.trigger_schedule(made.id)
    assert (await client.wait(accepted.run_id)).status is RunStatus.COMPLETED
    assert (await client.resume_schedule(made.id)).active
    assert (await client.update_schedule(made.id, {"cron": "30 * * * *"})).cron == "30 * * * *"
    await make_due(gateway, {"id": made.id})

    async def started() -> list[str | None]:
        return [tick.run_id async for tick in client.ticks(made.id) if tick.status == "started"]

    await eventually(started)
    assert await started() == [(await client.schedule(made.id)).last_run_id]
    await client.delete_schedule(made.id)
    assert await client.schedules() == ()


async def test_a_webhook_is_added_tried_and_removed_by_commands(command: Command, receiver: Receiver) -> None:
    assert "`studio webhooks add URL`" in (await command("webhooks")).stderr
    added = await command("webhooks", "add", receiver.url, "--event", "run.failed")
    assert added.stdout.startswith("whsec_")
    assert "not shown again" in added.stderr
    hook = (await command.json("webhooks"))[0]
    assert (hook["events"], hook["active"], "secret" in hook) == (["run.failed"], True, False)
    last = hook["id"][-8:]
    assert "answered HTTP 204" in (await command("webhooks", "test", last)).stdout
    await command("webhooks", "change", last, "--event", "run.waiting", "--description", "for [us]")
    assert "run.waiting" in (await command("webhooks")).stdout
    assert "for [us]" in (await command("webhooks")).stdout
    await command("webhooks", "off", last)
    assert "switched off" in await command.refused("webhooks", "test", last)
    await command("webhooks", "on", last)
    assert "there is no webhook '0'" in await command.refused("webhooks", "remove", "0")
    await command("webhooks", "remove", last)
    assert await command.json("webhooks") == []


async def test_a_webhook_that_answers_with_an_error_is_told_and_told_again(
    command: Command, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 300.0)
    receiver.answer = lambda _: answer(500)
    await command("webhooks", "add", receiver.url)
    hook = (await command.json("webhooks"))[0]["id"]
    refusal = await command.refused("webhooks", "test", hook)
    assert f"answered 500; `studio webhooks deliveries {hook[-8:]}`" in refusal
    row = (await command("webhooks", "deliveries", hook)).stdout.splitlines()[1]
    assert "answered 500; again in" in row
    receiver.answer = lambda _: answer(204)
    delivery = (await command.json("webhooks", "deliveries", hook, "--status", "pending"))[0]["id"]
    assert "HTTP 204" in (await command("webhooks", "redeliver", hook, delivery[-8:])).stdout
    nothing = await command("webhooks", "deliveries", hook, "--status", "pending")
    assert "nothing is like that" in nothing.stderr
    assert "there is no delivery" in await command.refused("webhooks", "redeliver", hook, "dead")


async def test_a_schedule_is_added_changed_and_triggered_by_commands(command: Command) -> None:
    assert "`studio schedules add FILE`" in (await command("schedules")).stderr
    assert "next 20" in (await command("schedules", "add", "-", given=json.dumps(HOURLY))).stdout
    assert "paused" in (await command("schedules", "pause", "hourly")).stdout
    definition: Any = json.loads((await command("schedules", "show", "hourly", "--definition")).stdout)
    changed = json.dumps({**definition, "name": "hourly [2]", "timezone": "Europe/Paris"})
    await command("schedules", "update", "hourly", "-", given=changed)
    row = (await command("schedules")).stdout.splitlines()[1]
    assert "hourly [2]" in row
    assert "paused" in row
    view = (await command("schedules", "show", "hourly [2]")).stdout
    assert "(Europe/Paris)" in view
    assert "it was not due yet" in view
    assert "started run" in (await command("schedules", "trigger", "hourly [2]")).stdout
    assert "next 20" in (await command("schedules", "resume", "hourly [2]")).stdout
    await command("schedules", "remove", "hourly [2]")
    assert "there is no schedule" in await command.refused("schedules", "show", "hourly [2]")


async def test_schedules_of_the_same_name_are_told_apart_by_their_ids(command: Command) -> None:
    for _ in range(2):
        await command("schedules", "add", "-", given=json.dumps(HOURLY))
    first, second = [each["id"] for each in await command.json("schedules")]
    refusal = await command.refused("schedules", "remove", "hourly")
    assert first in refusal
    assert second in refusal
    await command("schedules", "remove", first)
    assert [each["id"] for each in await command.json("schedules")] == [second]


async def test_a_schedule_that_is_wrong_is_refused_in_words(command: Command) -> None:
    never = json.dumps({**HOURLY, "cron": "0 0 31 2 *"})
    assert "never fires" in await command.refused("schedules", "add", "-", given=never)
    assert "is not JSON" in await command.refused("schedules", "add", "-", given="{")


async def test_what_became_of_a_schedules_times_is_shown(gateway: Gateway, command: Command) -> None:
    await command("schedules", "add", "-", given=json.dumps(HOURLY))
    schedule = (await command.json("schedules"))[0]
    await make_due(gateway, schedule)

    async def is_shown() -> bool:
        return "started" in (await command("schedules", "show", "hourly")).stdout

    await eventually(is_shown)
