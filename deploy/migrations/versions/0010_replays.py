"""Replays, their runs and diffs; what a run replays.

The end of a replay's run is no event for webhooks, and an imported run's end was one elsewhere.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTION = """
CREATE OR REPLACE FUNCTION announce_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event text := CASE
        WHEN NEW.kind = 'run-waiting' AND NEW.payload ->> 'reason' = 'budget' THEN 'budget.reached'
        WHEN NEW.kind = 'run-waiting' AND NEW.payload ->> 'reason' = 'child-run' THEN NULL
        WHEN NEW.kind = 'run-waiting' THEN 'run.waiting'
        WHEN NEW.payload ->> 'status' = 'completed' THEN 'run.finished'
        ELSE 'run.' || (NEW.payload ->> 'status')
    END;
BEGIN
    INSERT INTO webhook_deliveries (id, webhook_id, project, event_id, type, run_id, at)
    SELECT uuidv7(), id, NEW.project, 'evt_' || NEW.run_id || '_' || NEW.seq, event, NEW.run_id, NEW.at
    FROM webhooks
    WHERE project = NEW.project AND active AND event = ANY (events)
    AND created_at < NEW.at + interval '1 minute'
    {unless}
    ON CONFLICT (webhook_id, event_id) DO NOTHING;
    RETURN NULL;
END
$$
"""
UNLESS_REPLAYED = """
    AND NEW.payload ->> 'writer' IS DISTINCT FROM 'imported'
    AND (NEW.kind = 'run-waiting' OR NOT EXISTS (
        SELECT FROM steps WHERE run_id = NEW.run_id AND seq = 0 AND payload #>> '{replay,mode}' IS NOT NULL
    ))
"""
OF_RUNS = (("replay_id", sa.Uuid()), ("source_run_id", sa.Uuid()), ("replay", JSONB()))
SHOWN = "ix_runs_shown"
ALL = "ix_runs_project_run_id"
NO_VERIFICATION = "(replay ->> 'mode') IS DISTINCT FROM 'verify'"
FOUND_BY = ("replay_id", "source_run_id")


def upgrade() -> None:
    for name, kind in OF_RUNS:
        op.add_column("runs", sa.Column(name, kind))
    for name in FOUND_BY:
        op.create_index(
            f"ix_runs_{name}_run_id",
            "runs",
            [name, "run_id"],
            postgresql_where=sa.text(f"{name} IS NOT NULL"),
        )
    op.create_index(SHOWN, "runs", ["project", "run_id"], postgresql_where=sa.text(NO_VERIFICATION))
    op.drop_index(ALL, "runs")
    op.create_table(
        "replays",
        sa.Column("replay_id", sa.Uuid(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("job", JSONB(), nullable=False),
        sa.Column("result", JSONB()),
        sa.Column("error", JSONB()),
        _created_at(),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_replays_project_replay_id", "replays", ["project", "replay_id"])
    op.create_index(
        "ix_replays_open", "replays", ["replay_id"], postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_table(
        "replay_runs",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        _of_replay(),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source_run_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("fork_step", sa.Integer()),
        sa.Column("status", sa.Text()),
        sa.Column("measures", JSONB()),
        sa.Column("requested_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_replay_runs_replay_id_run_id", "replay_runs", ["replay_id", "run_id"])
    op.create_index("ix_replay_runs_source_run_id", "replay_runs", ["source_run_id"])
    op.create_index(
        "ix_replay_runs_open", "replay_runs", ["replay_id"], postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "diffs",
        sa.Column("diff_id", sa.Uuid(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        _of_replay(),
        sa.Column("left_run_id", sa.Uuid(), nullable=False),
        sa.Column("right_run_id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("diff", JSONB(), nullable=False),
        _created_at(),
    )
    op.create_index("ix_diffs_replay_id", "diffs", ["replay_id"])
    op.create_index("ix_diffs_left_run_id", "diffs", ["left_run_id"])
    op.execute(FUNCTION.replace("{unless}", UNLESS_REPLAYED.strip()))


def downgrade() -> None:
    op.execute(FUNCTION.replace("{unless}", ""))
    for table in ("diffs", "replay_runs", "replays"):
        op.drop_table(table)
    op.create_index(ALL, "runs", ["project", "run_id"])
    op.drop_index(SHOWN, "runs")
    for name in FOUND_BY:
        op.drop_index(f"ix_runs_{name}_run_id", "runs")
    for name, _ in OF_RUNS:
        op.drop_column("runs", name)


def _created_at() -> sa.Column[sa.DateTime]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def _of_replay() -> sa.Column[sa.Uuid]:
    return sa.Column(
        "replay_id", sa.Uuid(), sa.ForeignKey("replays.replay_id", ondelete="CASCADE"), nullable=False
    )
