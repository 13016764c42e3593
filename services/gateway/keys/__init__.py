"""API keys: made and checked in the database. The command that puts one into a file is `__main__.py`."""

from datetime import UTC, datetime
from typing import Final

from services.gateway import store
from services.gateway.credentials import Credential, MalformedKey, mint, parse
from services.gateway.key_ring import principal_of
from services.gateway.problems import Problem
from services.gateway.store import KeyRow
from shared.database import Database

SCOPES: Final = frozenset({"read", "write"})


class Keys:
    """Makes keys in the database."""

    def __init__(self, database: Database, pepper: str) -> None:
        self._database = database
        self._pepper = pepper

    async def make(self, project: str, name: str) -> Credential:
        """A new key of the project, which is created if need be. Raises Unavailable."""
        credential = mint()
        row = KeyRow(
            id=credential.id,
            project=project,
            name=name,
            digest=credential.digest(self._pepper),
            scopes=SCOPES,
            expires_at=None,
            revoked_at=None,
        )
        async with self._database.transaction() as connection:
            await store.ensure_project(connection, project)
            await store.add_key(connection, row)
        return credential

    async def is_valid(self, text: str, project: str) -> bool:
        """Whether the text is a key of the project that works now. Raises Unavailable."""
        try:
            credential = parse(text)
        except MalformedKey:
            return False
        async with self._database.connection() as connection:
            row = await store.find_key(connection, credential.id)
        try:
            return principal_of(row, credential, self._pepper, datetime.now(UTC)).project == project
        except Problem:
            return False
