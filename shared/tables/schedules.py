"""The gateway's tables of schedules: when runs are to start, and each time that one was due."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, Boolean, Column, Index, Text, text
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, count, created_at, moment


class Schedule(Table, table=True):
    """`next_at` is the first time that has not become a tick yet."""

    __tablename__: ClassVar[str] = "schedules"
    __table_args__ = (
        Index(None, "project", "id"),
        Index(None, "next_at", postgresql_where=text("active")),
    )

    id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    cron: str = Field(sa_column=Column(Text, nullable=False))
    timezone: str = Field(sa_column=Column(Text, nullable=False))
    input: Any = Field(sa_column=Column(JSON, nullable=False))
    missed: str = Field(sa_column=Column(Text, nullable=False))
    active: bool = Field(sa_column=Column(Boolean, nullable=False))
    next_at: datetime = Field(sa_column=Column(moment(), nullable=False))
    created_at: datetime = Field(sa_column=created_at())


class ScheduleTick(Table, table=True):
    """A time at which a schedule was due, and its run: `pending`, `started` or `failed`.

    `input` is the schedule's as it was when the tick was made: a try after a crash asks for the same run.
    """

    __tablename__: ClassVar[str] = "schedule_ticks"
    __table_args__ = (
        Index(None, "try_at", postgresql_where=text("status = 'pending'")),
        Index(None, "due_at"),
    )

    schedule_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    due_at: datetime = Field(sa_column=Column(moment(), primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    input: Any = Field(sa_column=Column(JSON, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False, server_default="pending"))
    tries: int = Field(sa_column=count())
    try_at: datetime = Field(sa_column=Column(moment(), nullable=False))
    run_id: UUID | None = Field(sa_column=Column(SqlUuid))
    error: str | None = Field(sa_column=Column(Text))
