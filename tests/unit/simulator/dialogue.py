"""Talks with the model without HTTP: requests as JSON, tools that answer, the whole tool loop."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from services.simulator.completions import Choice, complete
from services.simulator.faults.fault import Kind
from services.simulator.routes.chat import read_asked

Arguments = dict[str, Any]
DEMO = "What is 5 + 10, then multiply by 3?"


def tool(name: str, properties: Arguments, required: Sequence[str]) -> Arguments:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


OPERATIONS = ["add", "subtract", "multiply", "divide", "power"]
CALCULATOR = tool(
    "calculator",
    {
        "operation": {"type": "string", "enum": OPERATIONS},
        "x": {"type": "number"},
        "y": {"type": "number"},
    },
    ("operation", "x", "y"),
)
FILE_IO = tool(
    "file_io",
    {
        "action": {"type": "string", "enum": ["read", "write", "append", "list", "delete"]},
        "path": {"type": "string", "default": "."},
        "content": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    ("action",),
)
HTTP_FETCH = tool("http_fetch", {"url": {"type": "string"}, "max_bytes": {"type": "integer"}}, ("url",))
HUB = tool(
    "hf_list_models",
    {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "maximum": 20}},
    ("query",),
)
WEATHER = tool("get_weather", {"city": {"type": "string"}, "days": {"type": "integer"}}, ("city",))


def calculate(arguments: Arguments) -> str:
    """Answers as the project's own calculator does."""
    x, y = arguments["x"], arguments["y"]
    match arguments["operation"]:
        case "add":
            return f"{x} + {y} = {x + y}"
        case "subtract":
            return f"{x} - {y} = {x - y}"
        case "multiply":
            return f"{x} * {y} = {x * y}"
        case "divide" if y == 0:
            return "Error (tool): Division by zero has no result; y must not be 0."
        case "divide":
            return f"{x} / {y} = {x / y}"
        case _:
            return f"{x}^{y} = {x**y}"


def ask(
    messages: Sequence[Arguments] | str,
    tools: Sequence[Arguments] = (CALCULATOR,),
    fault: Kind | None = None,
    **parameters: Any,
) -> Choice:
    """The model's next message; at temperature 0 and by the largest model unless told otherwise."""
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    body: Arguments = {"model": "mistral-large-latest", "messages": said, "temperature": 0.0, **parameters}
    if tools:
        body["tools"] = list(tools)
    return complete(read_asked(json.dumps(body).encode()), fault).choices[0]


def extend(messages: Sequence[Arguments], choice: Choice, results: Sequence[str]) -> list[Arguments]:
    """The conversation with the model's calls and what the tools answered to them."""
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in choice.calls
    ]
    answers = [
        {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": result}
        for call, result in zip(choice.calls, results, strict=True)
    ]
    return [*messages, {"role": "assistant", "content": choice.text, "tool_calls": calls}, *answers]


def converse(
    question: str | Sequence[Arguments],
    tools: Sequence[Arguments] = (CALCULATOR,),
    answer: Callable[[Arguments], str] = calculate,
    rounds: int = 12,
    **parameters: Any,
) -> tuple[str, list[list[tuple[str, Arguments]]]]:
    """The final answer and, round by round, the calls (tool, arguments) that led to it."""
    start = [{"role": "user", "content": question}] if isinstance(question, str) else list(question)
    messages, made = list(start), list[list[tuple[str, Arguments]]]()
    for _ in range(rounds):
        choice = ask(messages, tools, **parameters)
        if not choice.calls:
            return choice.text, made
        arguments = [json.loads(call.arguments) for call in choice.calls]
        made.append([(call.name, a) for call, a in zip(choice.calls, arguments, strict=True)])
        messages = extend(messages, choice, [answer(a) for a in arguments])
    raise AssertionError(f"no answer after {rounds} rounds: {made}")
