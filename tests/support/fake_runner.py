"""A runner without a model: takes jobs from the bus and appends what its script says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from nats.aio.client import Client

from shared.bus import CATALOG, RUNNER, RUNS, jetstream
from shared.errors import Conflict
from shared.puller import Puller
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.step_codec import decode_steps
from shared.steps import (
    AgentResponse,
    AgentThought,
    Failure,
    MemorySnapshot,
    RequestedToolCall,
    RunFinished,
    RunRequested,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
    now,
)
from shared.subjects import RunKey, catalog_subject, live_subject
from shared.tasks import end
from tests.support.steps import claimed, make, model_call

Batches = Sequence[Sequence[Step]]
Script = Callable[[RunKey, RunRequested], Batches]

TOOLS = [
    {
        "name": name,
        "display_name": name.title(),
        "description": f"The tool {name}.",
        "icon": "tool",
        "effect": "pure",
        "needs_approval": False,
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
        "timeout_s": 5.0,
    }
    for name in ("calculator", "http_fetch")
]
MODELS = ["mistral-large-latest", "mistral-small-latest"]


async def announce(client: Client, *, models: Sequence[str] | None = MODELS) -> None:
    """As a runner does when it starts."""
    js = jetstream(client)
    await js.publish(catalog_subject("tools"), json.dumps({"tools": TOOLS}).encode(), stream=CATALOG)
    if models is not None:
        content = {"provider": "simulator", "models": list(models)}
        await js.publish(catalog_subject("models"), json.dumps(content).encode(), stream=CATALOG)


def answer(key: RunKey, request: RunRequested) -> Batches:
    """The shortest run: one model call, and the prompt as the answer."""
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [
            make(
                AgentResponse, key, 3, content=f"echo: {request.prompt}", model_call=model_call(), attempt=1
            ),
            make(MemorySnapshot, key, 4, memory={}, attempt=1),
            make(RunFinished, key, 5, status="completed", attempt=1, at=now()),
        ],
    ]


def use_tool(key: RunKey, request: RunRequested) -> Batches:
    """One tool call between question and answer."""
    called = RequestedToolCall(call_id="call00001", tool="calculator", arguments='{"expression": "5+10"}')
    arguments = {"expression": "5+10"}
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [
            make(AgentThought, key, 3, tool_calls=(called,), model_call=model_call()),
            make(
                ToolCall,
                key,
                4,
                call_id="call00001",
                tool="calculator",
                arguments=arguments,
                effect="pure",
                idempotency_key="k",
            ),
        ],
        [make(ToolResult, key, 5, call_id="call00001", tool="calculator", status="ok", result={"value": 15})],
        [
            make(AgentResponse, key, 6, content="The result is 15.", model_call=model_call()),
            make(RunFinished, key, 7, status="completed"),
        ],
    ]


def fail(key: RunKey, _: RunRequested) -> Batches:
    error = Failure(type="model-error", message="the provider said no", retryable=True)
    return [[claimed(key, 1)], [make(RunFinished, key, 2, status="failed", error=error)]]


def hold(key: RunKey, _: RunRequested) -> Batches:
    """Claims the run and leaves it at that."""
    return [[claimed(key, 1)]]


class FakeRunner:
    """Plays a script for each job; the first word of a prompt chooses it, the shortest run else."""

    def __init__(self, client: Client) -> None:
        self.log = RunLog(client, Scrubber())
        self.scripts: dict[str, Script] = {"tool": use_tool, "fail": fail, "hold": hold}
        self.default: Script = answer
        self.played = 0
        self._client = client

    async def serve(self, puller: Puller) -> None:
        playing: set[asyncio.Task[None]] = set()
        while True:
            for message in await puller.take(64):
                run = RunKey.of_subject(message.subject)
                task = asyncio.create_task(self._play(run, message.data))
                playing.add(task)
                task.add_done_callback(playing.discard)
                await message.ack()

    async def _play(self, key: RunKey, data: bytes) -> None:
        # Only reading the log puts large values back in place.
        job = (await self.log.read(key)).steps[0] if b'"$body"' in data else decode_steps(data)[0]
        assert isinstance(job, RunRequested)
        word = job.prompt.split(" ")[0] if isinstance(job.prompt, str) else ""
        sequence = 0
        for batch in self.scripts.get(word, self.default)(key, job):
            delta = json.dumps({"type": "delta", "text": "…"}).encode()
            await self._client.publish(live_subject(key), delta)
            try:
                sequence = await self.log.append(key, self.log.seal(batch), sequence)
            except Conflict:  # a cancel came in between
                return
            if isinstance(batch[-1], RunFinished) and job.replay is not None:
                await self.log.announce_end(key, batch[-1])
        self.played += 1


@asynccontextmanager
async def running_fake_runner(client: Client) -> AsyncIterator[FakeRunner]:
    """Announces its tools and plays jobs while the block runs."""
    await announce(client)
    runner = FakeRunner(client)
    async with Puller(client, RUNS, RUNNER.name, limit=512) as puller:
        serving = asyncio.create_task(runner.serve(puller))
        try:
            yield runner
        finally:
            await end(serving)
