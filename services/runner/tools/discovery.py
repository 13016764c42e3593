"""Finds tools: files in this folder, and packages with the entry point group `agentops_studio.tools`.

A tool that cannot be used is an error at start that names its file or package, never a tool less.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from services.runner import tools
from services.runner.tools.base import BaseTool
from services.runner.tools.settings import ToolSettings
from shared.steps import Effect

ENTRY_POINTS = "agentops_studio.tools"
NOT_TOOLS = frozenset({"base", "discovery", "registry", "settings"})
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TEXTS = ("name", "display_name", "description", "icon")


class ToolDiscoveryError(Exception):
    """A tool cannot be used as it is; the message names it and says what to change."""


def discover(settings: ToolSettings) -> dict[str, BaseTool[Any]]:
    """Every tool by name, in the order of the names."""
    found: dict[str, tuple[str, BaseTool[Any]]] = {}
    for source, tool_class in [*_from_folder(), *_from_packages()]:
        _check(source, tool_class)
        if tool_class.name in found:
            first = found[tool_class.name][0]
            raise ToolDiscoveryError(
                f"Two tools are named {tool_class.name!r}: {first} and {source}. Rename one."
            )
        found[tool_class.name] = source, _make(source, tool_class, settings)
    return {name: tool for name, (_, tool) in sorted(found.items())}


def _from_folder() -> Iterator[tuple[str, type[BaseTool[Any]]]]:
    for info in sorted(pkgutil.iter_modules(tools.__path__), key=lambda info: info.name):
        if info.ispkg or info.name in NOT_TOOLS:
            continue
        source = f"file {info.name}.py"
        classes = _tool_classes(_import(source, f"{tools.__name__}.{info.name}"))
        if not classes:
            raise ToolDiscoveryError(
                f"{source} in the tools' folder has no tool: define a subclass of BaseTool in it."
            )
        yield from ((f"{source} ({tool_class.__name__})", tool_class) for tool_class in classes)


def _import(source: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise ToolDiscoveryError(f"{source} cannot be imported: {type(error).__name__}: {error}") from error


def _tool_classes(module: ModuleType) -> list[type[BaseTool[Any]]]:
    return [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, BaseTool)
        and member.__module__ == module.__name__
        and not inspect.isabstract(member)
    ]


def _from_packages() -> Iterator[tuple[str, type[BaseTool[Any]]]]:
    for entry in entry_points(group=ENTRY_POINTS):
        source = (
            f"entry point {entry.name} = {entry.value} of package {entry.dist.name if entry.dist else '?'}"
        )
        yield source, _load(source, entry)


def _load(source: str, entry: EntryPoint) -> type[BaseTool[Any]]:
    try:
        loaded = entry.load()
    except Exception as error:
        raise ToolDiscoveryError(
            f"{source} cannot be loaded: {type(error).__name__}: {error}. Repair or uninstall the package."
        ) from error
    if not (inspect.isclass(loaded) and issubclass(loaded, BaseTool)):
        raise ToolDiscoveryError(f"{source} is not a subclass of BaseTool: point it at the tool's class.")
    return loaded


def _make(source: str, tool_class: type[BaseTool[Any]], settings: ToolSettings) -> BaseTool[Any]:
    try:
        return tool_class.from_settings(settings)
    except Exception as error:
        raise ToolDiscoveryError(f"{source} cannot be made: {type(error).__name__}: {error}") from error


def _check(source: str, tool_class: type[BaseTool[Any]]) -> None:
    wrong = list(_faults(tool_class))
    if wrong:
        raise ToolDiscoveryError(f"{source} is not a usable tool: {'; '.join(wrong)}.")


def _faults(tool_class: type[BaseTool[Any]]) -> Iterator[str]:
    if inspect.isabstract(tool_class) or not inspect.iscoroutinefunction(tool_class.execute):
        yield "it needs `async def execute(self, arguments, context)`"
    for field in TEXTS:
        if not isinstance(getattr(tool_class, field, None), str) or not getattr(tool_class, field):
            yield f"`{field}` must be a text that is not empty"
    if not NAME.fullmatch(str(getattr(tool_class, "name", ""))):
        yield "`name` must be 1 to 64 letters, digits, - or _"
    if not isinstance(getattr(tool_class, "effect", None), Effect):
        yield "`effect` must be Effect.PURE, Effect.IDEMPOTENT or Effect.IRREVERSIBLE"
    if min(tool_class.timeout_s, tool_class.output_limit, tool_class.concurrency) <= 0:
        yield "`timeout_s`, `output_limit` and `concurrency` must be positive"
    parameters = getattr(tool_class, "Parameters", None)
    if not (inspect.isclass(parameters) and issubclass(parameters, BaseModel)):
        yield "`Parameters` must be a pydantic model"
    elif parameters.model_config.get("extra") != "forbid":
        yield '`Parameters` must refuse unknown arguments (extra="forbid", as ToolParameters does)'
