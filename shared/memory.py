"""What agents remember from run to run: notes of a session, an agent or a user, in a bucket on the broker.

Owners and keys are texts of users and models, so they are part of a subject only as hashes.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, get_args

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import AwareDatetime, TypeAdapter

from shared.bus import MEMORY, jetstream
from shared.errors import StudioError, Unavailable
from shared.steps import Fact, Project, now
from shared.stored import count_stored, stored_messages

Scope = Literal["session", "agent", "user"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
MOST_KEY_CHARACTERS: Final = 128
MOST_TEXT_BYTES: Final = 16 * 1024
MOST_NOTES: Final = 200
MOST_OF_A_PROJECT: Final = 2000
"""Notes, of all owners together: an eighth of the bucket's 256 MiB."""
STREAM: Final = f"KV_{MEMORY}"

_project: Final = TypeAdapter(Project)


class MemoryRefused(StudioError):
    """The note cannot be kept; the message says what would fit."""


class Note(Fact):
    key: str
    text: str
    updated_at: AwareDatetime


@dataclass(frozen=True)
class Owner:
    """Whose notes: those of the named session, agent or user of a project."""

    project: str
    scope: Scope
    name: str

    def subject(self, key: str | None = None) -> str:
        """Where the note of that key is; without a key, the pattern of all notes."""
        project = _project.validate_python(self.project)
        last = "*" if key is None else _hash(key)
        return f"$KV.{MEMORY}.{project}.{self.scope}.{_hash(self.name)}.{last}"


class Memory:
    """Notes by key. Every method raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = jetstream(client)

    async def put(self, owner: Owner, key: str, text: str) -> Note:
        """Keep the text under the key, in place of what was there. Raises MemoryRefused."""
        _check(key, text)
        if await self.get(owner, key) is None:
            await self._require_room(owner)
        note = Note(key=key, text=text, updated_at=now())
        try:
            await self._js.publish(owner.subject(key), note.model_dump_json().encode(), stream=STREAM)
        except (NatsError, OSError) as error:
            raise _away(error) from error
        return note

    async def _require_room(self, owner: Owner) -> None:
        """Raises MemoryRefused. Who writes at the same time may come to a few more."""
        if await count_stored(self._client, STREAM, owner.subject()) >= MOST_NOTES:
            raise MemoryRefused(
                f"there are {MOST_NOTES} notes of this {owner.scope}, the limit; delete one first"
            )
        if await count_stored(self._client, STREAM, f"$KV.{MEMORY}.{owner.project}.>") >= MOST_OF_A_PROJECT:
            raise MemoryRefused(
                f"there are {MOST_OF_A_PROJECT} notes in this project, the limit; delete some of another "
                "session, agent or user"
            )

    async def get(self, owner: Owner, key: str) -> Note | None:
        """The note, read from the stream's leader: what was put before is seen."""
        try:
            message = await self._js.get_last_msg(STREAM, owner.subject(key), direct=False)
        except NotFoundError:
            return None
        except (NatsError, OSError) as error:
            raise _away(error) from error
        return Note.model_validate_json(message.data or b"")

    async def list(self, owner: Owner) -> tuple[Note, ...]:
        """All notes by key. With several replicas, one of the last moment may be missing."""
        messages = stored_messages(self._client, STREAM, owner.subject())
        notes = [Note.model_validate_json(message.data) async for message in messages]
        return tuple(sorted(notes, key=lambda note: note.key))

    async def delete(self, owner: Owner, key: str) -> bool:
        """Erase the note; False when there was none."""
        existed = await self.get(owner, key) is not None
        try:
            await self._js.purge_stream(STREAM, subject=owner.subject(key))
        except (NatsError, OSError) as error:
            raise _away(error) from error
        return existed


def _check(key: str, text: str) -> None:
    if not 0 < len(key) <= MOST_KEY_CHARACTERS or not key.isprintable():
        raise MemoryRefused(f"a key has 1 to {MOST_KEY_CHARACTERS} printable characters")
    if len(text.encode("utf-8", "surrogatepass")) > MOST_TEXT_BYTES:
        raise MemoryRefused(f"a note has at most {MOST_TEXT_BYTES} bytes; keep less, or in several notes")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"the broker did not answer for a note: {error or type(error).__name__}")
