"""The tables of the system, one file per owner. Only the owner writes a table; the gateway reads all.

Importing this package fills `metadata`; nothing connects.
"""

from shared.tables.agents import Agent, AgentVersionRow
from shared.tables.base import metadata
from shared.tables.batches import Batch, QueuedRun
from shared.tables.cost import Charge
from shared.tables.gateway import ApiKey, ProjectRow
from shared.tables.recorder import Body, Run, StepRow
from shared.tables.replayer import Diff, Replay, ReplayRun
from shared.tables.schedules import Schedule, ScheduleTick
from shared.tables.tools import ProjectTool
from shared.tables.webhooks import Webhook, WebhookDelivery

__all__ = [
    "Agent",
    "AgentVersionRow",
    "ApiKey",
    "Batch",
    "Body",
    "Charge",
    "Diff",
    "ProjectRow",
    "ProjectTool",
    "QueuedRun",
    "Replay",
    "ReplayRun",
    "Run",
    "Schedule",
    "ScheduleTick",
    "StepRow",
    "Webhook",
    "WebhookDelivery",
    "metadata",
]
