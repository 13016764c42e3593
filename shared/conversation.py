"""From a run's snapshot and its turns to the next request to the model. Pure."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from pydantic import JsonValue, TypeAdapter

from shared.model_request import JsonObject, ModelRequest, Tools
from shared.provider_messages import messages_of, text_of
from shared.run_state import Turn
from shared.steps import AgentSnapshot, Message, RunRequested, ToolSpec

_specs: Final = TypeAdapter(tuple[ToolSpec, ...])


class Conversation:
    """The requests of one run to one agent's model; what they have in common is made once.

    `history` are the messages of the session's earlier runs, in the provider's form.
    """

    def __init__(
        self, snapshot: RunRequested, agent: AgentSnapshot, history: Sequence[JsonObject] = ()
    ) -> None:
        self._model = agent.model
        self._opening = _opening(snapshot, agent, history)
        self._tools = _tools(_specs.dump_json(agent.tools))
        self._parameters = agent.parameters.model_dump(exclude_none=True)
        if agent.response_format is not None:
            self._parameters["response_format"] = _response_format(agent.response_format)

    def request(self, turns: Iterable[Turn]) -> ModelRequest:
        """The chat completion that the run asks for after these turns."""
        messages = [*self._opening, *messages_of(turns)]
        return ModelRequest(self._model, messages, self._tools, self._parameters)


def _opening(snapshot: RunRequested, agent: AgentSnapshot, history: Sequence[JsonObject]) -> list[JsonObject]:
    messages: list[JsonObject] = []
    if agent.instructions:
        messages.append({"role": "system", "content": text_of(agent.instructions)})
    return [*messages, *history, *(_earlier(message) for message in snapshot.messages)]


def _response_format(schema: dict[str, JsonValue]) -> JsonValue:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _earlier(message: Message) -> JsonObject:
    return {"role": message.role, "content": text_of(message.content)}


@lru_cache(maxsize=32)
def _tools(specs: bytes) -> Tools:
    """Most runs offer the same tools; equal ones are put into the provider's form once."""
    return Tools(_tool(spec) for spec in _specs.validate_json(specs))


def _tool(spec: ToolSpec) -> JsonObject:
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        },
    }
