"""From a failed validation to the fields at fault, each with what would be right. Never quotes a value."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from services.gateway.problems import INVALID, FieldError, Problem

MOST_ERRORS: Final = 20
MOST_COUNTED: Final = 200  # to describe half a million would stop the process for seconds
MOST_FIELD: Final = 200
NOT_BLANK: Final = r"\S"


def invalid_input(
    errors: Iterable[Mapping[str, Any]], model: type[BaseModel] | None = None, *, skip: int = 0
) -> Problem:
    """The problem for pydantic's `errors`; the first `skip` parts of each location are left out."""
    found = [_field_error(error, model, skip) for error in islice(errors, MOST_ERRORS)]
    detail = "; ".join(f"{error.field}: {error.message}" for error in found[:3])
    return Problem(INVALID, detail, errors=found)


def invalid_body(error: ValidationError, model: type[BaseModel]) -> Problem:
    """The problem for a body that is no JSON (with the position of the fault) or not this model."""
    if (count := error.error_count()) > MOST_COUNTED:
        fields = ", ".join(model.model_fields)
        return Problem(
            INVALID, f"the body has {count} faults, too many to name; the fields here are {fields}"
        )
    return invalid_input(error.errors(include_input=False, include_url=False), model)


def _field_error(error: Mapping[str, Any], model: type[BaseModel] | None, skip: int) -> FieldError:
    location = tuple(error["loc"][skip:])
    field = ".".join(map(str, location))[:MOST_FIELD] or "body"
    return FieldError(field=field, message=_message(error, model, location))


def _message(error: Mapping[str, Any], model: type[BaseModel] | None, location: tuple[Any, ...]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "json_invalid":
            return f"not valid JSON: {context.get('error', error['msg'])}"
        case "extra_forbidden" if model is not None:
            return f"unknown field; the fields here are {', '.join(_siblings(model, location))}"
        case "value_error":
            return str(context.get("error", error["msg"]))
        case "missing":
            return "this field is required"
        case "string_pattern_mismatch" if context.get("pattern") == NOT_BLANK:
            return "must hold more than white space"
    return str(error["msg"])


def _siblings(model: type[BaseModel], location: tuple[Any, ...]) -> Iterable[str]:
    """The fields of the object in which the unknown one stood."""
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None and (inner := _model_in(field.annotation)) is not None:
            model = inner
    return model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, directly or as the item of a collection or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)
