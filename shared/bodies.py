"""Values too large for a step, kept by the hash of their content.

The broker's object store holds them as long as the log; the recorder copies them into Postgres.
"""

import hashlib

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

from shared.bus import BODIES_BUCKET
from shared.errors import StudioError, Unavailable
from shared.steps import BodyRef


class BodyMissing(StudioError):
    """A body is no longer in the object store; Postgres may still have it."""


class BodyStore:
    def __init__(self, client: Client) -> None:
        self._js: JetStreamContext = client.jetstream(timeout=10)
        self._store: ObjectStore | None = None

    async def put(self, project: str, data: bytes) -> BodyRef:
        """Store the JSON text of a value; the same text twice is stored once. Raises Unavailable."""
        ref = BodyRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        name = _name(project, ref)
        try:
            store = await self._open()
            try:
                await store.get_info(name)
            except NotFoundError:
                await store.put(name, data)
        except (NatsError, OSError) as error:
            raise Unavailable(
                f"the object store did not take a body of {len(data)} bytes: {error}"
            ) from error
        return ref

    async def get(self, project: str, ref: BodyRef) -> bytes:
        """The JSON text of the value. Raises BodyMissing or Unavailable."""
        try:
            result = await (await self._open()).get(_name(project, ref))
        except NotFoundError as error:
            raise BodyMissing(f"no body {ref.sha256} in the object store") from error
        except (NatsError, OSError) as error:
            raise Unavailable(f"the object store did not answer: {error}") from error
        return result.data or b""

    async def delete(self, project: str, ref: BodyRef) -> None:
        try:
            await (await self._open()).delete(_name(project, ref))
        except NotFoundError:
            return
        except (NatsError, OSError) as error:
            raise Unavailable(f"the object store did not answer: {error}") from error

    async def _open(self) -> ObjectStore:
        if self._store is None:
            self._store = await self._js.object_store(BODIES_BUCKET)
        return self._store


def _name(project: str, ref: BodyRef) -> str:
    # The project is part of the name: a hash alone must never open another project's text.
    return f"{project}.{ref.sha256}"
