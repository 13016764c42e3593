"""The gateway's tables of agents: which there are, and every version that each of them ever had."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, Column, ForeignKeyConstraint, Integer, Text, UniqueConstraint
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, created_at, moment


class Agent(Table, table=True):
    """`version` is the newest one. An archived agent keeps its versions; created again, it goes on with them.

    `id` is a UUIDv7: it orders agents by when they were created.
    """

    __tablename__: ClassVar[str] = "agents"
    __table_args__ = (UniqueConstraint("project", "id"),)

    project: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    id: UUID = Field(sa_column=Column(SqlUuid, nullable=False))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
    archived_at: datetime | None = Field(sa_column=Column(moment()))


class AgentVersionRow(Table, table=True):
    """A version, which never changes; `definition` is its JSON text, the keys in the order they came in."""

    __tablename__: ClassVar[str] = "agent_versions"
    __table_args__ = (ForeignKeyConstraint(["project", "name"], ["agents.project", "agents.name"]),)

    project: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    definition: Any = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
    created_by: str = Field(sa_column=Column(Text, nullable=False))
