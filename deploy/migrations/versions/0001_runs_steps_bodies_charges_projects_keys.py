"""Runs, steps, bodies, charges, projects and API keys.

`steps` is partitioned by week of the run's UUIDv7. `create_step_partitions` is the one place that knows
the bounds; the recorder calls the same function every day.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TEXT, INTEGER, BIGINT = sa.Text(), sa.Integer(), sa.BigInteger()
MOMENT = sa.DateTime(timezone=True)


def _count(name: str, kind: sa.types.TypeEngine[int] = INTEGER) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def _created_at() -> "sa.Column[object]":
    return sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    _runs()
    _steps()
    op.create_table(
        "bodies",
        sa.Column("project", TEXT, primary_key=True),
        sa.Column("sha256", TEXT, primary_key=True),
        sa.Column("size", BIGINT, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _created_at(),
    )
    _charges()
    op.create_table("projects", sa.Column("name", TEXT, primary_key=True), _created_at())
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("project", TEXT, sa.ForeignKey("projects.name"), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(TEXT), nullable=False),
        _created_at(),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
    )
    op.create_index(None, "api_keys", ["project"])
    _compress("steps", "payload")
    _compress("bodies", "content")
    op.execute(FIRST_RUN_ID)
    op.execute(CREATE_STEP_PARTITIONS)
    # It acts with the rights of the tables' owner: only those who are given the right may call it.
    op.execute("REVOKE EXECUTE ON FUNCTION create_step_partitions FROM PUBLIC")
    op.execute("SELECT create_step_partitions(now() - interval '2 weeks', now() + interval '8 weeks')")


def downgrade() -> None:
    for table in ("api_keys", "projects", "charges", "bodies", "steps", "runs"):
        op.drop_table(table)
    op.execute("DROP FUNCTION create_step_partitions")
    op.execute("DROP FUNCTION first_run_id")


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("project", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("status_seq", INTEGER, nullable=False),
        sa.Column("agent", TEXT),
        sa.Column("agent_version", INTEGER),
        sa.Column("model", TEXT),
        sa.Column("prompt", TEXT),
        sa.Column("prompt_body", TEXT),
        sa.Column("response", TEXT),
        sa.Column("response_body", TEXT),
        sa.Column("response_seq", INTEGER, nullable=False),
        sa.Column("session_id", TEXT),
        sa.Column("user_id", TEXT),
        sa.Column("group_name", TEXT),
        sa.Column("metadata", postgresql.JSONB()),
        sa.Column("created_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("last_seq", INTEGER, nullable=False),
        _count("steps"),
        _count("attempt"),
        _count("input_tokens", BIGINT),
        _count("cached_input_tokens", BIGINT),
        _count("output_tokens", BIGINT),
        _count("reasoning_tokens", BIGINT),
        _count("model_calls"),
        _count("tool_calls"),
        _count("rounds"),
        sa.Column("error", postgresql.JSONB()),
        sa.Column("deleted_at", MOMENT),
    )
    # Room on each page for new versions of its rows, and no wait for a million dead ones.
    op.execute("ALTER TABLE runs SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)")
    op.create_index(None, "runs", ["project", "run_id"])
    for column in ("status", "agent", "model", "user_id"):
        op.create_index(None, "runs", ["project", column, "run_id"])
    for column in ("session_id", "group_name"):
        only_set = sa.text(f"{column} IS NOT NULL")
        op.create_index(None, "runs", ["project", column, "run_id"], postgresql_where=only_set)


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("seq", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("project", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("body_refs", sa.ARRAY(TEXT)),
        postgresql_partition_by="RANGE (run_id)",
    )
    op.create_index(
        None,
        "steps",
        ["body_refs"],
        postgresql_using="gin",
        postgresql_where=sa.text("body_refs IS NOT NULL"),
    )


def _charges() -> None:
    op.create_table(
        "charges",
        sa.Column("run_id", sa.Uuid(), primary_key=True),
        sa.Column("seq", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("item", TEXT, primary_key=True),
        sa.Column("project", TEXT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("provider", TEXT),
        sa.Column("model", TEXT, nullable=False),
        _count("input_tokens", BIGINT),
        _count("cached_input_tokens", BIGINT),
        _count("output_tokens", BIGINT),
        _count("reasoning_tokens", BIGINT),
        sa.Column("amount_usd", sa.Numeric()),
        sa.Column("prices", postgresql.JSONB()),
        sa.Column("price_source", TEXT, nullable=False),
        sa.Column("price_version", TEXT, nullable=False),
        sa.Column("price_date", sa.Date()),
        sa.Column("reason", TEXT),
    )
    op.create_index(None, "charges", ["project", "at"])


def _compress(table: str, column: str) -> None:
    """Compress with lz4, which is much faster, where this server was built with it."""
    op.execute(
        f"""
        DO $$ BEGIN
            IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
                ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION lz4;
            END IF;
        END $$
        """  # noqa: S608 - constants
    )


FIRST_RUN_ID = """
CREATE FUNCTION first_run_id(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$
"""

# Attached, not created in place: attaching does not shut out those who read and write meanwhile.
CREATE_STEP_PARTITIONS = """
CREATE FUNCTION create_step_partitions(since timestamptz, until timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    week timestamptz := date_trunc('week', since);
    name text;
    created int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_step_partitions'));
    WHILE week <= until LOOP
        name := 'steps_' || to_char(week, 'IYYY"w"IW');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE steps INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE steps ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           name, first_run_id(week), first_run_id(week + interval '1 week'));
            created := created + 1;
        END IF;
        week := week + interval '1 week';
    END LOOP;
    RETURN created;
END $$
"""
