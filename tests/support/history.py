"""The history of a stack, held against what its clients saw.

Read once everything has settled: the logs of the broker, the rows of Postgres, the files of the workspace.
Nothing is started or disturbed here; every violation is a sentence, so that one check reports all of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from nats.aio.client import Client

from shared.asked_runs import child_run_id
from shared.bus import COST, DEAD, RECORDER, REPLAYER, REPLAYER_ENDS, RUNNER, RUNS, jetstream
from shared.price_book import PriceBook, Quote
from shared.run_log import AGAIN_HEADER
from shared.run_state import LogGap, RunState, fold
from shared.step_codec import decode_step, decode_steps, encode_step
from shared.steps import AgentResponse, AgentThought, RunClaimed, RunFinished, Step, ToolCall, ToolResult
from shared.stored import stored_messages, subject_of

CHILD_STATUSES = frozenset({"completed", "cancelled"})
WAS_DELETED = "What was said before, in the run"
REPLAY_STATUSES = frozenset({"completed", "failed"})
OUTSIDERS = {"run-requested", "cancel-requested", "run-deleted"}
TOTALS: tuple[tuple[str, Callable[[RunState], object]], ...] = (
    ("status", lambda state: state.status.value),
    ("attempt", lambda state: state.attempt),
    ("steps", lambda state: state.next_seq),
    ("last_seq", lambda state: state.next_seq - 1),
    ("input_tokens", lambda state: state.usage.input),
    ("output_tokens", lambda state: state.usage.output),
    ("model_calls", lambda state: state.model_calls),
    ("tool_calls", lambda state: state.tool_calls),
    ("rounds", lambda state: state.rounds),
    ("started_at", lambda state: state.started_at),
    ("finished_at", lambda state: state.finished_at),
)


@dataclass
class Order:
    """What one client asked for and saw. `run_ids`: every answer to its idempotency key; `replays`: of the
    run, how many samples were asked for by id."""

    key: str
    kind: str
    statuses: frozenset[str]
    mark: str = ""
    run_ids: set[str] = field(default_factory=set)
    replays: dict[str, int] = field(default_factory=dict)
    watched: list[int] | None = None
    before_deletion: list[Step] | None = None
    surprises: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return min(self.run_ids)

    @property
    def is_deleted(self) -> bool:
        return self.before_deletion is not None


@dataclass(frozen=True)
class Stored:
    """What is there after all: steps of each run by the log, and by Postgres."""

    logs: dict[str, list[Step]]
    rows: dict[str, list[str]]
    runs: dict[str, asyncpg.Record]
    charges: dict[str, list[asyncpg.Record]]
    replays: dict[str, asyncpg.Record]
    replay_runs: dict[str, list[asyncpg.Record]]
    dead: list[str]
    left: list[str]

    @classmethod
    async def read(cls, client: Client, database: asyncpg.Connection) -> "Stored":
        logs: dict[str, list[Step]] = {}
        async for message in stored_messages(client, RUNS, "run.>"):
            run_id = subject_of(message).split(".")[-1]
            if AGAIN_HEADER in (message.headers or {}) and run_id in logs:
                continue  # the same job once more
            logs.setdefault(run_id, []).extend(decode_steps(message.data))
        rows: dict[str, list[str]] = {}
        for run_id, payload in await database.fetch("SELECT run_id, payload FROM steps ORDER BY run_id, seq"):
            rows.setdefault(str(run_id), []).append(payload)
        charges: dict[str, list[asyncpg.Record]] = {}
        for charge in await database.fetch("SELECT * FROM charges ORDER BY run_id, seq"):
            charges.setdefault(str(charge["run_id"]), []).append(charge)
        runs = {str(run["run_id"]): run for run in await database.fetch("SELECT * FROM runs")}
        replays = {str(each["replay_id"]): each for each in await database.fetch("SELECT * FROM replays")}
        replay_runs: dict[str, list[asyncpg.Record]] = {}
        for run in await database.fetch("SELECT * FROM replay_runs"):
            replay_runs.setdefault(str(run["replay_id"]), []).append(run)
        dead = [
            f"{subject_of(each)}: {(each.headers or {}).get('Dead-Error')}"
            async for each in stored_messages(client, DEAD, "dead.>")
        ]
        left = await unsettled(client, database)
        return cls(logs, rows, runs, charges, replays, replay_runs, dead, left)


async def unsettled(client: Client, database: asyncpg.Connection) -> list[str]:
    """What the consumers, and the gateway with deleted runs, still have to do."""
    js = jetstream(client)
    consumers = (RUNNER, RECORDER, COST, REPLAYER, REPLAYER_ENDS)
    infos = [await js.consumer_info(each.stream, each.name) for each in consumers]
    open_replays = await database.fetch("SELECT replay_id FROM replays WHERE finished_at IS NULL")
    leaving = await database.fetch("SELECT run_id, tries FROM deletions")
    return [
        *(
            f"{info.name}: {info.num_pending} pending, {info.num_ack_pending} unacknowledged"
            for info in infos
            if info.num_pending or info.num_ack_pending
        ),
        *(f"replay {replay_id} goes on" for (replay_id,) in open_replays),
        *(f"{run_id} is not erased after {tries} tries" for run_id, tries in leaving),
    ]


def violations(orders: Sequence[Order], stored: Stored, workspace: Path) -> list[str]:
    """Everything in the history that must not be."""
    found = [f"dead letter {letter}" for letter in stored.dead] + stored.left
    asked = Counter(run_id for order in orders for run_id in order.run_ids)
    children = {child.run_id: child for order in orders for child in _children(order, stored)}
    replays = {run.run_id: run for order in orders for run in _replays(order, stored)}
    unknown = stored.logs.keys() - asked.keys() - children.keys() - replays.keys()
    found += [f"run {run_id} was never asked for" for run_id in unknown]
    found += [f"run {run_id} answers {count} orders" for run_id, count in asked.items() if count > 1]
    marks = _marks(workspace)
    for order in [*orders, *children.values(), *replays.values()]:
        seen = [*order.surprises, *_of_order(order, stored), *_of_replays(order, stored)]
        if len(order.run_ids) == 1:
            seen += _of_files(order, _steps(order, stored), marks[order.mark])
        found += [f"{order.kind} {order.key} {sorted(order.run_ids)}: {each}" for each in seen]
    return found


def _children(order: Order, stored: Stored) -> Iterable[Order]:
    """The runs that answered the run's calls, as far as they were begun; with a deleted run they go, too."""
    if len(order.run_ids) != 1:
        return
    for step in _steps(order, stored):
        if isinstance(step, ToolCall) and step.most_runs and (run_id := child_run_id(step)) in stored.logs:
            deleted: list[Step] | None = [] if order.is_deleted else None
            yield Order(
                order.key, f"child of {order.kind}", CHILD_STATUSES, "", {run_id}, before_deletion=deleted
            )


