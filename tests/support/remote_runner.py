"""A runner process whose model calls the tool that the prompt names, with the arguments that stand there.

The prompt is a JSON object of `tool` and `arguments`; the answer is what the tool said.
"""

import json

from faststream.asgi import AsgiFastStream

from services.runner.app import make_app as make_runner
from services.runner.model import Live, ModelReply
from shared.model_request import ModelRequest
from shared.steps import RequestedToolCall, Usage


class CallingModel:
    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        live.started(request.model)
        last = request.messages[-1]
        usage = Usage(input=1, output=1)
        if last["role"] == "tool":
            return ModelReply(request.model, content=str(last["content"]), usage=usage, finish_reason="stop")
        asked = json.loads(str(last["content"]))
        call = RequestedToolCall(
            call_id="call00001", tool=asked["tool"], arguments=json.dumps(asked.get("arguments", {}))
        )
        return ModelReply(request.model, tool_calls=(call,), usage=usage, finish_reason="tool_calls")


def make_app() -> AsgiFastStream:
    return make_runner(CallingModel())
