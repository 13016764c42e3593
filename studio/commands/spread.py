"""Options that several commands have in common: a dataclass whose fields are what is typed."""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: a parameter that is a dataclass is typed as the fields of that."""
    said = signature(command)
    groups: dict[str, Any] = {
        name: each.annotation for name, each in said.parameters.items() if is_dataclass(each.annotation)
    }

    @wraps(command)
    def typed(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    shown: list[Parameter] = []
    for name, each in said.parameters.items():
        shown += _fields(groups[name]) if name in groups else [each.replace(kind=Parameter.KEYWORD_ONLY)]
    typed.__signature__ = said.replace(parameters=shown)  # type: ignore[attr-defined]  # where typer looks
    return typed


def _fields(group: Any) -> list[Parameter]:
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(group)
    ]
