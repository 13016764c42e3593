"""The recorder's tables: `runs` and `steps` are projections of the logs, `bodies` holds the large values.

Not here: the views `messages`, `tool_calls`, `memory_snapshots` and `run_steps` over `steps`, and the
weekly partitions of `steps`. The migrations make them, and they have no class.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, JSON, BigInteger, Column, Index, Integer, LargeBinary, Text, text
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from shared.tables.base import Table, count, created_at, moment


class Run(Table, table=True):
    """One run, as the fold of those of its steps that have arrived; any order of arrival ends in this row.

    What step 0 brings (`agent` to `created_at`) is null until step 0 is here. `prompt` and `response` are
    whole up to 64 KiB of JSON text; of a longer one they are the first 4,096 characters, and `prompt_body`
    or `response_body` names the whole in `bodies`. `replay` is the plan of a run that replays another. A
    deleted run keeps its id, its project and `deleted_at`; everything else is as if no step had come.
    """

    __tablename__: ClassVar[str] = "runs"
    __table_args__ = (
        Index(None, "project", "status", "run_id"),
        Index(None, "project", "agent", "run_id"),
        Index(None, "project", "model", "run_id"),
        Index(None, "project", "user_id", "run_id"),
        # An equality on the column implies the predicate, so these serve filters and cost little.
        Index(None, "project", "session_id", "run_id", postgresql_where=text("session_id IS NOT NULL")),
        Index(None, "project", "group_name", "run_id", postgresql_where=text("group_name IS NOT NULL")),
        Index(None, "root_run_id", postgresql_where=text("root_run_id IS NOT NULL")),
        Index(None, "parent_run_id", postgresql_where=text("parent_run_id IS NOT NULL")),
        # The list of runs leaves out those that only verify others.
        Index(
            "ix_runs_shown",
            "project",
            "run_id",
            postgresql_where=text("(replay ->> 'mode') IS DISTINCT FROM 'verify'"),
        ),
        Index(None, "replay_id", "run_id", postgresql_where=text("replay_id IS NOT NULL")),
        Index(None, "source_run_id", "run_id", postgresql_where=text("source_run_id IS NOT NULL")),
        Index(None, "waiting_until", postgresql_where=text("waiting_reason IS NOT NULL")),
    )

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    status_seq: int = Field(sa_column=Column(Integer, nullable=False))
    agent: str | None = Field(sa_column=Column(Text))
    agent_version: int | None = Field(sa_column=Column(Integer))
    model: str | None = Field(sa_column=Column(Text))
    prompt: str | None = Field(sa_column=Column(Text))
    prompt_body: str | None = Field(sa_column=Column(Text))
    response: str | None = Field(sa_column=Column(Text))
    response_body: str | None = Field(sa_column=Column(Text))
    response_seq: int = Field(sa_column=Column(Integer, nullable=False))
    session_id: str | None = Field(sa_column=Column(Text))
    user_id: str | None = Field(sa_column=Column(Text))
    group_name: str | None = Field(sa_column=Column(Text))
    metadata_: dict[str, Any] | None = Field(sa_column=Column("metadata", JSONB))
    created_at: datetime | None = Field(sa_column=Column(moment()))
    started_at: datetime | None = Field(sa_column=Column(moment()))
    finished_at: datetime | None = Field(sa_column=Column(moment()))
    last_seq: int = Field(sa_column=Column(Integer, nullable=False))
    steps: int = Field(sa_column=count())
    attempt: int = Field(sa_column=count())
    input_tokens: int = Field(sa_column=count(BigInteger))
    cached_input_tokens: int = Field(sa_column=count(BigInteger))
    output_tokens: int = Field(sa_column=count(BigInteger))
    reasoning_tokens: int = Field(sa_column=count(BigInteger))
    model_calls: int = Field(sa_column=count())
    tool_calls: int = Field(sa_column=count())
    rounds: int = Field(sa_column=count())
    error: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    waiting_reason: str | None = Field(sa_column=Column(Text))
    waiting_until: datetime | None = Field(sa_column=Column(moment()))
    parent_run_id: UUID | None = Field(sa_column=Column(SqlUuid))
    root_run_id: UUID | None = Field(sa_column=Column(SqlUuid))
    replay_id: UUID | None = Field(sa_column=Column(SqlUuid))
    source_run_id: UUID | None = Field(sa_column=Column(SqlUuid))
    replay: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    deleted_at: datetime | None = Field(sa_column=Column(moment()))


class StepRow(Table, table=True):
    """One step. `payload` is the whole step's JSON text as in the log: keys in order, numbers as written.

    Partitioned by week of the run's UUIDv7, so a run's steps stay together. `body_refs` are the hashes of
    the bodies that the step points to, null when it points to none.
    """

    __tablename__: ClassVar[str] = "steps"
    __table_args__ = (
        Index(None, "body_refs", postgresql_using="gin", postgresql_where=text("body_refs IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (run_id)"},
    )

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    project: str = Field(sa_column=Column(Text, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=Column(moment(), nullable=False))
    # Not jsonb: it sorts keys and rewrites numbers, and a rebuilt request would differ from the one sent.
    payload: Any = Field(sa_column=Column(JSON, nullable=False))
    body_refs: list[str] | None = Field(sa_column=Column(ARRAY(Text)))


class Body(Table, table=True):
    """A value over 64 KiB: the JSON text whose SHA-256 is its name within the project."""

    __tablename__: ClassVar[str] = "bodies"

    project: str = Field(sa_column=Column(Text, primary_key=True))
    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
