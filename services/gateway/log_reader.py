"""Reading a run's log by pages, large bodies left as references.

`shared.run_log` reads a whole log and puts every body back in its place, which is what a runner needs;
an API that serves many readers needs bounded pages and steps as small as they are stored.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from shared.bus import KINDS_HEADER, RUNS, jetstream, job_subject, log_subject
from shared.errors import Unavailable
from shared.run_log import RunKey
from shared.steps import Step, decode_steps

PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 4 * 1024 * 1024
READ_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True)
class Last:
    """The last message of a run's log: where the log ends, and with which kinds of step."""

    sequence: int
    kinds: frozenset[str]


class LogReader:
    """Reads the logs of all runs. Every method raises Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = jetstream(client)

    async def last(self, run: RunKey) -> Last | None:
        """None when the run's log holds nothing (it may be queued: see `job`)."""
        message = await self._last_message(log_subject(run.project, run.run_id))
        if message is None:
            return None
        headers = message.headers or {}
        kinds = frozenset(headers.get(KINDS_HEADER, "").split(","))
        return Last(int(headers["Nats-Sequence"]), kinds)

    async def job(self, run: RunKey) -> Step | None:
        """Step 0; None only if the stream's leader says so, for a follower may not have it yet."""
        subject = job_subject(run.project, run.run_id)
        message = await self._last_message(subject)
        data = message.data if message is not None else await self._leader_data(subject)
        return decode_steps(data)[0] if data else None

    async def pages(self, run: RunKey, *, after: int = 0) -> AsyncIterator[list[tuple[int, bytes]]]:
        """The messages behind stream sequence `after`: pages of (sequence, JSON array of steps)."""
        subject = log_subject(run.project, run.run_id)
        pending = True
        while pending:
            page, pending = await self._page(subject, after + 1)
            if page:
                after = page[-1][0]
                yield page

    async def _page(self, subject: str, start: int) -> tuple[list[tuple[int, bytes]], bool]:
        ask = {"next_by_subj": subject, "seq": start, "batch": PAGE_MESSAGES, "max_bytes": PAGE_BYTES}
        page: list[tuple[int, bytes]] = []
        end: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        async def take(message: Msg) -> None:
            headers = message.headers or {}
            if "Status" in headers and not message.data:
                if not end.done():
                    end.set_result(message)
            else:
                page.append((int(headers["Nats-Sequence"]), message.data))

        try:
            inbox = self._client.new_inbox()
            replies = await self._client.subscribe(inbox, cb=take)
            try:
                await self._client.publish(
                    f"$JS.API.DIRECT.GET.{RUNS}", json.dumps(ask).encode(), reply=inbox
                )
                last = await asyncio.wait_for(end, READ_TIMEOUT_S)
            finally:
                if self._client.is_connected:
                    await replies.unsubscribe()
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        return page, _more_follows(last)

    async def _leader_data(self, subject: str) -> bytes | None:
        try:
            message = await asyncio.wait_for(
                self._js.get_last_msg(RUNS, subject, direct=False), READ_TIMEOUT_S
            )
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        return message.data

    async def _last_message(self, subject: str) -> Msg | None:
        try:
            message = await self._client.request(
                f"$JS.API.DIRECT.GET.{RUNS}.{subject}", timeout=READ_TIMEOUT_S
            )
        except (NatsError, OSError) as error:
            raise Unavailable(f"the broker did not answer a read: {error or type(error).__name__}") from error
        status = (message.headers or {}).get("Status")
        if status is None:
            return message
        if status == "404":
            return None
        raise Unavailable(f"the broker answered a read with status {status}")


def _more_follows(end: Msg) -> bool:
    """Whether the page was cut. Raises Unavailable unless it ended well (204) or was empty (404)."""
    headers = end.headers or {}
    if headers["Status"] not in {"204", "404"}:
        raise Unavailable(f"the broker answered a read with status {headers['Status']}")
    return int(headers.get("Nats-Num-Pending", "0")) > 0
