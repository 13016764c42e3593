"""What cannot be replayed, and in which words that is told."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway.examples import REPLAY, REPLAY_ID, RUN_ID
from services.gateway.openapi.problem_examples import PROBLEMS
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import (
    ReplayPlan,
    RunDeleted,
)
from tests.support.fake_runner import announce, hold
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.replay_rows import taken_up
from tests.support.replaying import CALCULATOR, MAIL, all_told, played, replay, verifies
from tests.support.retention import aged_id
from tests.support.steps import make, new_key


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


class Refusals:
    """Runs of all kinds, and what is refused about them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def prepare(self) -> None:
        gateway = self.gateway
        self.run = (await played(gateway)).run_id
        self.mailer = (await played(gateway, tools=(CALCULATOR, MAIL))).run_id
        self.second = (await played(gateway)).run_id
        self.active = (await played(gateway, hold)).run_id
        self.foreign = (await played(gateway, key=new_key("other"))).run_id
        plan = ReplayPlan(mode="verify", source_run_id=self.run)
        self.verification = (await played(gateway, verifies, replay=plan)).run_id
        self.unpriced = (await played(gateway, model="nobody-knows", budget_usd=1.0)).run_id
        deleted = await played(gateway)
        log = RunLog(gateway.nats, Scrubber())
        end = (await log.read(deleted)).sequence
        await log.append(deleted, log.seal([make(RunDeleted, deleted, 8, who="test")]), end)
        self.deleted = deleted.run_id

    def cases(self) -> dict[str, tuple[dict[str, Any], int, str, str]]:
        """What is asked, the status, the field, and words of the message."""
        run, agent = {"run_id": self.run}, {"run_id": self.run, "changes": {"agent": "nobody"}}
        small = {"run_id": self.unpriced, "changes": {"budget_usd": 1}}
        edit = {"step": 1, "field": "content", "value": "x"}
        fork = {**run, "mode": "fork"}
        large = {"instructions": "x" * 300_000}
        many = [{"name": name, "changes": large} for name in "abc"]
        return {
            "unknown": ({"run_id": RUN_ID}, 404, "", RUN_ID),
            "no id": ({"run_id": "x"}, 404, "", "'x'"),
            "foreign": ({"run_id": self.foreign}, 404, "", self.foreign),
            "deleted": ({"run_id": self.deleted}, 404, "", self.deleted),
            "one of several": ({"run_ids": [self.run, RUN_ID]}, 404, "", RUN_ID),
            "running": ({"run_id": self.active}, 409, "", "is running; only a run that"),
            "verification": (
                {"run_id": self.verification},
                422,
                "run_id",
                f"only verified the run {self.run}",
            ),
            "no run": ({"mode": "verify"}, 422, "run_id", "name the run"),
            "middle of a pair": ({**fork, "step": 4}, 422, "step", "fork at step 3 or 5"),
            "behind the end": ({**fork, "step": 99}, 422, "step", "has no step 99; its last is 7"),
            "the end": ({**fork, "step": 7}, 422, "step", "fork at step 5"),
            "edit of nothing": (
                {**fork, "step": 2, "edits": [edit]},
                422,
                "edits",
                "step 1 is no message or result",
            ),
            "edit of a candidate": (
                {**fork, "step": 2, "candidates": [{"name": "a", "edits": [{**edit, "step": 9}]}]},
                422,
                "candidates.0.edits",
                "step 9",
            ),
            "too many forks": (
                {"run_ids": [aged_id() for _ in range(101)], "mode": "fork", "step": 0},
                422,
                "run_ids",
                "at most 100 runs can be forked",
            ),
            "several forks": (
                {"run_ids": [self.run, self.second], "mode": "fork", "step": 4},
                422,
                "step",
                f"run {self.run}: step 4",
            ),
            "model": ({**run, "changes": {"model": "gpt"}}, 422, "changes.model", "unknown model 'gpt'"),
            "model of a candidate": (
                {**run, "candidates": [{"name": "a"}, {"name": "b", "changes": {"model": "gpt"}}]},
                422,
                "candidates.1.changes.model",
                "unknown model",
            ),
            "tool": (
                {**run, "changes": {"tools": ["calculator", "shell"]}},
                422,
                "changes.tools.1",
                "unknown tool 'shell'",
            ),
            "agent": (agent, 422, "changes.agent", "there is no agent 'nobody'"),
            "budget without a price": (
                small | {"changes": {"budget_usd": 1}},
                422,
                "changes.budget_usd",
                "no budget",
            ),
            "live irreversible": (
                {"run_id": self.mailer, "tools": {"*": {"answer": "live"}}},
                422,
                "tools.*",
                "send_mail cannot be undone",
            ),
            "policy of no tool": (
                {**run, "tools": {"shell": {}}},
                422,
                "tools.shell",
                "theirs are calculator",
            ),
            "nothing to blame": ({**run, "mode": "blame"}, 422, "metrics", "completed, so by 'success'"),
            "expression": (
                {**run, "metrics": [{"name": "expression", "expression": "tokens >"}]},
                422,
                "metrics.0.expression",
                "no Python expression",
            ),
            "too many": (
                {
                    "run_ids": [self.run, self.second],
                    "samples": 1000,
                    "candidates": [{"name": name} for name in "abcdefgh"],
                },
                422,
                "samples",
                "18,000 runs",
            ),
            "samples 0": ({**run, "samples": 0}, 422, "samples", "greater than or equal to 1"),
            "samples 10,000": ({**run, "samples": 10_000}, 422, "samples", "less than or equal to 1000"),
            "too large": ({**run, "candidates": many}, 422, "body", "at most 786432"),
            "unknown field": ({**run, "changes": {"modell": "x"}}, 422, "changes.modell", "unknown field"),
        }


