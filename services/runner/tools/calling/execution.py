"""One execution of a tool, bounded in time, whatever the tool does: every failure leaves as a ToolError."""

import asyncio
import traceback
from typing import Any, ClassVar

import structlog
from pydantic import BaseModel

from services.runner.tools.base import BaseTool, ToolContext, ToolError

GRACE_S = 1.0

log = structlog.get_logger(__name__)


class ToolTimeoutError(ToolError):
    reason: ClassVar[str] = "timeout"


class ToolCrashError(ToolError):
    """A fault inside the tool. The model learns that it is not to blame, and nothing that may be secret."""

    reason: ClassVar[str] = "crash"


class MissingError(ToolError):
    """What the tool needs has not been set up here."""

    reason: ClassVar[str] = "missing"


async def execute(tool: BaseTool[Any], arguments: BaseModel, context: ToolContext) -> object:
    """The tool's result; raises ToolError, or CancelledError when the caller itself is cancelled."""
    task = asyncio.create_task(_contained(tool, arguments, context), name=f"tool {tool.name}")
    try:
        timeout_s = context.timeout_s or tool.timeout_s
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    finally:
        await _stop(task, tool, context)
    if not done:
        raise ToolTimeoutError(
            f"{tool.name} did not finish within {timeout_s:g} seconds and was stopped; ask it for less."
        )
    if task.cancelled():
        raise crashed(tool.name, asyncio.CancelledError(), context)
    error = task.exception()
    if isinstance(error, ToolError):
        raise error
    if error is not None:
        raise crashed(tool.name, error, context)
    return task.result()


def crashed(tool: str, error: BaseException, context: ToolContext | None = None) -> ToolCrashError:
    """Log where the tool broke, without messages and values, and say in words that it did."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
    kind = type(error).__name__
    log.error("tool_crashed", tool=tool, error_type=kind, frames=frames, **_whose(context))
    return ToolCrashError(
        f"{tool} failed by a fault of its own ({kind}), not of the arguments; "
        "go on without it or try another way."
    )


async def _contained(tool: BaseTool[Any], arguments: BaseModel, context: ToolContext) -> object:
    if (missing := tool.missing()) is not None:
        raise MissingError(f"{tool.name} cannot be used here: {missing}. Go on without it, and say so.")
    try:
        return await tool.execute(arguments, context)
    except SystemExit as error:
        # Left alone, it would end the process and with it every other run.
        raise RuntimeError("the tool tried to end the process") from error


async def _stop(task: asyncio.Task[object], tool: BaseTool[Any], context: ToolContext) -> None:
    if task.done():
        return
    task.add_done_callback(_retrieve)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=GRACE_S)
    if not done:
        log.error("tool_ignores_cancellation", tool=tool.name, **_whose(context))


def _retrieve(task: asyncio.Task[object]) -> None:
    """An outcome nobody waits for any more would be reported as never retrieved."""
    if not task.cancelled():
        task.exception()


def _whose(context: ToolContext | None) -> dict[str, str]:
    return {"run_id": context.run_id, "call_id": context.call_id} if context else {}
