"""From a run's snapshot and its turns to the next request to the model. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pydantic import JsonValue, TypeAdapter

from shared.model_request import JsonObject, Messages, ModelRequest, Tools, canonical
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
        opening = _opening(snapshot, agent, history)
        self._messages = opening
        self._texts = [canonical(message) for message in opening]
        self._opening = len(opening)
        self._turns: list[Turn] = []
        self._tools = _tools(_specs.dump_json(agent.tools))
        self._parameters = agent.parameters.model_dump(exclude_none=True)
        if agent.response_format is not None:
            self._parameters["response_format"] = _response_format(agent.response_format)

    def request(self, turns: Sequence[Turn]) -> ModelRequest:
        """The chat completion that the run asks for after these turns."""
        self._take_in(turns)
        messages = Messages(self._messages, tuple(self._texts))
        return ModelRequest(self._model, messages, self._tools, self._parameters)

    def _take_in(self, turns: Sequence[Turn]) -> None:
        """Most requests have all of the one before, and some turns more: those are put into form."""
        known = len(self._turns)
        if known > len(turns) or (known and turns[known - 1] is not self._turns[-1]):
            del self._messages[self._opening :], self._texts[self._opening :]
            self._turns.clear()
            known = 0
        added = messages_of(turns[known:])
        self._messages += added
        self._texts += map(canonical, added)
        self._turns += turns[known:]


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
