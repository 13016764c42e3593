"""Runs a small Python program in a sandbox: no files, no network, bounded in time, memory and output."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field, JsonValue

from services.runner.tools.base import KIB, BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.process.script import ScriptFailed, ask
from services.runner.tools.settings import ToolSettings
from shared.steps import Effect

PROGRAM: Final = Path(__file__).parent / "sandbox" / "program.py"
MOST_CODE: Final = 32 * KIB
MOST_STDOUT_OF_AN_ERROR: Final = 2000


class PythonParameters(ToolParameters):
    code: str = Field(
        min_length=1,
        max_length=MOST_CODE,
        description="The program. What it prints, and the value of its last expression, come back.",
    )


class Python(BaseTool[PythonParameters]):
    name = "python"
    display_name = "Python"
    description = (
        "Runs a Python program in a sandbox and returns what it printed and the value of its last line, if "
        "that is an expression. Of the standard library there are math, json, re, datetime, random, decimal, "
        "itertools, collections and a few more; no files, no network, and nothing stays from call to call."
    )
    icon = "IconBrandPython"
    effect = Effect.PURE
    timeout_s = 45.0
    concurrency = 4
    Parameters = PythonParameters

    def __init__(self, time_s: float, memory: int) -> None:
        self._time_s = time_s
        self._memory = memory

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        return cls(settings.python_timeout_s, settings.python_max_memory_bytes)

    async def execute(self, arguments: PythonParameters, context: ToolContext) -> JsonValue:
        request: JsonValue = {"code": arguments.code, "time_s": self._time_s, "memory": self._memory}
        try:
            answer = await ask(PROGRAM, request, {})
        except ScriptFailed:
            raise ToolError(
                "The program was stopped: it, or the value of its last line, took more memory or time than "
                f"allowed ({self._memory} bytes, {self._time_s:g} s); compute less, or print a part of it."
            ) from None
        if "error" in answer:
            raise ToolError(_explained(answer))
        return {name: answer[name] for name in ("stdout", "result") if answer.get(name) not in (None, "")}


def _explained(answer: dict[str, JsonValue]) -> str:
    """Type and message, the line, and the end of what was printed before."""
    where = f"\nline {answer['line']}: {answer['source']}" if "line" in answer else ""
    stdout = str(answer["stdout"])[-MOST_STDOUT_OF_AN_ERROR:]
    printed = f"\nprinted before: {stdout}" if stdout else ""
    return f"{answer['error']}{where}{printed}"
