"""The tools a request offers and what their JSON schemas say about the arguments.

In: finding a tool, finding the property for a role, sample and broken arguments. Out: planning.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing.exceptions import Unresolvable

MAX_DEPTH = 6


@dataclass(frozen=True)
class OfferedTool:
    """A tool of the request; `parameters` is the JSON schema of its arguments."""

    name: str
    parameters: Mapping[str, Any]

    def properties(self) -> dict[str, Mapping[str, Any]]:
        """Each argument's schema with references and "or null" resolved."""
        properties = self.parameters.get("properties")
        if not isinstance(properties, Mapping):
            return {}
        return {str(name): self._resolved(schema) for name, schema in properties.items()}

    def slot(self, *names: str) -> str | None:
        """The first of these names that the tool has as an argument."""
        properties = self.properties()
        return next((name for name in names if name in properties), None)

    def slots_of_type(self, *types: str) -> list[str]:
        return [name for name, schema in self.properties().items() if _type_of(schema) in types]

    def required(self) -> list[str]:
        required = self.parameters.get("required")
        return [str(name) for name in required] if isinstance(required, Sequence) else []

    def _resolved(self, schema: Any, depth: int = 0) -> Mapping[str, Any]:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            target: Any = self.parameters
            for part in reference.removeprefix("#/").split("/"):
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            return self._resolved(target, depth + 1)
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, Sequence):
            useful = [self._resolved(option, depth + 1) for option in options]
            return next((option for option in useful if option.get("type") != "null"), schema)
        return schema

    def accepts(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the arguments fulfil the schema; a schema that is itself broken accepts all."""
        try:
            Draft202012Validator(self.parameters).validate(arguments)
        except ValidationError:
            return False
        except (SchemaError, Unresolvable, TypeError, AttributeError, RecursionError):
            return True
        return True

    def sample(self, words: str, numbers: Sequence[int | float] = ()) -> dict[str, Any]:
        """Arguments that fit the schema, filled from the words and numbers at hand."""
        spare = iter(numbers)
        properties = self.properties()
        names = [*self.required(), *(name for name in properties if name not in self.required())]
        wanted = [n for n in names if n in self.required() or _type_of(properties[n]) == "string"][:8]
        return {name: self._value(properties.get(name, {}), words, spare) for name in wanted}

    def _value(
        self, schema: Mapping[str, Any], words: str, numbers: Iterator[int | float], depth: int = 0
    ) -> Any:
        if "const" in schema:
            return schema["const"]
        if enum := schema.get("enum"):
            mentioned = [value for value in enum if str(value).lower() in words.lower()]
            return mentioned[0] if mentioned else enum[0]
        if "default" in schema:
            return schema["default"]
        match _type_of(schema):
            case "integer":
                return int(_within(schema, next(numbers, 1)))
            case "number":
                return _within(schema, next(numbers, 1))
            case "boolean":
                return False
            case "array":
                item = self._resolved(schema.get("items", {}))
                return [self._value(item, words, numbers, depth + 1)] if depth < MAX_DEPTH else []
            case "object":
                inner = OfferedTool(self.name, {**self.parameters, **schema})
                return inner.sample(words, list(numbers)) if depth < 1 and schema.get("properties") else {}
            case _:
                return words[: int(schema.get("maxLength", 500))] or "text"

    def broken(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with something in them that the schema forbids."""
        properties = self.properties()
        for name in [*self.required(), *arguments]:
            schema = properties.get(name, {})
            wrong = {**arguments, name: "a few" if _type_of(schema) in ("number", "integer") else [None]}
            if not self.accepts(wrong):
                return wrong
        return {"unexpected": True}


def find(tools: Sequence[OfferedTool], *names: str) -> OfferedTool | None:
    """The first offered tool with one of these names, the names in order of preference."""
    by_name = {tool.name: tool for tool in tools}
    return next((by_name[name] for name in names if name in by_name), None)


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "string" if "enum" in schema else "")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        return next((str(k) for k in kind if k != "null"), "")
    return str(kind)


def _within(schema: Mapping[str, Any], value: int | float) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float):
        value = max(low, value)
    return min(high, value) if isinstance(high, int | float) else value