async def test_what_cannot_be_replayed_is_refused_with_field_and_words_and_nothing_is_stored(
    gateway: Gateway, recorded: None, subtests: pytest.Subtests
) -> None:
    refusals = Refusals(gateway)
    await refusals.prepare()
    for name, (asked, status, field, words) in refusals.cases().items():
        with subtests.test(name=name):
            given = await replay(gateway, **asked)
            assert given.status_code == status, given.text
            problem = given.json()
            assert words in problem["detail"]
            if field:
                assert [each["field"] for each in problem["errors"]] == [field]
    assert await all_told(gateway) == 0


async def test_refusals_are_as_in_the_examples(
    gateway: Gateway, recorded: None, subtests: pytest.Subtests
) -> None:
    refusals = Refusals(gateway)
    await refusals.prepare()
    cases, get, post = refusals.cases(), gateway.http.get, gateway.http.post
    await taken_up(gateway.database, REPLAY)
    run = {"run_id": refusals.run, "override_params": {"temprature": 0}}
    given = {
        "bad-fork-step": await replay(gateway, **cases["middle of a pair"][0]),
        "live-irreversible": await replay(gateway, **cases["live irreversible"][0]),
        "too-many-replays": await replay(gateway, **cases["too many"][0]),
        "changed-model": await replay(gateway, **cases["model"][0]),
        "bad-expression": await replay(gateway, **cases["expression"][0]),
        "source-active": await replay(gateway, **cases["running"][0]),
        "source-verified": await replay(gateway, **cases["verification"][0]),
        "unknown-override": await post("/replay", json=run),
        "no-such-replay": await get(f"/api/replays/{RUN_ID}"),
        "no-such-diff": await get(f"/api/replays/{REPLAY_ID}/diffs/{RUN_ID}"),
        "replay-finished": await post(f"/api/replays/{REPLAY_ID}/cancel"),
    }
    ids = {
        "source-active": (refusals.active, RUN_ID),
        "source-verified": (refusals.verification, REPLAY_ID),
        "no-such-replay": (RUN_ID, REPLAY_ID),
    }
    for name, answered in given.items():
        with subtests.test(name=name):
            there, here = ids.get(name, ("-", "-"))
            text = answered.text.replace(there, here).replace(refusals.run, RUN_ID)
            assert json.loads(text) == PROBLEMS[name].document.model_dump(mode="json", exclude_defaults=True)
