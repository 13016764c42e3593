"""All SQL that reads for the API: runs, steps, bodies, charges. Every statement names the project.

Rows become views here; what is not in Postgres yet is found by `runs.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic_core import from_json

from services.gateway.problems import DatabaseAway
from services.gateway.views import Cost, RunReplay, RunView
from shared.database import Connection, Database
from shared.errors import Unavailable
from shared.steps import Failure, RunStatus, Usage
from shared.subjects import RunKey

COLUMNS: Final = """
    r.run_id, r.status, r.agent, r.agent_version, r.model, r.prompt, r.prompt_body, r.response,
    r.response_body, r.session_id, r.user_id, r.group_name, r.metadata, r.created_at, r.started_at,
    r.finished_at, r.last_seq, r.steps, r.attempt, r.input_tokens, r.cached_input_tokens, r.output_tokens,
    r.reasoning_tokens, r.model_calls, r.tool_calls, r.rounds, r.error, r.waiting_reason,
    r.waiting_until, r.parent_run_id, r.root_run_id, r.replay - 'tools' AS replay, r.deleted_at, c.usd,
    c.unpriced, c.charged
"""
CHARGES: Final = """
    SELECT sum(amount_usd) AS usd, count(*) FILTER (WHERE amount_usd IS NULL) AS unpriced,
           count(DISTINCT seq) FILTER (WHERE kind = 'model') AS charged
    FROM charges
"""
# The charges come even when the run's row has not been written yet.
FIND: Final = f"""
    SELECT {COLUMNS}, EXISTS (SELECT FROM deletions WHERE run_id = $2 AND project = $1) AS is_leaving
    FROM ({CHARGES} WHERE run_id = $2 AND project = $1) AS c
    LEFT JOIN runs AS r ON r.run_id = $2 AND r.project = $1
"""  # noqa: S608 - constants
LIST: Final = f"""
    SELECT {COLUMNS}
    FROM runs AS r, LATERAL ({CHARGES} WHERE charges.run_id = r.run_id) AS c
    WHERE r.project = $1 AND r.deleted_at IS NULL
    AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = r.run_id)
"""  # noqa: S608 - constants
NO_VERIFICATIONS: Final = " AND (r.replay ->> 'mode') IS DISTINCT FROM 'verify'"
STEPS: Final = """
    SELECT seq, kind, payload FROM steps WHERE run_id = $2 AND project = $1 AND seq > $3 ORDER BY seq LIMIT $4
"""
RECORDED: Final = """
    SELECT count(*) AS steps, coalesce(max(seq), -1) AS last_seq FROM steps WHERE run_id = $2 AND project = $1
"""
BODY_NAMES: Final = """
    SELECT DISTINCT unnest(body_refs) FROM steps WHERE run_id = $2 AND project = $1 AND body_refs IS NOT NULL
"""
WAITING_OF_TREE: Final = """
    SELECT run_id FROM runs WHERE project = $1 AND (run_id = $2 OR root_run_id = $2) AND deleted_at IS NULL
    AND status = 'waiting' ORDER BY run_id LIMIT $3
"""
NEWEST_OF_SESSION: Final = """
    SELECT run_id FROM runs AS r WHERE project = $1 AND session_id = $2 AND run_id < $3 AND deleted_at IS NULL
    AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = r.run_id) ORDER BY run_id DESC LIMIT 1
"""
REFERS: Final = """
    EXISTS (SELECT FROM steps WHERE run_id = $2 AND project = $1 AND body_refs @> ARRAY[$3::text])
