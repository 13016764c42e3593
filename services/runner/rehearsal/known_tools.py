"""The installed tools, and what is recorded of those that are not installed here."""

from services.runner.rehearsal.script import Script
from services.runner.tools.base import ToolError
from services.runner.tools.registry import ToolRegistry
from shared.steps import Effect, ToolCall


class KnownTools(ToolRegistry):
    """A run may be rehearsed where its tools are not: then they are believed to be as they were."""

    def __init__(self, installed: ToolRegistry, script: Script) -> None:
        super().__init__({name: tool for name in installed.names() if (tool := installed.get(name))})
        self._script = script

    def effect_of(self, name: str, arguments: object) -> Effect:
        """The effect of this very call. Raises ToolError that tells the model what is wrong with it."""
        if self.get(name) is not None:
            return super().effect_of(name, arguments)
        call = self._script.call_ahead(name, arguments)
        if call is None:
            raise ToolError(f"There is no tool {name[:80]!r} here.")
        answer = self._script.known_answer(call.call_id) if isinstance(call, ToolCall) else None
        if answer is not None and answer.error_type in {"unknown-tool", "invalid-arguments"}:
            raise ToolError(str(answer.result))
        return call.effect
