"""A chat completion: from the checked request to the answers, before they are put on the wire.

In: which tools are open to the model, lengths, stop sequences, usage. Out: what to say (`planner`),
how it is sent (`streaming`), what goes wrong before there is an answer (`routes`).
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from services.simulator.conversation import Conversation
from services.simulator.faults.fault import Kind
from services.simulator.models import Model
from services.simulator.planner.choose import Plan, Situation, choose
from services.simulator.planner.faulty import OutgoingCall, outgoing
from services.simulator.planner.offer import OfferedTool
from services.simulator.planner.structured import as_json
from services.simulator.sampling import Sampler
from services.simulator.schemas import ChatRequest, NamedToolChoice
from services.simulator.tokens import count_tokens, cut_to_tokens
from services.simulator.usage import Prompt, usage_body


@dataclass(frozen=True)
class Asked:
    """A request that was found in order; `question` is the last user message without directives."""

    request: ChatRequest
    conversation: Conversation
    question: str
    model: Model
    prompt: Prompt


@dataclass(frozen=True)
class Choice:
    """One answer."""

    text: str
    calls: tuple[OutgoingCall, ...]
    finish_reason: str

    @property
    def tokens(self) -> int:
        return count_tokens(self.text) + sum(count_tokens(c.name + c.arguments) for c in self.calls)


@dataclass(frozen=True)
class Completion:
    """What is answered to one request; `model` is the name that was asked for."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...]
    usage: dict[str, Any]

    @property
    def tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)


def complete(asked: Asked, fault: Kind | None = None) -> Completion:
    """All answers to a request; `fault` is what is to go wrong inside the answer."""
    request, model = asked.request, asked.model
    temperature = model.default_temperature if request.temperature is None else request.temperature
    fingerprint = _fingerprint(request)
    samplers = [
        Sampler(fingerprint, temperature, request.random_seed, choice) for choice in range(request.n or 1)
    ]
    choices = tuple(_choice(asked, fault, sampler) for sampler in samplers)
    usage = usage_body(asked.prompt, sum(choice.tokens for choice in choices))
    return Completion(uuid4().hex, request.model, int(time.time()), choices, usage)


def _choice(asked: Asked, fault: Kind | None, sampler: Sampler) -> Choice:
    if fault is Kind.EMPTY:
        return Choice("", (), "stop")
    situation = _situation(asked)
    plan: Plan = choose(situation, sampler)
    text, calls = outgoing(plan, situation, fault, sampler)
    if not calls:
        text = _stopped(_formatted(text, asked), asked.request.stop)
    return _within_limit(Choice(text, calls, "tool_calls" if calls else "stop"), asked)


def _situation(asked: Asked) -> Situation:
    """Which tools the model may use, and whether it has to, by `tool_choice`."""
    request = asked.request
    offered = tuple(OfferedTool(t.function.name, t.function.parameters) for t in request.tools or ())
    chosen = request.tool_choice
    if isinstance(chosen, NamedToolChoice):
        offered = tuple(tool for tool in offered if tool.name == chosen.function.name)
    elif chosen == "none":
        offered = ()
    must_call = isinstance(chosen, NamedToolChoice) or chosen in ("any", "required")
    parallel = request.parallel_tool_calls is not False
    return Situation(asked.conversation, asked.question, offered, must_call, parallel, asked.model)


def _formatted(text: str, asked: Asked) -> str:
    wanted = asked.request.response_format
    if wanted is not None and wanted.type != "text":
        return as_json(text, wanted.json_schema.schema_definition if wanted.json_schema else None)
    return asked.conversation.prefix + text


def _stopped(text: str, stop: str | list[str] | None) -> str:
    """The text up to the first stop sequence, which is not part of the answer."""
    sequences = [stop] if isinstance(stop, str) else stop or []
    places = [text.find(sequence) for sequence in sequences if sequence]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _within_limit(choice: Choice, asked: Asked) -> Choice:
    """Cut where max_tokens or the context ends; calls that do not fit are lost."""
    limit = max(0, asked.model.context - asked.prompt.tokens)
    if asked.request.max_tokens is not None:
        limit = min(limit, asked.request.max_tokens)
    if choice.tokens <= limit:
        return choice
    return Choice(cut_to_tokens(choice.text, limit), (), "length")


def _fingerprint(request: ChatRequest) -> bytes:
    """What the answer may depend on: model, messages, tools, and how they may be used."""
    relevant = {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format"}
    return hashlib.blake2b(request.model_dump_json(include=relevant).encode(), digest_size=16).digest()
