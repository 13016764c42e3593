"""Runs that wait and runs of runs, as columns of `runs`."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WAITING = "ix_runs_waiting_until"
ROOT = "ix_runs_root_run_id"


def upgrade() -> None:
    op.add_column("runs", sa.Column("waiting_reason", sa.Text()))
    op.add_column("runs", sa.Column("waiting_until", sa.DateTime(timezone=True)))
    op.add_column("runs", sa.Column("parent_run_id", sa.Uuid()))
    op.add_column("runs", sa.Column("root_run_id", sa.Uuid()))
    op.create_index(ROOT, "runs", ["root_run_id"], postgresql_where=sa.text("root_run_id IS NOT NULL"))
    op.create_index(
        WAITING, "runs", ["waiting_until"], postgresql_where=sa.text("waiting_reason IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index(WAITING, "runs")
    op.drop_index(ROOT, "runs")
    for column in ("root_run_id", "parent_run_id", "waiting_until", "waiting_reason"):
        op.drop_column("runs", column)
