"""A model that answers at once, in the runner's own process: what is left is the cost of the engine.

It asks for the calculator three times, one call a round, and answers in the fourth.
"""

from faststream.asgi import AsgiFastStream

from services.runner.app import make_app as make_runner
from services.runner.model import Live, ModelReply, ModelRequest
from shared.steps import RequestedToolCall, Usage

TOOL_ROUNDS = 3


class InstantModel:
    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        done = sum(message["role"] == "tool" for message in request.messages)
        usage = Usage(input=200 + 50 * done, output=30)
        if done >= TOOL_ROUNDS:
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


def make_app() -> AsgiFastStream:
    return make_runner(InstantModel())
