"""Holding an answer against the schema that was asked for, in words that a model understands. Pure."""

import json
from collections.abc import Mapping

from pydantic import JsonValue

from shared.json_schema import complaint


def answer_problem(schema: Mapping[str, JsonValue], answer: str) -> str | None:
    """Why the answer is not what the schema asks for; None when it is."""
    try:
        value: JsonValue = json.loads(answer)
    except (ValueError, RecursionError) as error:
        return f"The answer is not JSON ({error})."
    problem = complaint(schema, value)
    return f"The answer does not fit the schema: {problem}" if problem is not None else None