def _replays(order: Order, stored: Stored) -> Iterable[Order]:
    """The runs of the replays of a run."""
    for replay_id in order.replays:
        for run in stored.replay_runs.get(replay_id, []):
            yield Order(order.key, f"replay of {order.kind}", REPLAY_STATUSES, "", {str(run["run_id"])})


def _of_replays(order: Order, stored: Stored) -> Iterable[str]:
    """Every sample was asked for once and measured once, and there is a result."""
    for replay_id, samples in order.replays.items():
        replay, runs = stored.replays.get(replay_id), stored.replay_runs.get(replay_id, [])
        if replay is not None and WAS_DELETED in str(replay["error"]):
            continue  # an earlier run of its session, which nobody can tell a model of any more
        if replay is None or replay["status"] != "completed":
            yield f"replay {replay_id} is {replay and (replay['status'], replay['error'])}"
            continue
        if len(runs) != samples or any(run["measures"] is None for run in runs):
            yield f"replay {replay_id} has {len(runs)} runs of {samples}"
        verified = json.loads(replay["result"])["verification"]
        if verified is not None and verified["equal"] != samples:
            yield f"replay {replay_id} verified: {verified}"


def _of_order(order: Order, stored: Stored) -> Iterable[str]:
    if len(order.run_ids) != 1:
        return [f"{len(order.run_ids)} runs for one idempotency key"]
    log, steps = stored.logs.get(order.run_id, []), _steps(order, stored)
    rows, run = stored.rows.get(order.run_id, []), stored.runs.get(order.run_id)
    if order.before_deletion == []:  # nobody has read it before
        return _of_deletion(log, rows, run)
    charged = _of_charges(steps, stored.charges.get(order.run_id, []))
    if order.is_deleted:
        kept = [*_of_log(order, steps), *_of_deletion(log, rows, run)]
    else:
        kept = [*_of_log(order, steps), *_of_rows(steps, rows, run)]
    return [*kept, *_of_watch(order, steps), *charged]


def _steps(order: Order, stored: Stored) -> list[Step]:
    """The run's steps; of a deleted one as they were before."""
    return order.before_deletion or sorted(stored.logs.get(order.run_id, []), key=lambda step: step.seq)


