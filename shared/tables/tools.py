"""What a project has configured of tools: HTTP tools, MCP servers, and what it says of any tool."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, Column, Text
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, created_at


class ProjectTool(Table, table=True):
    """`kind` is `http`, `mcp` or `override`; `definition` is the model of that kind in `shared/catalog.py`.

    Not jsonb: it sorts keys, and the model sees a schema's properties in the order they were written in.
    """

    __tablename__: ClassVar[str] = "project_tools"

    project: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    id: UUID = Field(sa_column=Column(SqlUuid, nullable=False))
    definition: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=created_at())
