"""Values too large for a step, kept by the hash of their content.

The stream BODIES holds them as long as the log; the recorder copies them into Postgres. A body is one or
more messages on `body.{project}.{sha256}.{part}`; storing it again replaces them, which renews their age.
"""

import hashlib
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from shared.bus import BODIES, jetstream
from shared.errors import StudioError, Unavailable
from shared.steps import BodyRef
from shared.stored import stored_messages, subject_of
from shared.subjects import body_subject

PART_BYTES: Final = 512 * 1024


class BodyMissing(StudioError):
    """A body is no longer on the bus, or not whole; Postgres may still have it."""


class BodyStore:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = jetstream(client)

    async def put(self, project: str, data: bytes) -> BodyRef:
        """Store the JSON text of a value; the same text twice is stored once. Raises Unavailable."""
        ref = BodyRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        try:
            for part, start in enumerate(range(0, len(data), PART_BYTES)):
                subject = body_subject(project, ref.sha256, f"{part:04d}")
                await self._js.publish(subject, data[start : start + PART_BYTES], stream=BODIES, timeout=10)
        except (NatsError, OSError) as error:
            raise Unavailable(f"the bus did not take a body of {len(data)} bytes: {error}") from error
        return ref

    async def get(self, project: str, sha256: str) -> bytes:
        """The JSON text of the value. Raises BodyMissing or Unavailable."""
        # The project is part of the name: a hash alone must never open another project's text.
        subject = body_subject(project, sha256, "*")
        parts = {subject_of(m): m.data async for m in stored_messages(self._client, BODIES, subject)}
        data = b"".join(parts[name] for name in sorted(parts))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BodyMissing(f"no body {sha256} on the bus")
        return data

    async def delete(self, project: str, sha256: str) -> None:
        """Erase it; nothing happens when there is none. Raises Unavailable."""
        try:
            await self._js.purge_stream(BODIES, subject=body_subject(project, sha256, "*"))
        except (NatsError, OSError) as error:
            raise Unavailable(f"the bus did not erase a body: {error}") from error
