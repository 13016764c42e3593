"""Replays ordered over HTTP: what the replayer is told, once, and when it can carry it out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway import examples
from services.gateway.examples import REPLAY_ID
from services.gateway.openapi.problem_examples import PROBLEMS
from shared.bus import WORK, BusSettings, jetstream, streams
from shared.messages import ReplayRequested
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import (
    Edit,
    HistoryPart,
    ToolAnswer,
)
from shared.subjects import RunKey
from tests.support.fake_runner import announce, answer, fail, use_tool
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.replaying import (
    CALCULATOR,
    MAIL,
    all_told,
    is_recorded,
    ordered,
    played,
    replay,
    same,
    told,
)
from tests.support.retention import aged_id, forget, is_forgotten
from tests.support.steps import new_key, tool_spec
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


async def test_what_the_project_says_of_a_tool_by_now_holds_for_its_replays(gateway: Gateway) -> None:
    http_fetch = tool_spec("http_fetch")
    run = (await played(gateway, tools=(CALCULATOR, http_fetch, MAIL))).run_id
    await gateway.http.patch("/api/tools/calculator", json={"needs_approval": True})
    await gateway.http.patch("/api/tools/http_fetch", json={"enabled": False})

    async def known() -> bool:
        order = await ordered(gateway, run_id=run)
        return order.ask_about == ("calculator",) and "http_fetch" in order.tools

    await eventually(known)
    order = await ordered(gateway, run_id=run, tools={"calculator": {"answer": "live"}})
    assert order.tools["http_fetch"] == ToolAnswer(on_miss="error")  # is not called any more
    assert order.tools["send_mail"] == ToolAnswer(on_miss="fail")  # as it would by default
    for name, state in (("http_fetch", "switched off"), ("send_mail", "not there any more")):
        refused = await replay(gateway, run_id=run, tools={name: {"answer": "live"}})
        assert refused.status_code == 422
        assert state in refused.json()["detail"]


async def test_a_fork_takes_over_no_more_than_a_request_can_hold(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.replaying.orders.MOST_TAKEN", 4)
    run = (await played(gateway)).run_id
    assert (await replay(gateway, run_id=run, mode="fork", step=3)).status_code == 202
    refused = await replay(gateway, run_id=run, mode="fork", step=5)
    assert refused.status_code == 422
    assert "at most 4 steps; these would be 5" in refused.json()["detail"]


async def test_a_verification_may_try_changes_and_calls_nothing_that_changes_anything(
    gateway: Gateway,
) -> None:
    run = (await played(gateway, tools=(CALCULATOR, MAIL))).run_id
    changes = {"instructions": "Be brief."}
    order = await ordered(
        gateway, run_id=run, mode="verify", changes=changes, tools={"calculator": {"answer": "live"}}
    )
    assert order.arms[0].changes.instructions == "Be brief."
    refusals: list[Any] = [{"send_mail": {"answer": "live"}}, {"*": {"answer": "live"}}, {"calculator": {}}]
    for tools in refusals:
        refused = await replay(gateway, run_id=run, mode="verify", tools=tools)
        assert refused.status_code == 422
        assert "believes what is recorded" in refused.json()["detail"]


async def test_every_example_of_a_replay_is_accepted_and_ordered(gateway: Gateway) -> None:
    run = await played(gateway)
    orders: list[ReplayRequested] = []
    for example in examples.REPLAY_INPUT.values():
        accepted = await replay(gateway, **{**example.value, "run_id": run.run_id})
        replay_id = accepted.json()["replay_id"]
        same("replay-accepted", accepted, (replay_id, REPLAY_ID), status=202)
        assert accepted.headers["location"] == f"/api/replays/{replay_id}"
        [order] = await told(gateway, replay_id)
        assert isinstance(order, ReplayRequested)
        orders.append(order)
        assert order.sources == (run.run_id,)
    assert [
        (order.mode, [arm.name for arm in order.arms], order.samples, order.fork_step) for order in orders
    ] == [
        ("verify", ["replay"], 1, None),
        ("rerun", ["replay"], 1, None),
        ("rerun", ["baseline", "small", "cold"], 20, None),
        ("fork", ["replay"], 1, 5),
    ]
    assert orders[-1].arms[0].edits == (Edit(step=5, field="result", value="5 + 10 = 16"),)


async def test_the_order_says_all_that_was_asked_with_what_it_stands_for(gateway: Gateway) -> None:
    run = await played(gateway, tools=(CALCULATOR, MAIL))
    order = await ordered(
        gateway,
        run_id=run.run_id,
        samples=3,
        changes={
            "model": "mistral-small-latest",
            "parameters": {"temperature": 0},
            "tools": ["http_fetch", "send_mail"],
            "max_rounds": 2,
        },
        tools={"send_mail": {"on_miss": "error"}, "*": {"answer": "static", "static": {"a": 1}}},
        metrics=[{"name": "exact", "expected": "15"}, {"name": "tokens"}],
        confidence=0.9,
        stop_early=False,
        metadata={"ticket": 7},
    )
    baseline, changed = order.arms
    assert baseline.changes == type(changed.changes)()
    assert (changed.name, changed.changes.model, changed.changes.max_rounds) == (
        "replay",
        "mistral-small-latest",
        2,
    )
    assert changed.changes.parameters.model_dump(exclude_none=True) == {"temperature": 0}
    assert changed.changes.tools is not None
    assert [spec.name for spec in changed.changes.tools] == ["http_fetch", "send_mail"]
    assert changed.changes.tools[1] == MAIL  # as the run has it, with its approval
    assert changed.changes.rates == {}
    assert order.tools == {
        "send_mail": ToolAnswer(on_miss="error"),
        "*": ToolAnswer(answer="static", static={"a": 1}),
    }
    assert [metric.label for metric in order.metrics] == ["exact", "tokens", "success"]
    assert (order.confidence, order.stop_early, order.metadata) == (0.9, False, {"ticket": 7})


async def test_an_agent_is_resolved_to_what_it_says_now(gateway: Gateway, recorded: None) -> None:
    said = {"instructions": "Be brief.", "tools": ["calculator"], "limits": {"max_rounds": 3}}
    assert (await gateway.http.post("/api/agents", json={"name": "brief", **said})).status_code == 201
    run = await played(gateway)
    order = await ordered(
        gateway, run_id=run.run_id, changes={"agent": "brief@1", "prompt": "What is 2 + 2?"}
    )
    changes = order.arms[0].changes
    assert changes.agent is not None
    assert (changes.agent.ref.name, changes.agent.instructions) == ("brief", "Be brief.")
    assert [spec.name for spec in changes.agent.tools] == ["calculator"]
    assert (changes.max_rounds, changes.prompt, changes.model) == (3, "What is 2 + 2?", None)


async def test_a_run_with_a_budget_brings_the_prices_of_the_other_model(gateway: Gateway) -> None:
    run = await played(gateway, budget_usd=0.5)
    order = await ordered(gateway, run_id=run.run_id, changes={"model": "mistral-small-latest"})
    assert list(order.arms[0].changes.rates) == ["mistral-small-latest"]
    free = await played(gateway)
    order = await ordered(gateway, run_id=free.run_id, changes={"budget_usd": 0.1})
    assert list(order.arms[0].changes.rates) == ["mistral-large-latest"]


async def test_blame_has_samples_and_a_bound_by_default(gateway: Gateway) -> None:
    run = await played(gateway, fail)
    order = await ordered(gateway, run_id=run.run_id, mode="blame")
    assert (order.samples, order.most_runs, order.threshold) == (5, 60, 1.0)
    well = await played(gateway)
    metric = {"name": "exact", "expected": "16"}
    order = await ordered(gateway, run_id=well.run_id, mode="blame", metrics=[metric], most_runs=9)
    assert order.most_runs == 9


async def test_secrets_are_redacted_before_the_order_is_stored(gateway: Gateway) -> None:
    run, secret = await played(gateway), "sk-" + "a" * 30
    order = await ordered(gateway, run_id=run.run_id, changes={"instructions": f"Use {secret} and \x00."})
    assert order.arms[0].changes.instructions == "Use [redacted] and \N{REPLACEMENT CHARACTER}."
    refused = await replay(
        gateway, run_id=run.run_id, changes={"response_format": {"type": "object", "title": secret}}
    )
    assert refused.status_code == 422
    assert "must not look like a credential" in refused.json()["detail"]


async def test_the_same_key_is_the_same_replay(gateway: Gateway) -> None:
    run, key = await played(gateway), {"Idempotency-Key": "once"}
    asked = {"run_id": run.run_id, "mode": "verify"}
    first, second = [await gateway.http.post("/api/replays", json=asked, headers=key) for _ in range(2)]
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    other = await gateway.http.post("/api/replays", json={"run_id": run.run_id}, headers=key)
    assert other.status_code == 409
    assert await all_told(gateway) == 1


async def test_a_request_that_was_refused_can_be_repeated_under_its_key(gateway: Gateway) -> None:
    run, key = new_key(), {"Idempotency-Key": "once"}
    asked = {"run_id": run.run_id, "mode": "verify"}
    assert (await gateway.http.post("/api/replays", json=asked, headers=key)).status_code == 404
    await played(gateway, key=run)
    accepted = await gateway.http.post("/api/replays", json=asked, headers=key)
    assert accepted.status_code == 202
    assert len(await told(gateway, accepted.json()["replay_id"])) == 1


async def test_an_order_that_the_broker_does_not_take_is_told_so(gateway: Gateway) -> None:
    run, js = await played(gateway), jetstream(gateway.nats)
    config = next(each for each in streams(BusSettings()) if each.name == WORK)
    await js.update_stream(config.evolve(max_bytes=100))
    given = await replay(gateway, run_id=run.run_id, mode="verify")
    await js.update_stream(config)
    assert given.status_code == 503
    said = PROBLEMS["replay-not-confirmed"].detail.partition(REPLAY_ID)
    assert given.json()["detail"].startswith(said[0])
    assert given.json()["detail"].endswith(said[2])
    assert await all_told(gateway) == 0


async def test_logs_that_take_too_long_to_put_back_can_be_asked_for_again(
    gateway: Gateway, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await played(gateway, key=RunKey("default", aged_id()))
    await is_recorded(gateway, old)
    await forget(gateway.nats, old)
    with monkeypatch.context() as patch:
        patch.setattr("services.gateway.replaying.sources.PATIENCE_S", 0.0)
        late = await replay(gateway, run_id=old.run_id, mode="verify")
    assert late.status_code == 503
    assert "not all put back yet; repeat the request" in late.json()["detail"]
    assert await all_told(gateway) == 0
    await ordered(gateway, run_id=old.run_id, mode="verify")


async def test_logs_that_have_left_the_broker_are_put_back_first(gateway: Gateway, recorded: None) -> None:
    earlier, deleted, old = [RunKey("default", aged_id()) for _ in range(3)]
    await played(gateway, answer, key=earlier)
    history = (HistoryPart(run_id=deleted.run_id), HistoryPart(run_id=earlier.run_id))
    await played(gateway, use_tool, key=old, session_id="s", history=history)
    log = RunLog(gateway.nats, Scrubber())
    before = {run: (await log.read(run)).steps for run in (earlier, old)}
    for run in before:
        await is_recorded(gateway, run)
        await forget(gateway.nats, run)
    refused = await replay(gateway, run_id=old.run_id, changes={"model": "gpt"})
    assert refused.status_code == 422
    assert await is_forgotten(gateway.nats, old)  # for what is refused nothing is put back
    await ordered(gateway, run_id=old.run_id, mode="fork", step=3)
    for run, steps in before.items():
        assert (await log.read(run)).steps == steps
    assert await is_forgotten(gateway.nats, deleted)
