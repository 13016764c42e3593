"""What a tool is: its name, its parameters, its effect on the world, and how it is executed.

In here: the class that every tool subclasses, what it gives back, and the error it raises. Not in here: how a
call is checked, bounded and measured (`calling`), or how tools are found (`discovery`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from services.runner.tools.settings import ToolSettings
from shared.steps import Artifact, Effect

if TYPE_CHECKING:
    from shared.service import Runtime

KIB = 1024


@dataclass(frozen=True)
class ToolContext:
    """For whom a call is made. A repeated call carries the same `idempotency_key` as the first.

    `timeout_s` is the run's own bound of the call; None: the tool's.
    """

    project: str
    run_id: str
    session_id: str | None
    call_id: str
    idempotency_key: str
    user_id: str = "default"
    agent: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class ToolOutput:
    """What a call gave when that is more than a result: what pricing counts, and files for people.

    The model sees the result only.
    """

    result: JsonValue
    units: Mapping[str, float] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()


class ToolError(Exception):
    """The call failed; the message tells the model what was wrong and what would be right."""

    reason: ClassVar[str] = "tool"


class ToolParameters(BaseModel):
    """The arguments of a tool: frozen, and unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=BaseModel)


class BaseTool(ABC, Generic[P]):
    """One tool. `output_limit` is in bytes of UTF-8; a longer result is cut and marked.

    `concurrency` is how many calls of it one runner makes at once; others wait.
    """

    name: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]
    icon: ClassVar[str]
    effect: ClassVar[Effect]
    Parameters: ClassVar[type[BaseModel]]
    needs_approval: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 30.0
    output_limit: ClassVar[int] = 64 * KIB
    concurrency: ClassVar[int] = 16

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        """Make the tool; the ones that need settings override this."""
        return cls()

    def connect(self, runtime: "Runtime") -> None:
        """Called once, when the runner is connected; the tools that need the broker override this."""
        return

    def missing(self) -> str | None:
        """What has to be set up before the tool can work; None when nothing is missing."""
        return None

    @abstractmethod
    async def execute(self, arguments: P, context: ToolContext) -> JsonValue | ToolOutput:
        """Do the work. Raises ToolError with words for the model; all else counts as the tool's own fault."""

    def effect_of(self, arguments: P) -> Effect:
        """The effect of this very call; `effect` is the strongest that any call has."""
        return self.effect

    @classmethod
    def parameters_schema(cls) -> dict[str, Any]:
        """JSON Schema of the arguments, without the generated titles that only cost tokens."""
        schema = cls.Parameters.model_json_schema(schema_generator=_ForModels)
        schema.pop("title", None)
        schema.pop("description", None)
        return schema

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The tool in the form that chat completions take."""
        function = {
            "name": cls.name,
            "description": cls.description,
            "parameters": cls.parameters_schema(),
        }
        return {"type": "function", "function": function}


class _ForModels(GenerateJsonSchema):
    """Short, and an argument that may be left out is not also offered as null."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = schema["schema"]
        if schema.get("default", ...) is None:
            return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)
        return super().default_schema(schema)
