"""The cost service's table: what each billable thing of a run cost, and by which price."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Column, Date, Index, Integer, Numeric, Text
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from shared.tables.base import Table, count, moment


class Charge(Table, table=True):
    """One charge. `amount_usd` is null when no price is known; then `reason` says why, and it is never zero.

    `prices` holds the unit prices used, USD per million tokens as text; `cached_input_tokens` is a part of
    `input_tokens` and is priced once. Charges stay when their run is deleted.
    """

    __tablename__: ClassVar[str] = "charges"
    __table_args__ = (Index(None, "project", "at"),)

    run_id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    item: str = Field(sa_column=Column(Text, primary_key=True))
    project: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=Column(moment(), nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    provider: str | None = Field(sa_column=Column(Text))
    model: str = Field(sa_column=Column(Text, nullable=False))
    input_tokens: int = Field(sa_column=count(BigInteger))
    cached_input_tokens: int = Field(sa_column=count(BigInteger))
    output_tokens: int = Field(sa_column=count(BigInteger))
    reasoning_tokens: int = Field(sa_column=count(BigInteger))
    amount_usd: Decimal | None = Field(sa_column=Column(Numeric))
    prices: dict[str, Any] | None = Field(sa_column=Column(JSONB))
    price_source: str = Field(sa_column=Column(Text, nullable=False))
    price_version: str = Field(sa_column=Column(Text, nullable=False))
    price_date: Any = Field(sa_column=Column(Date))
    reason: str | None = Field(sa_column=Column(Text))
