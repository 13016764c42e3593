"""What every table shares: one metadata, in which each constraint gets its name by rule.

Alembic compares this metadata with the database, so it is the one description of the schema that code may
import. Writing and reading is SQL in each service's `store.py`.
"""

from typing import Any, Final

from sqlalchemy import Column, DateTime, Integer, MetaData, func, text
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(SQLModel, registry=registry(metadata=metadata)):
    """Base of the table classes."""


def moment() -> DateTime:
    """The column type of a point in time: aware, stored in UTC."""
    return DateTime(timezone=True)


def created_at() -> Column[Any]:
    """When the row was written, by the database's clock."""
    return Column("created_at", moment(), nullable=False, server_default=func.now())


def count(kind: Any = Integer) -> Column[Any]:
    """A number that starts at zero and only ever grows."""
    return Column(kind, nullable=False, server_default=text("0"))
