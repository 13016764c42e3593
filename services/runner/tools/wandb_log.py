"""Logs metrics to Weights & Biases: one run there for each run here."""

import asyncio
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final, Self
from weakref import WeakValueDictionary

from pydantic import Field, FiniteFloat, JsonValue, SecretStr, StringConstraints

from services.runner.tools.base import BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.process.script import ScriptFailed, ask
from services.runner.tools.settings import ToolSettings
from shared.steps import Effect

SCRIPT: Final = Path(__file__).parent / "weights_biases" / "log_row.py"
TIMEOUT_S: Final = 60.0
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_./-]{0,99}$")]


class WandbLogParameters(ToolParameters):
    metrics: dict[Name, FiniteFloat] = Field(
        min_length=1, max_length=50, description='Numbers by name, such as {"accuracy": 0.93}.'
    )
    step: int | None = Field(
        default=None, ge=0, le=2**53, description="Step of the row; else the one after the last."
    )


class WandbLog(BaseTool[WandbLogParameters]):
    """A repeated call is told by its idempotency key, which is kept with the row."""

    name = "wandb_log"
    display_name = "Weights & Biases"
    description = "Logs a row of metrics to Weights & Biases, in a run of its own for this run."
    icon = "IconChartLine"
    effect = Effect.IDEMPOTENT
    timeout_s = TIMEOUT_S + 5
    concurrency = 4
    Parameters = WandbLogParameters

    def __init__(self, settings: ToolSettings) -> None:
        self._key: SecretStr | None = settings.wandb_api_key
        self._base_url = settings.wandb_base_url
        self._entity = settings.wandb_entity
        self._project = settings.wandb_project
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        return cls(settings)

    def missing(self) -> str | None:
        return None if self._key else "WANDB_API_KEY is not set"

    async def execute(self, arguments: WandbLogParameters, context: ToolContext) -> JsonValue:
        request: JsonValue = {
            "api_key": self._key.get_secret_value() if self._key else "",
            "base_url": self._base_url,
            "entity": self._entity,
            "project": self._project,
            "run_id": context.run_id,
            "call": hashlib.sha256(context.idempotency_key.encode()).hexdigest()[:16],
            "metrics": dict(arguments.metrics),
            "step": arguments.step,
        }
        # One after the other: each reads what the run has before it writes.
        lock = self._locks.setdefault(context.run_id, asyncio.Lock())
        try:
            async with asyncio.timeout(TIMEOUT_S), lock:
                return _told(await _asked(request))
        except TimeoutError:
            raise ToolError(
                f"Weights & Biases did not confirm the metrics within {TIMEOUT_S:g} s; "
                "they may or may not be there."
            ) from None
        except ScriptFailed:
            raise ToolError(
                "The client of Weights & Biases broke; the metrics may or may not be there."
            ) from None


async def _asked(request: JsonValue) -> dict[str, JsonValue]:
    """The client writes files on its way, and reports on itself to its makers unless it is told."""
    with TemporaryDirectory(prefix="wandb-", ignore_cleanup_errors=True) as folder:
        environment = {"HOME": folder, "TMPDIR": folder, "WANDB_ERROR_REPORTING": "false"}
        return await ask(SCRIPT, request, environment)


def _told(answer: dict[str, JsonValue]) -> JsonValue:
    if "error" in answer:
        raise ToolError(f"Weights & Biases did not take the metrics: {answer['error']}")
    if "behind" in answer:
        raise ToolError(
            f"The run at Weights & Biases stands at step {answer['behind']}; give a larger step or none."
        )
    return answer
