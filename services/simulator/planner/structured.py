"""Answers in JSON: any object, or one that fulfils the schema the request gives."""

import json
import re
from collections.abc import Mapping
from typing import Any

from services.simulator.planner.offer import OfferedTool

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def as_json(text: str, schema: Mapping[str, Any] | None) -> str:
    """The answer as JSON text: `{"answer": …}`, or an instance of the schema filled from the answer."""
    if schema is None:
        return json.dumps({"answer": text}, ensure_ascii=False)
    numbers = [float(n) if "." in n else int(n) for n in reversed(_NUMBER.findall(text))]
    wrapper = {"$defs": schema.get("$defs", {}), "properties": {"it": schema}, "required": ["it"]}
    return json.dumps(OfferedTool("", wrapper).sample(text, numbers)["it"], ensure_ascii=False)
