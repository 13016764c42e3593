"""SQL that reads sessions for the API. Every statement names the project."""

from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from services.gateway.reads import CHARGES, COLUMNS, view_of_row
from services.gateway.sessions.views import SessionRun, SessionView
from shared.database import Connection
from shared.steps import RunStatus

SHOWN: Final = """
    {0}.deleted_at IS NULL AND NOT EXISTS (SELECT FROM deletions AS d WHERE d.run_id = {0}.run_id)
"""
TOTALS: Final = f"""
    SELECT last.session_id, last.run_id, last.status, t.*
    FROM {{last}} AS last, LATERAL (
        SELECT count(*) AS runs, min(r.created_at) AS first_at,
               max(coalesce(r.finished_at, r.created_at)) AS last_at,
               sum(r.input_tokens + r.output_tokens)::bigint AS tokens,
               sum(c.usd) AS usd, coalesce(sum(c.unpriced), 0)::bigint AS unpriced
        FROM runs AS r, LATERAL ({CHARGES} WHERE charges.run_id = r.run_id) AS c
        WHERE r.project = $1 AND r.session_id = last.session_id AND {SHOWN.format("r")}
    ) AS t ORDER BY last.run_id DESC
"""  # noqa: S608 - constants
# The newest run of each session; the sessions used last come first.
PAGE: Final = TOTALS.format(
    last=f"""(
        SELECT session_id, run_id, status FROM runs AS r
        WHERE project = $1 AND session_id IS NOT NULL AND ($2::uuid IS NULL OR run_id < $2)
        AND {SHOWN.format("r")} AND NOT EXISTS (
            SELECT FROM runs AS n WHERE n.project = $1 AND n.session_id = r.session_id AND n.run_id > r.run_id
            AND {SHOWN.format("n")}
        ) ORDER BY run_id DESC LIMIT $3
    )"""  # noqa: S608 - constants
)
ONE: Final = TOTALS.format(
    last=f"""(
        SELECT session_id, run_id, status FROM runs AS r
        WHERE project = $1 AND session_id = $2 AND {SHOWN.format("r")} ORDER BY run_id DESC LIMIT 1
    )"""  # noqa: S608 - constants
)
RUNS: Final = f"""
    SELECT {COLUMNS}, (
        SELECT memory_json FROM memory_snapshots AS m WHERE m.run_id = r.run_id ORDER BY m.seq DESC LIMIT 1
    ) AS memory
    FROM runs AS r, LATERAL ({CHARGES} WHERE charges.run_id = r.run_id) AS c
    WHERE r.project = $1 AND r.session_id = $2 AND ($3::uuid IS NULL OR r.run_id > $3) AND {SHOWN.format("r")}
    ORDER BY r.run_id LIMIT $4
"""  # noqa: S608 - constants


async def sessions(
    connection: Connection, project: str, before: UUID | None, limit: int
) -> list[SessionView]:
    return [_session(row) for row in await connection.fetch(PAGE, project, before, limit)]


async def session(connection: Connection, project: str, session_id: str) -> SessionView | None:
    row = await connection.fetchrow(ONE, project, session_id)
    return _session(row) if row is not None else None


async def runs(
    connection: Connection, project: str, session_id: str, after: UUID | None, limit: int
) -> list[SessionRun]:
    rows = await connection.fetch(RUNS, project, session_id, after, limit)
    return [SessionRun(**dict(view_of_row(row)), memory=_json(row["memory"])) for row in rows]


def _session(row: Any) -> SessionView:
    return SessionView(
        session_id=row["session_id"],
        runs=row["runs"],
        total_tokens=row["tokens"],
        total_cost_usd=row["usd"],
        unpriced=row["unpriced"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        last_run_id=str(row["run_id"]),
        last_status=RunStatus(row["status"]),
    )


def _json(text: str | None) -> Any:
    return from_json(text) if text else None