"""
BODY: Final = f"SELECT content FROM bodies WHERE project = $1 AND sha256 = $3 AND {REFERS}"  # noqa: S608
PATIENCE_S: Final = 2.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class RunFilter:
    """What a listed run must have; None does not matter. Runs that only verify another one are left out
    unless their replay or their source is asked for, or `verifications`."""

    status: str | None = None
    agent: str | None = None
    model: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    group_name: str | None = None
    replay_id: UUID | None = None
    source_run_id: UUID | None = None
    verifications: bool = False

    @property
    def columns(self) -> dict[str, str | UUID]:
        wanted = {name: value for name, value in vars(self).items() if name != "verifications"}
        return {name: value for name, value in wanted.items() if value is not None}

    @property
    def leaves_out_verifications(self) -> bool:
        return not (self.verifications or self.replay_id or self.source_run_id)


@dataclass(frozen=True)
class RunRow:
    """A run as Postgres has it. `view` is None when there is no row; `is_whole`: it ended, no step misses.

    `is_deleted`: only a tombstone is left; `is_leaving`: it was deleted, and its content is being erased.
    """

    view: RunView | None
    cost: Cost
    is_whole: bool = False
    is_deleted: bool = False
    is_leaving: bool = False


@dataclass(frozen=True)
class StepText:
    """A step as it is stored."""

    seq: int
    kind: str
    text: bytes


async def answered(
    database: Database, read: Callable[[Connection], Awaitable[Result]], patience_s: float = PATIENCE_S
) -> Result:
    """What `read` makes of a connection. Raises DatabaseAway, also when it takes longer than that."""
    try:
        async with asyncio.timeout(patience_s), database.connection() as connection:
            return await read(connection)
    except TimeoutError as error:
        raise DatabaseAway(f"the database did not answer within {patience_s:g} s") from error
    except Unavailable as error:
        raise DatabaseAway(str(error)) from error


async def find_run(connection: Connection, run: RunKey) -> RunRow:
    record: Any = await connection.fetchrow(FIND, run.project, UUID(run.run_id))
    cost, is_leaving = _cost(record), record["is_leaving"]
    if record["run_id"] is None:
        return RunRow(None, cost, is_leaving=is_leaving)
    whole = RunStatus(record["status"]).is_final and record["steps"] == record["last_seq"] + 1
    return RunRow(view_of_row(record), cost, whole, record["deleted_at"] is not None, is_leaving)


async def list_runs(
    connection: Connection, project: str, wanted: RunFilter, before: UUID | None, limit: int
) -> list[RunView]:
    """Newest first; ids are ordered by time."""
    values: list[Any] = [project]
    statement = LIST + (NO_VERIFICATIONS if wanted.leaves_out_verifications else "")
    for column, value in wanted.columns.items():
        values.append(value)
        statement += f" AND r.{column} = ${len(values)}"
    if before is not None:
        values.append(before)
        statement += f" AND r.run_id < ${len(values)}"
    values.append(limit)
    statement += f" ORDER BY r.run_id DESC LIMIT ${len(values)}"
    return [view_of_row(record) for record in await connection.fetch(statement, *values)]


async def step_texts(connection: Connection, run: RunKey, after: int, limit: int) -> list[StepText]:
    rows = await connection.fetch(STEPS, run.project, UUID(run.run_id), after, limit)
    return [StepText(row["seq"], row["kind"], row["payload"].encode()) for row in rows]


async def recorded_until(connection: Connection, run: RunKey) -> int | None:
    """The seq of the run's last step; None while one before it is missing. -1: there is no step."""
    row: Any = await connection.fetchrow(RECORDED, run.project, UUID(run.run_id))
    return int(row["last_seq"]) if row["steps"] == row["last_seq"] + 1 else None


async def body_names(connection: Connection, run: RunKey) -> list[str]:
    """The bodies that steps of the run point to."""
    return [str(row[0]) for row in await connection.fetch(BODY_NAMES, run.project, UUID(run.run_id))]


async def waiting_of_tree(connection: Connection, root: RunKey, most: int) -> list[RunKey]:
    """The runs of the tree under this root that wait, the oldest first."""
    rows = await connection.fetch(WAITING_OF_TREE, root.project, UUID(root.run_id), most)
    return [RunKey(root.project, str(row["run_id"])) for row in rows]


async def newest_of_session(connection: Connection, run: RunKey, session_id: str) -> RunKey | None:
    """The newest run of the session that is older than this one."""
    found = await connection.fetchval(NEWEST_OF_SESSION, run.project, session_id, UUID(run.run_id))
    return RunKey(run.project, str(found)) if found is not None else None


async def refers_to(connection: Connection, run: RunKey, sha256: str) -> bool:
    """Whether a step of this run points to the body."""
    return bool(await connection.fetchval(f"SELECT {REFERS}", run.project, UUID(run.run_id), sha256))


async def body(connection: Connection, run: RunKey, sha256: str) -> bytes | None:
    """The body, if a step of this run points to it."""
    content: bytes | None = await connection.fetchval(BODY, run.project, UUID(run.run_id), sha256)
    return content


def _cost(record: Any) -> Cost:
    return Cost(usd=record["usd"], unpriced=record["unpriced"], charged=record["charged"])


def view_of_row(record: Any) -> RunView:
    usage = Usage(
        input=record["input_tokens"],
        cached_input=record["cached_input_tokens"],
        output=record["output_tokens"],
        reasoning=record["reasoning_tokens"],
    )
    return RunView(
        run_id=str(record["run_id"]),
        status=RunStatus(record["status"]),
        agent=record["agent"],
        agent_version=record["agent_version"],
        model=record["model"],
        prompt=record["prompt"],
        prompt_body=record["prompt_body"],
        response=record["response"],
        response_body=record["response_body"],
        session_id=record["session_id"],
        user_id=record["user_id"],
        group=record["group_name"],
        metadata=from_json(record["metadata"]) if record["metadata"] else {},
        created_at=record["created_at"],
        started_at=record["started_at"],
        finished_at=record["finished_at"],
        attempt=record["attempt"],
        step_count=record["steps"],
        rounds=record["rounds"],
        model_calls=record["model_calls"],
        tool_calls=record["tool_calls"],
        usage=usage,
        total_tokens=usage.total,
        total_cost_usd=record["usd"],
        unpriced=record["unpriced"],
        charged=record["charged"],
        error=Failure.model_validate_json(record["error"]) if record["error"] else None,
        waiting_reason=record["waiting_reason"],
        waiting_until=record["waiting_until"],
        parent_run_id=str(record["parent_run_id"]) if record["parent_run_id"] else None,
        root_run_id=str(record["root_run_id"]) if record["root_run_id"] else None,
        replay=RunReplay.model_validate_json(record["replay"]) if record["replay"] else None,
    )
