"""The replayer's tables: replays, the runs that they are made of, and how each differs from its source."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, text
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from shared.tables.base import Table, created_at, moment


class Replay(Table, table=True):
    """`job` is the order as it came (`shared.messages.ReplayRequested`), `result` what came of it so far."""

    __tablename__: ClassVar[str] = "replays"
    __table_args__ = (
        Index(None, "project", "replay_id"),
        Index("ix_replays_open", "replay_id", postgresql_where=text("finished_at IS NULL")),
    )

    replay_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    mode: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    job: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    result: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    error: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    created_at: datetime = Field(sa_column=created_at())
    finished_at: datetime | None = Field(sa_column=Column(moment()))


class ReplayRun(Table, table=True):
    """A run of a replay: planned, then `requested_at`, then `ended_at` with its `measures`. `place` is its
    source's place among the replay's; `status` is how it ended, known a moment before it is measured."""

    __tablename__: ClassVar[str] = "replay_runs"
    __table_args__ = (
        Index(None, "replay_id", "run_id"),
        Index(None, "source_run_id"),
        Index("ix_replay_runs_open", "replay_id", postgresql_where=text("ended_at IS NULL")),
    )

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    replay_id: UUID = Field(
        sa_column=Column(SqlUuid, ForeignKey("replays.replay_id", ondelete="CASCADE"), nullable=False)
    )
    project: str = Field(sa_column=Column(Text, nullable=False))
    source_run_id: UUID = Field(sa_column=Column(SqlUuid, nullable=False))
    place: int = Field(sa_column=Column(Integer, nullable=False))
    arm: str = Field(sa_column=Column(Text, nullable=False))
    sample: int = Field(sa_column=Column(Integer, nullable=False))
    fork_step: int | None = Field(sa_column=Column(Integer))
    status: str | None = Field(sa_column=Column(Text))
    measures: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    requested_at: datetime | None = Field(sa_column=Column(moment()))
    ended_at: datetime | None = Field(sa_column=Column(moment()))


class Diff(Table, table=True):
    """How a run of a replay (right) differs from its source (left): `shared.diff.RunDiff` as JSON."""

    __tablename__: ClassVar[str] = "diffs"
    __table_args__ = (Index(None, "replay_id"), Index(None, "left_run_id"))

    diff_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    replay_id: UUID = Field(
        sa_column=Column(SqlUuid, ForeignKey("replays.replay_id", ondelete="CASCADE"), nullable=False)
    )
    left_run_id: UUID = Field(sa_column=Column(SqlUuid, nullable=False))
    right_run_id: UUID = Field(sa_column=Column(SqlUuid, nullable=False, unique=True))
    diff: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
