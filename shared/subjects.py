"""The subjects of the bus: where what is about a run is sent and stored."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID


@dataclass(frozen=True)
class RunKey:
    project: str
    run_id: str

    @property
    def accepted_at(self) -> datetime:
        """When the run was accepted: its id, a UUIDv7, begins with the milliseconds."""
        return datetime.fromtimestamp((UUID(self.run_id).int >> 80) / 1000, UTC)

    @classmethod
    def of_subject(cls, subject: str) -> Self:
        """The run that a message is about: the last two words of every subject of a run."""
        project, run_id = subject.split(".")[-2:]
        return cls(project, run_id)


def job_subject(run: RunKey) -> str:
    return f"run.job.{run.project}.{run.run_id}"


def log_subject(run: RunKey) -> str:
    """The one literal subject that holds a run's whole log after step 0."""
    return f"run.log.{run.project}.{run.run_id}"


def stored_subject(run: RunKey) -> str:
    """Core NATS: each message of the run's log again, sent by the server once it is on disk."""
    return f"run.stored.log.{run.project}.{run.run_id}"


def live_subject(run: RunKey) -> str:
    """Core NATS: what is going on right now (token deltas, retries), never stored."""
    return f"run.live.{run.project}.{run.run_id}"


def nudge_subject(run: RunKey) -> str:
    """Core NATS: tells the runner of a run to look at its log at once."""
    return f"run.nudge.{run.project}.{run.run_id}"


def redo_subject(service: str, run: RunKey) -> str:
    """Where a dead letter of a service is sent again, for all but the runner, which takes jobs."""
    return f"run.redo.{service}.{run.project}.{run.run_id}"


def dead_subject(service: str, reason: str, run: RunKey) -> str:
    return f"dead.{service}.{reason}.{run.project}.{run.run_id}"


def body_subject(project: str, sha256: str, part: str) -> str:
    """A part of a value that was too large for a step."""
    return f"body.{project}.{sha256}.{part}"


def replay_subject(project: str, replay_id: str) -> str:
    """The order of a replay on WORK, and what came after it."""
    return f"work.replay.{project}.{replay_id}"


def ended_subject(run: RunKey) -> str:
    """That a run is over which a replay waits for, or may quote."""
    return f"work.ended.{run.project}.{run.run_id}"


def catalog_subject(what: str) -> str:
    return f"catalog.{what}"


def project_tools_subject(project: str) -> str:
    """What a project has configured: the last message counts."""
    return f"catalog.project.{project}"


def mcp_subject(project: str) -> str:
    """The tools of a project's MCP servers: the last message counts."""
    return f"catalog.mcp.{project}"
