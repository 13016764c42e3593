"""The gateway's tables: who may call, for which project."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import ARRAY, Column, ForeignKey, Index, LargeBinary, Text
from sqlmodel import Field

from shared.tables.base import Table, created_at, moment


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
