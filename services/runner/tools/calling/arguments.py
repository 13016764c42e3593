"""From what the model wrote to the tool's parameters, or to words that tell the model how to do better."""

import json
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.runner.tools.base import BaseTool, ToolError

MAX_ERRORS = 8
MAX_SHOWN = 80


class ArgumentsError(ToolError):
    """The arguments do not fit the tool's schema."""

    reason: ClassVar[str] = "arguments"


def parse(tool: BaseTool[Any], arguments: object) -> BaseModel:
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
        return tool.Parameters.model_validate(arguments)
    except UnicodeEncodeError:
        raise ArgumentsError(
            f"Wrong arguments for {tool.name}: lone surrogates are no text; leave them out."
        ) from None
    except RecursionError:
        raise ArgumentsError(
            f"Wrong arguments for {tool.name}: nested too deeply; make them flatter."
        ) from None
    except ValidationError as error:
        raise ArgumentsError(explain(tool, error)) from None


def explain(tool: BaseTool[Any], error: ValidationError) -> str:
    """Each wrong argument by name, what was wrong with it, and the names that are known."""
    errors = error.errors(include_url=False)
    told = "; ".join(_explain_one(detail) for detail in errors[:MAX_ERRORS])
    more = f"; and {len(errors) - MAX_ERRORS} more" if len(errors) > MAX_ERRORS else ""
    return f"Wrong arguments for {tool.name}: {told}{more}. Its arguments are: {_known(tool)}."


def _explain_one(detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"`{where}` is required"
    if detail["type"] == "extra_forbidden":
        return f"`{_cut(where)}` is not an argument of this tool"
    message = detail["msg"].removeprefix("Value error, ")
    if not where:
        own_words = detail["type"] == "value_error"
        return message if own_words else f"expected a JSON object, got {_shown(detail['input'])}"
    return f"`{where}`: {message[:1].lower()}{message[1:]} (got {_shown(detail['input'])})"


def _known(tool: BaseTool[Any]) -> str:
    fields = tool.Parameters.model_fields
    return ", ".join(
        f"{name}{'' if field.is_required() else ' (optional)'}" for name, field in fields.items()
    )


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _cut(text.encode("utf-8", "replace").decode())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
