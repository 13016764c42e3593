"""One chat over a WebSocket: messages come in, each starts a run, its steps go out as they happen."""

import asyncio
from typing import Final

import structlog
from pydantic import ValidationError
from starlette.websockets import WebSocket

from services.gateway.chat_messages import ChatMessage, Failed, chat_message
from services.gateway.key_ring import Principal
from services.gateway.limits import BODY_LIMIT
from services.gateway.parts import Parts
from services.gateway.problems import UNAUTHORIZED, Problem, away
from services.gateway.requests import TIMEOUT_S, ChatInput
from services.gateway.starter import Order
from services.gateway.validation import invalid_body
from services.gateway.views import RunView, why_not_completed
from shared.errors import Permanent, Unavailable
from shared.step_codec import decode_steps, encode_step
from shared.steps import RunStatus, Step
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 8
MOST_STEPS: Final = 1000
GRACE_S: Final = 30.0
SEND_TIMEOUT_S: Final = 20.0
POLICY: Final = 1008
TOO_BIG: Final = 1009


class _Ended(Exception):
    """The conversation is over; `code` and the message say why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Steps:
    """The steps that wait to be sent: at most MOST_STEPS."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Step | None] = asyncio.Queue(MOST_STEPS + 1)  # one place is for the end
        self._is_over = False

    def put(self, step: Step) -> None:
        if self._queue.qsize() < MOST_STEPS:
            self._queue.put_nowait(step)
        else:
            self._is_over = True

    def end(self) -> None:
        """Nothing more will come."""
        self._queue.put_nowait(None)

    async def next(self) -> Step | None:
        """None after the last. Raises _Ended when there were more than may wait."""
        step = await self._queue.get()
        if self._is_over:
            raise _Ended(POLICY, "you read too slowly")
        return step


class Conversation:
    """Runs until the client leaves; answers one message after the other."""

    def __init__(self, socket: WebSocket, parts: Parts, principal: Principal, path: str) -> None:
        self._socket = socket
        self._parts = parts
        self._principal = principal
        self._path = path
        self._inbox: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)

    async def run(self) -> None:
        tasks = {
            asyncio.create_task(self._receive(), name="receive chat messages"),
            asyncio.create_task(self._answer_all(), name="answer chat messages"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if isinstance(error := task.exception(), _Ended):
                await self._socket.close(error.code, str(error))
            elif error is not None:
                raise error

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise _Ended(POLICY, "send text, not bytes")
            if len(text) > BODY_LIMIT or len(text.encode()) > BODY_LIMIT:
                raise _Ended(TOO_BIG, f"a message may have {BODY_LIMIT} bytes")
            try:
                self._inbox.put_nowait(text)
            except asyncio.QueueFull:
                raise _Ended(POLICY, f"at most {MOST_WAITING} messages may wait for an answer") from None

    async def _answer_all(self) -> None:
        while True:
            text = await self._inbox.get()
            try:
                await self._require_admitted()
                failure = await self._answer(ChatInput.model_validate_json(text))
            except ValidationError as error:
                failure = invalid_body(error, ChatInput).detail
            except Problem as problem:
                failure = problem.detail
            except Unavailable as error:
                failure = away(error).detail
            except Permanent as error:
                failure = str(error)
            if failure:
                await self._send(Failed(message=failure))

    async def _require_admitted(self) -> None:
        """A socket may outlive the key that opened it."""
        try:
            principal = await self._parts.key_ring.renew(self._principal)
        except Problem as problem:
            if problem.kind is UNAUTHORIZED:
                raise _Ended(POLICY, problem.detail) from None
            raise
        if "write" not in principal.scopes:
            raise _Ended(POLICY, "this API key has no scope 'write' any more")

    async def _answer(self, message: ChatInput) -> str:
        """Send the steps of a new run; returns why it did not complete, or nothing."""
        run = message.run()
        steps = Steps()
        order = Order(self._principal, self._path, run)
        waiting = asyncio.create_task(
            self._parts.waiter.start_and_wait(order, TIMEOUT_S + GRACE_S, steps.put),
            name="wait for a chat's run",
        )
        waiting.add_done_callback(lambda _: steps.end())
        try:
            while (step := await steps.next()) is not None:
                await self._send(chat_message(await self._whole(step)))
            view, _ = await waiting
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return _failure(view)

    async def _whole(self, step: Step) -> Step:
        """The step with its large values back in place."""
        text = encode_step(step)
        if b'"$body"' not in text:
            return step
        inflated = await self._parts.bodies.inflated(RunKey(step.project, step.run_id), [text])
        return decode_steps(b"[" + inflated[0] + b"]")[0]

    async def _send(self, message: ChatMessage | None) -> None:
        if message is None:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_text(message.model_dump_json())
        except TimeoutError:
            raise _Ended(POLICY, "you read too slowly") from None


def _failure(view: RunView) -> str:
    if not view.status.is_final:
        return f"the run {view.run_id} goes on without this connection; ask for it by its id"
    return "" if view.status is RunStatus.COMPLETED else why_not_completed(view)
