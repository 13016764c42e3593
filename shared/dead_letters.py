"""Dead letters: what a service gave up for good, with everything needed to send it again.

`python -m shared.dead_letters` lists them, `python -m shared.dead_letters SEQUENCE …` sends some again.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError
from prometheus_client import Counter

from shared.bus import DEAD, RUNNER, RUNS, WORK, client_of, jetstream, make_broker
from shared.errors import Permanent, Unavailable
from shared.settings import ServiceSettings
from shared.stored import sequence_of, stored_messages, subject_of
from shared.subjects import RunKey, dead_subject, job_subject, redo_subject

DEAD_LETTERS = Counter("studio_dead_letters_total", "Messages given up for good.", ["service", "reason"])
ERROR_LIMIT: Final = 1000


class DeadLetters:
    """The dead letters of one service."""

    def __init__(self, client: Client, service: str) -> None:
        self._js = jetstream(client)
        self._service = service

    async def add(self, message: Msg, payload: bytes, reason: str, error: str) -> None:
        """Store `payload` (the part of `message` that failed). Raises Unavailable."""
        meta = message.metadata
        digest = blake2b(payload, digest_size=8).hexdigest()
        headers = {
            "Dead-Service": self._service,
            "Dead-Subject": message.subject,
            "Dead-Sequence": str(meta.sequence.stream),
            "Dead-Delivered": str(meta.num_delivered),
            "Dead-Error": _header_text(error),
            "Nats-Msg-Id": f"{self._service}:{meta.sequence.stream}:{digest}",
        }
        subject = dead_subject(self._service, reason, RunKey.of_subject(message.subject))
        try:
            await self._js.publish(subject, payload, timeout=5, stream=DEAD, headers=headers)
        except (NatsError, OSError) as failure:
            raise Unavailable(f"the dead letters did not take a message: {failure}") from failure
        DEAD_LETTERS.labels(self._service, reason).inc()


async def resend(client: Client, sequence: int) -> str:
    """Send the dead letter at `sequence` to its service again; returns the subject it went to.

    The letter is removed once the broker has the new message. Raises Permanent if there is none.
    """
    js = jetstream(client)
    try:
        letter = await js.get_msg(DEAD, sequence)
        headers: Mapping[str, str] = letter.headers or {}
        stream, subject = _door(headers["Dead-Service"], headers["Dead-Subject"])
        await js.publish(
            subject, letter.data or b"", stream=stream, headers={"Nats-Msg-Id": f"redo:{sequence}"}
        )
        await js.delete_msg(DEAD, sequence)
    except NotFoundError as error:
        raise Permanent(f"there is no dead letter with sequence {sequence}") from error
    except (APIError, NatsError, OSError) as error:
        raise Unavailable(f"the broker did not answer: {error}") from error
    return subject


def _door(service: str, subject: str) -> tuple[str, str]:
    """Stream and subject on which that service alone gets the message of this subject again."""
    if subject.startswith("work."):
        return WORK, subject
    run = RunKey.of_subject(subject)
    return RUNS, job_subject(run) if service == RUNNER.name else redo_subject(service, run)


def _header_text(value: str) -> str:
    """One line of printable text: headers end at a line break."""
    return "".join(c if c.isprintable() else " " for c in value)[:ERROR_LIMIT]


async def listed(client: Client) -> AsyncIterator[str]:
    """One line for each letter, the oldest first: sequence, subject and why."""
    async for letter in stored_messages(client, DEAD, "dead.>"):
        why = (letter.headers or {}).get("Dead-Error", "")
        yield f"{sequence_of(letter)}  {subject_of(letter)}  {why}"


async def main(sequences: Sequence[int]) -> None:
    async with make_broker("dead-letters", ServiceSettings().nats_url) as broker:
        client = client_of(broker)
        for sequence in sequences:
            print(f"{sequence} sent again on {await resend(client, sequence)}")
        if not sequences:
            async for line in listed(client):
                print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="List the dead letters, or send some to their service again."
    )
    parser.add_argument("sequence", nargs="*", type=int, help="of a letter that is to be sent again")
    asyncio.run(main(parser.parse_args().sequence))
