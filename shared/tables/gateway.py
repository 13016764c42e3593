"""The gateway's tables: who may call, for which project, and what it still has to erase."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, Column, ForeignKey, Index, LargeBinary, Text, func
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, count, created_at, moment


class ProjectRow(Table, table=True):
    __tablename__: ClassVar[str] = "projects"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    created_at: datetime = Field(sa_column=created_at())


class ApiKey(Table, table=True):
    """`id` is the public part of the key, `digest` the HMAC-SHA256 of its secret part."""

    __tablename__: ClassVar[str] = "api_keys"
    __table_args__ = (Index(None, "project"),)

    id: str = Field(sa_column=Column(Text, primary_key=True))
    project: str = Field(sa_column=Column(Text, ForeignKey("projects.name"), nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = Field(sa_column=created_at())
    expires_at: datetime | None = Field(sa_column=Column(moment()))
    revoked_at: datetime | None = Field(sa_column=Column(moment()))


class Deletion(Table, table=True):
    """A run that no reader sees any more; the row goes when its content is erased everywhere.

    `due_at` is when the next try may begin; who tries moves it on first, so that others leave it alone.
    """

    __tablename__: ClassVar[str] = "deletions"
    __table_args__ = (Index(None, "due_at"),)

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    who: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
    due_at: datetime = Field(sa_column=Column(moment(), nullable=False, server_default=func.now()))
    tries: int = Field(sa_column=count())
