"""Models in the runner's own process, so that what is measured is the engine and not a provider.

Run as runners: `benchmarks.fake_model:make_app` (answers at once) and `…:make_streaming_app`.
"""

import asyncio
import re
import time

from faststream.asgi import AsgiFastStream

from services.runner.app import make_app as make_runner
from services.runner.model import Live, ModelReply
from shared.model_request import ModelRequest
from shared.steps import RequestedToolCall, Usage

TOOL_ROUNDS = 3
STREAM_TOKENS = 20
STREAM_PACE_S = 0.05


class InstantModel:
    """Asks for the calculator three times, one call a round, and answers in the fourth; or as often as the
    prompt says: "in 32 rounds"."""

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        done = sum(message["role"] == "tool" for message in request.messages)
        usage = Usage(input=200 + 50 * done, output=30)
        if done >= _rounds(request):
            return ModelReply(request.model, content="The result is 45.", usage=usage, finish_reason="stop")
        call = RequestedToolCall(
            call_id=f"call{done:05d}",
            tool="calculator",
            arguments=f'{{"operation": "add", "x": {done}, "y": 15}}',
        )
        return ModelReply(
            request.model,
            content=f"Step {done + 1} of the calculation.",
            tool_calls=(call,),
            usage=usage,
            finish_reason="tool_calls",
        )


def _rounds(request: ModelRequest) -> int:
    prompt = next(str(message["content"]) for message in request.messages if message["role"] == "user")
    told = re.search(r"in (\d+) rounds", prompt)
    return int(told[1]) if told else TOOL_ROUNDS


class StreamingModel:
    """Each token is the time at which the provider would have sent it."""

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        await asyncio.sleep(0.3)
        tokens = []
        for _ in range(STREAM_TOKENS):
            tokens.append(f"{time.time():.6f} ")
            live.delta(tokens[-1])
            await asyncio.sleep(STREAM_PACE_S)
        return ModelReply(
            request.model,
            content="".join(tokens),
            usage=Usage(input=200, output=STREAM_TOKENS),
            finish_reason="stop",
        )


def make_app() -> AsgiFastStream:
    return make_runner(InstantModel())


def make_streaming_app() -> AsgiFastStream:
    return make_runner(StreamingModel())
