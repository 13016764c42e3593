"""Webhooks are told when a run has used up its budget, and not when it waits for a run of its own.

The runs that answered a run's calls are found by it, to be erased with it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTION = """
CREATE OR REPLACE FUNCTION announce_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event text := CASE
        {cases}
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
    ON CONFLICT (webhook_id, event_id) DO NOTHING;
    RETURN NULL;
END
$$
"""
WAITING = """
        WHEN NEW.kind = 'run-waiting' AND NEW.payload ->> 'reason' = 'budget' THEN 'budget.reached'
        WHEN NEW.kind = 'run-waiting' AND NEW.payload ->> 'reason' = 'child-run' THEN NULL
"""


PARENT = "ix_runs_parent_run_id"


def upgrade() -> None:
    op.execute(FUNCTION.format(cases=WAITING.strip()))
    op.create_index(PARENT, "runs", ["parent_run_id"], postgresql_where=sa.text("parent_run_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index(PARENT, "runs")
    op.execute(FUNCTION.format(cases=""))
