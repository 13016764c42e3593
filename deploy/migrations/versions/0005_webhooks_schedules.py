"""Webhooks with their deliveries, and schedules.

A trigger on `steps` writes the deliveries of a run's event in the transaction that records the step. It costs
nothing for the steps that are no event, and one look into an index of `webhooks` for those that are.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Clocks differ: a run that ends just after its webhook was made may say that it was just before.
FUNCTION = """
CREATE FUNCTION announce_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event text := CASE
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
TRIGGER = """
CREATE TRIGGER announce_event AFTER INSERT ON steps FOR EACH ROW
WHEN (NEW.kind IN ('run-finished', 'run-waiting')) EXECUTE FUNCTION announce_event()
"""


def moment(name: str, *, is_now: bool = False, nullable: bool = False) -> sa.Column[object]:
    default = sa.func.now() if is_now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def words(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), server_default=default, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), primary_key=True),
        words("project"),
        words("url"),
        words("host"),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        words("description"),
        moment("created_at", is_now=True),
    )
    op.create_index(None, "webhooks", ["project", "id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        words("project"),
        words("event_id"),
        words("type"),
        sa.Column("run_id", sa.Uuid()),
        moment("at"),
        words("status", default="pending"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        moment("due_at", is_now=True),
        moment("created_at", is_now=True),
        moment("tried_at", nullable=True),
        sa.Column("response_status", sa.Integer()),
        sa.Column("duration_ms", sa.Integer()),
        words("error", nullable=True),
        sa.UniqueConstraint("webhook_id", "event_id"),
    )
    pending = sa.text("status = 'pending'")
    op.create_index(None, "webhook_deliveries", ["webhook_id", "id"])
    op.create_index(None, "webhook_deliveries", ["webhook_id", "due_at"], postgresql_where=pending)
    op.create_index(None, "webhook_deliveries", ["created_at"])
    op.execute(FUNCTION)
    op.execute(TRIGGER)
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), primary_key=True),
        words("project"),
        words("name"),
        words("cron"),
        words("timezone"),
        sa.Column("input", sa.JSON(), nullable=False),
        words("missed"),
        sa.Column("active", sa.Boolean(), nullable=False),
        moment("next_at"),
        moment("created_at", is_now=True),
    )
    op.create_index(None, "schedules", ["project", "id"])
    op.create_index(None, "schedules", ["next_at"], postgresql_where=sa.text("active"))
    op.create_table(
        "schedule_ticks",
        sa.Column("schedule_id", sa.Uuid(), primary_key=True),
        sa.Column("due_at", sa.DateTime(timezone=True), primary_key=True),
        words("project"),
        sa.Column("input", sa.JSON(), nullable=False),
        words("status", default="pending"),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        moment("try_at"),
        sa.Column("run_id", sa.Uuid()),
        words("error", nullable=True),
    )
    op.create_index(None, "schedule_ticks", ["try_at"], postgresql_where=pending)
    op.create_index(None, "schedule_ticks", ["due_at"])


def downgrade() -> None:
    op.execute("DROP TRIGGER announce_event ON steps")
    op.execute("DROP FUNCTION announce_event()")
    for table in ("schedule_ticks", "schedules", "webhook_deliveries", "webhooks"):
        op.drop_table(table)
