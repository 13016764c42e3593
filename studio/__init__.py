"""AgentOps Studio: the `studio` command, the embedded stack, the demo, and the Python client.

What the client offers is imported from here: `from studio import Studio`. It is loaded when first asked
for, so that the parts that do not need it start without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.diff.models import RunDiff
    from shared.errors import StudioError
    from shared.steps import BodyRef, Edit, Message, RunStatus, Step, ToolAnswer
    from studio.client.asynchronous import AsyncStudio
    from studio.client.automation_models import Delivery, NewWebhook, Schedule, Tick, Webhook
    from studio.client.bundle_models import BundleKey, ImportedBundle
    from studio.client.errors import (
        ApiError,
        BadAnswer,
        Busy,
        Conflict,
        FieldError,
        Invalid,
        NoServer,
        NotFound,
        NotSaved,
        ReplayUnfinished,
        RunFailed,
        StillRunning,
        Unauthorized,
        Unavailable,
        Unreachable,
        Unsendable,
    )
    from studio.client.events import Delta, Event, ModelCallStarted, Retrying
    from studio.client.models import (
        Accepted,
        Agent,
        AgentDiff,
        AgentSummary,
        Artifact,
        Batch,
        ChatReply,
        Group,
        ModelList,
        Note,
        Run,
        RunSummary,
        Session,
        SessionRun,
    )
    from studio.client.replay_models import Lineage, Replay, ReplayRun, ReplaySummary
    from studio.client.retries import RetryPolicy
    from studio.client.sync import Studio
    from studio.client.tool_models import McpServer, Tool

__all__ = [
    "Accepted",
    "Agent",
    "AgentDiff",
    "AgentSummary",
    "ApiError",
    "Artifact",
    "AsyncStudio",
    "BadAnswer",
    "Batch",
    "BodyRef",
    "BundleKey",
    "Busy",
    "ChatReply",
    "Conflict",
    "Delivery",
    "Delta",
    "Edit",
    "Event",
    "FieldError",
    "Group",
    "ImportedBundle",
    "Invalid",
    "Lineage",
    "McpServer",
    "Message",
    "ModelCallStarted",
    "ModelList",
    "NewWebhook",
    "NoServer",
    "NotFound",
    "NotSaved",
    "Note",
    "Replay",
    "ReplayRun",
    "ReplaySummary",
    "ReplayUnfinished",
    "RetryPolicy",
    "Retrying",
    "Run",
    "RunDiff",
    "RunFailed",
    "RunStatus",
    "RunSummary",
    "Schedule",
    "Session",
    "SessionRun",
    "Step",
    "StillRunning",
    "Studio",
    "StudioError",
    "Tick",
    "Tool",
    "ToolAnswer",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Unsendable",
    "Webhook",
]

_MODULES = (
    "sync",
    "asynchronous",
    "automation_models",
    "bundle_models",
    "errors",
    "events",
    "models",
    "replay_models",
    "retries",
    "tool_models",
)


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        if name in __all__:
            places = (*(f"studio.client.{module}" for module in _MODULES), "shared.steps")
            for module in map(import_module, places):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
