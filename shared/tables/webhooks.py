"""The gateway's tables of webhooks: where events go, and each event's way to each of them.

Deliveries of run events are written by a trigger on `steps` (migration 0005), in the transaction that
records the step: a row is there exactly when the step is.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Column, Index, Integer, Text, UniqueConstraint, func, text
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field

from shared.tables.base import Table, count, created_at, moment


class Webhook(Table, table=True):
    """The secret is not here: it follows from the id (see the gateway's `webhooks/signature.py`)."""

    __tablename__: ClassVar[str] = "webhooks"
    __table_args__ = (Index(None, "project", "id"),)

    id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    host: str = Field(sa_column=Column(Text, nullable=False))
    events: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    active: bool = Field(sa_column=Column(Boolean, nullable=False))
    description: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=created_at())


class WebhookDelivery(Table, table=True):
    """One event on its way to one webhook: `pending`, `delivered` or `failed`.

    `due_at` is when the next try may begin; who tries moves it on first, so that others leave it alone.
    No foreign key: a webhook that is deleted at that moment must not cost the recorder its batch.
    """

    __tablename__: ClassVar[str] = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index(None, "webhook_id", "id"),
        Index(None, "webhook_id", "due_at", postgresql_where=text("status = 'pending'")),
        Index(None, "created_at"),
    )

    id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    webhook_id: UUID = Field(sa_column=Column(SqlUuid, nullable=False))
    project: str = Field(sa_column=Column(Text, nullable=False))
    event_id: str = Field(sa_column=Column(Text, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    run_id: UUID | None = Field(sa_column=Column(SqlUuid))
    at: datetime = Field(sa_column=Column(moment(), nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False, server_default="pending"))
    attempts: int = Field(sa_column=count())
    due_at: datetime = Field(sa_column=Column(moment(), nullable=False, server_default=func.now()))
    created_at: datetime = Field(sa_column=created_at())
    tried_at: datetime | None = Field(sa_column=Column(moment()))
    response_status: int | None = Field(sa_column=Column(Integer))
    duration_ms: int | None = Field(sa_column=Column(Integer))
    error: str | None = Field(sa_column=Column(Text))
