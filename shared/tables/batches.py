"""Runs that wait as rows until it is their turn in the broker's queue, and the batches they came in."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, created_at, moment


class Batch(Table, table=True):
    """`size` is the number of lines, null until the upload has come to its end. `digest` is the hash of the
    idempotency key, `request` that of what holds for all lines: the same key has to bring the same."""

    __tablename__: ClassVar[str] = "batches"
    __table_args__ = (UniqueConstraint("project", "digest"), Index(None, "project", "id"))

    id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    name: str | None = Field(sa_column=Column(Text))
    digest: bytes | None = Field(sa_column=Column(LargeBinary))
    request: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    size: int | None = Field(sa_column=Column(Integer))
    created_at: datetime = Field(sa_column=created_at())
    cancelled_at: datetime | None = Field(sa_column=Column(moment()))
    cancelled_by: str | None = Field(sa_column=Column(Text))


class QueuedRun(Table, table=True):
    """An accepted run that the broker gets when it is its turn. `job` is what it will get, until
    then; `place` and `line` are its line of the batch and the hash of what stood there. `has_ended`: it
    takes no room any more."""

    __tablename__: ClassVar[str] = "queued_runs"
    __table_args__ = (
        UniqueConstraint("batch_id", "place"),
        Index(
            "ix_queued_runs_held",
            "priority",
            "project",
            "run_id",
            postgresql_where=text("released_at IS NULL"),
        ),
        Index(
            "ix_queued_runs_released",
            "run_id",
            postgresql_where=text("released_at IS NOT NULL AND NOT has_ended"),
        ),
    )

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    priority: str = Field(sa_column=Column(Text, nullable=False))
    batch_id: UUID | None = Field(sa_column=Column(SqlUuid))
    place: int | None = Field(sa_column=Column(Integer))
    line: bytes | None = Field(sa_column=Column(LargeBinary))
    job: bytes | None = Field(sa_column=Column(LargeBinary))
    created_at: datetime = Field(sa_column=created_at())
    released_at: datetime | None = Field(sa_column=Column(moment()))
    has_ended: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
