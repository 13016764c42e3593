"""Agents and their versions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


TEXT, MOMENT = sa.Text(), sa.DateTime(timezone=True)


def _created_at() -> "sa.Column[object]":
    return sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("project", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _created_at(),
        sa.Column("archived_at", MOMENT),
        sa.UniqueConstraint("project", "id"),
    )
    op.create_table(
        "agent_versions",
        sa.Column("project", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        # Not jsonb: it sorts keys, and the order of a schema's properties is the order of an answer's.
        sa.Column("definition", sa.JSON(), nullable=False),
        _created_at(),
        sa.Column("created_by", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["project", "name"], ["agents.project", "agents.name"]),
    )


def downgrade() -> None:
    op.drop_table("agent_versions")
    op.drop_table("agents")
