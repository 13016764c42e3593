"""Plans gone wrong on purpose: broken arguments, tools that do not exist, tools without end."""

import json
from dataclasses import dataclass

from services.simulator.faults.fault import Kind
from services.simulator.planner.choose import NumberedCall, Plan, Situation, forced_call
from services.simulator.sampling import Sampler


@dataclass(frozen=True)
class OutgoingCall:
    """A tool call as it is sent: `arguments` is JSON text, unless it was to be broken."""

    id: str
    name: str
    arguments: str


def outgoing(
    plan: Plan, situation: Situation, fault: Kind | None, sampler: Sampler
) -> tuple[str, tuple[OutgoingCall, ...]]:
    """The text and the calls to send; a fault needs a call to spoil and makes one up if there is none."""
    if fault is not None and situation.tools and not plan.calls:
        plan = forced_call(situation, sampler)
    return plan.text, tuple(_sent(numbered, situation, fault, sampler) for numbered in plan.calls)


def _sent(numbered: NumberedCall, situation: Situation, fault: Kind | None, sampler: Sampler) -> OutgoingCall:
    call = numbered.call
    name, arguments = call.tool, json.dumps(call.arguments, ensure_ascii=False)
    match fault:
        case Kind.BAD_JSON:
            arguments = arguments[: max(1, len(arguments) * 2 // 3)]
        case Kind.BAD_ARGUMENTS:
            tool = next(tool for tool in situation.tools if tool.name == name)
            arguments = json.dumps(tool.broken(call.arguments), ensure_ascii=False)
        case Kind.UNKNOWN_TOOL:
            name = _unknown(name, {tool.name for tool in situation.tools})
    return OutgoingCall(sampler.call_id(numbered.step), name, arguments)


def _unknown(name: str, known: set[str]) -> str:
    while name in known:
        name += "_pro"
    return name