def _of_log(order: Order, steps: Sequence[Step]) -> Iterable[str]:
    try:
        status = fold(steps).status
    except LogGap as gap:
        yield f"{gap}: {[(step.seq, step.kind, step.attempt, step.writer) for step in steps]}"
        return
    if status not in order.statuses:
        error = steps[-1].error if steps and isinstance(steps[-1], RunFinished) else "not finished"
        yield f"is {status} after {[step.kind for step in steps]}: {error}"
    ends = sum(isinstance(step, RunFinished) for step in steps)
    if ends != 1:
        yield f"was finished {ends} times"
    yield from _of_claims(steps)
    yield from _of_ledger(fold(steps))
    results = Counter(step.call_id for step in steps if isinstance(step, ToolResult))
    yield from (f"call {call_id} has {count} results" for call_id, count in results.items() if count > 1)


def _of_claims(steps: Sequence[Step]) -> Iterable[str]:
    """Each claim counts one up, and between two claims nobody but the claimant writes."""
    attempt, writer = 0, ""
    for step in steps:
        if isinstance(step, RunClaimed):
            if step.attempt != attempt + 1:
                yield f"claim {step.attempt} at {step.seq} follows claim {attempt}"
            attempt, writer = step.attempt, step.writer
        elif step.kind not in OUTSIDERS and (step.attempt, step.writer) != (attempt, writer):
            yield f"{step.kind} {step.seq} of attempt {step.attempt} was written into attempt {attempt}"


def _of_ledger(state: RunState) -> Iterable[str]:
    """A budget holds, and what is known to be spent is counted."""
    ledger = state.ledger
    if ledger is None or state.request is None:
        return
    known = ledger.rates[state.request.model].amount(state.usage)
    if not known <= ledger.used <= ledger.cap or ledger.reserved.keys() - state.open_calls.keys():
        yield f"has spent {known}, its ledger says {ledger}"


def _of_rows(steps: Sequence[Step], rows: Sequence[str], run: asyncpg.Record | None) -> Iterable[str]:
    if [encode_step(step).decode() for step in steps] != list(rows):
        have = {json.loads(row)["seq"] for row in rows}
        yield f"Postgres has other steps than the log's {len(steps)}: seqs {sorted(have)}"
    if run is None:
        yield "has no row in Postgres"
        return
    state = fold(steps)
    for name, value in TOTALS:
        if run[name] != value(state):
            yield f"runs.{name} is {run[name]}, the log says {value(state)}"
    answer = state.response.content if state.response else None
    if isinstance(answer, str | None) and run["response"] != answer:
        yield f"runs.response is {run['response']!r}, the log says {answer!r}"


def _of_deletion(log: Sequence[Step], rows: Sequence[str], run: asyncpg.Record | None) -> Iterable[str]:
    if [step.kind for step in log] != ["run-deleted"]:
        yield f"was deleted, the broker has {[step.kind for step in log]}"
    if rows or run is None or run["deleted_at"] is None or run["prompt"] is not None:
        yield f"was deleted, Postgres has {len(rows)} steps and {dict(run) if run else None}"


def _of_charges(steps: Sequence[Step], charges: Sequence[asyncpg.Record]) -> Iterable[str]:
    book, due = PriceBook(), {}
    for step in steps:
        if isinstance(step, AgentThought | AgentResponse):
            call = step.model_call
            quote = book.quote(call.answered or call.asked, call.usage, step.at)
            due[step.seq] = quote.amount_usd if isinstance(quote, Quote) else None
    have = [(charge["seq"], charge["amount_usd"]) for charge in charges]
    if have != sorted(due.items()):
        yield f"was charged {have} where {sorted(due.items())} was due"


def _of_watch(order: Order, steps: Sequence[Step]) -> Iterable[str]:
    if order.watched is not None and order.watched != [step.seq for step in steps]:
        yield f"was seen by its watcher as {order.watched}"


def _marks(workspace: Path) -> Counter[str]:
    """How often each mark stands in the files that runs appended to; a mark ends with a semicolon."""
    texts = (file.read_text() for file in workspace.rglob("files/*.txt"))
    return Counter(mark for text in texts for mark in text.split(";"))


def _of_files(order: Order, steps: Sequence[Step], written: int) -> Iterable[str]:
    if not order.mark:
        return
    meant = {step.call_id for step in steps if isinstance(step, ToolCall) and _appends(step)}
    done = sum(
        isinstance(step, ToolResult) and step.call_id in meant and step.status == "ok" for step in steps
    )
    if not done <= written <= len(meant):
        yield f"wrote its mark {written} times, with {len(meant)} intents and {done} results"


def _appends(call: ToolCall) -> bool:
    arguments: Any = call.arguments
    return isinstance(arguments, dict) and arguments.get("action") == "append"


def parsed_steps(raw: Iterable[dict[str, Any]]) -> list[Step]:
    """Steps as the API shows them."""
    return [decode_step(each) for each in raw]
