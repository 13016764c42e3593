"""Runs to be replayed, and what a gateway orders for them."""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from services.gateway.examples import ANSWERS, REPLAY_ID, RUN_ID
from shared.bus import WORK
from shared.messages import ReplayMessage, ReplayRequested, replay_messages
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import (
    Edit,
    Effect,
    ReplayPlan,
    RunRequested,
    RunVerified,
    Step,
    ToolAnswer,
)
from shared.stored import count_stored, stored_messages
from shared.subjects import RunKey, replay_subject
from tests.support.fake_runner import Batches, Script, answer, use_tool
from tests.support.gateway import Gateway
from tests.support.steps import claimed, make, new_key, requested, tool_spec
from tests.support.waiting import eventually

MAIL = tool_spec("send_mail", Effect.IRREVERSIBLE).model_copy(update={"needs_approval": True})


CALCULATOR = tool_spec("calculator")


PLAN = ReplayPlan(
    mode="fork",
    source_run_id=RUN_ID,
    replay_id=REPLAY_ID,
    arm="small",
    sample=3,
    fork_step=2,
    edits=(Edit(step=2, field="content", value="other"),),
    tools={"*": ToolAnswer(answer="static", static="x")},
)


async def played(
    gateway: Gateway, script: Script = use_tool, key: RunKey | None = None, **fields: Any
) -> RunKey:
    """A run whose log is what the script says."""
    key = key or new_key()
    log = RunLog(gateway.nats, Scrubber())
    request = requested(key, **{"tools": (CALCULATOR,), **fields})
    await log.request(key, log.seal([request]))
    position = 0
    for batch in script(key, request):
        position = await log.append(key, log.seal(batch), position)
    return key


async def is_recorded(gateway: Gateway, run: RunKey) -> None:
    """Returns once Postgres has all of the run."""

    async def listed() -> bool:
        query = {"limit": "200", "verifications": "true"}
        items = (await gateway.http.get("/api/runs", params=query)).json()["items"]
        return any(each["run_id"] == run.run_id and each["finished_at"] for each in items)

    await eventually(listed)


def verifies(key: RunKey, _: RunRequested) -> Batches:
    verified = make(RunVerified, key, 2, equal=True, steps=8, model_calls=2)
    return [[claimed(key, 1)], [verified, *_ended(key, 3)]]


def _ended(key: RunKey, seq: int) -> Sequence[Step]:
    return [step.model_copy(update={"seq": seq}) for step in answer(key, requested(key))[1][2:]]


async def replay(gateway: Gateway, **asked: Any) -> httpx.Response:
    return await gateway.http.post("/api/replays", json=asked)


async def told(gateway: Gateway, replay_id: str, project: str = "default") -> list[ReplayMessage]:
    stored = stored_messages(gateway.nats, WORK, replay_subject(project, replay_id))
    return [replay_messages.validate_json(message.data) async for message in stored]


async def ordered(gateway: Gateway, **asked: Any) -> ReplayRequested:
    """The order of a replay that was accepted."""
    accepted = await replay(gateway, **asked)
    assert accepted.status_code == 202, accepted.text
    [order] = await told(gateway, accepted.json()["replay_id"])
    assert isinstance(order, ReplayRequested)
    return order


async def all_told(gateway: Gateway) -> int:
    """How many orders there are."""
    return await count_stored(gateway.nats, WORK, "work.replay.>")


def same(name: str, given: httpx.Response, *ids: tuple[str, str], status: int = 200) -> None:
    """The answer must be that of the example, once its ids stand in place of the test's."""
    assert given.status_code == status, given.text
    text = given.text
    for there, here in ids:
        text = text.replace(there, here)
    assert json.loads(text) == ANSWERS[name].value, name
