"""Batches of runs, and runs that wait as rows for their turn in the broker's queue."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("digest", sa.LargeBinary()),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True)),
        sa.Column("cancelled_by", sa.Text()),
        sa.UniqueConstraint("project", "digest"),
    )
    op.create_index(None, "batches", ["project", "id"])
    op.create_table(
        "queued_runs",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Uuid()),
        sa.Column("place", sa.Integer()),
        sa.Column("line", sa.LargeBinary()),
        sa.Column("job", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True)),
        sa.Column("has_ended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.UniqueConstraint("batch_id", "place"),
    )
    op.create_index(
        "ix_queued_runs_held",
        "queued_runs",
        ["priority", "project", "run_id"],
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(
        "ix_queued_runs_released",
        "queued_runs",
        ["run_id"],
        postgresql_where=sa.text("released_at IS NOT NULL AND NOT has_ended"),
    )


def downgrade() -> None:
    op.drop_table("queued_runs")
    op.drop_table("batches")
