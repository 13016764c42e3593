"""From the run of a bundle to a run of this deployment; the way back is in `origin`.

All that was said is as it was. The run gets an id of its own, which follows from project and bundle, and its
steps say that nothing was called or paid here (`copied_from`). What binds it to other runs, and how tools are
reached, stays behind: a file must not make anybody's session go on, nor send secrets of this deployment
anywhere. The request's metadata say where it comes from.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from shared.bundle.faults import BundleFault
from shared.bundle.manifest import STEPS
from shared.bundle.origin import LEFT_BEHIND, MARK, WRITER
from shared.bundle.reading import Bundle
from shared.bundle.signing import fingerprint
from shared.derived_ids import derived_id
from shared.steps import AgentSnapshot, ConversationStep, RunRequested, Step, ToolCall, ToolSpec
from shared.subjects import RunKey


def run_here(bundle: Bundle, project: str, copy: int = 0) -> RunKey:
    """The run that the bundle becomes in a project; `copy`: the one after so many that were deleted."""
    source = RunKey(bundle.manifest.project, bundle.manifest.run_id)
    name = f"bundle:{project}:{bundle.sha256}:{copy}"
    return RunKey(project, derived_id(source.accepted_at, name))


def arrived(bundle: Bundle, steps: Sequence[Step], run: RunKey, *, trusted: bool) -> list[Step]:
    """The steps as the log here has them; `steps` are those of the bundle, large values in place."""
    first, *others = steps
    if not isinstance(first, RunRequested):
        raise BundleFault(f"{STEPS}, step 0", "a run begins with its request")
    said = [step for step in others if isinstance(step, ConversationStep)]
    copied: dict[str, JsonValue] = {
        str(step.seq): step.copied_from for step in said if step.copied_from is not None
    }
    origin = first.model_dump(mode="json", include=set(LEFT_BEHIND), exclude_none=True)
    mark: dict[str, JsonValue] = {
        "run_id": first.run_id,
        "project": first.project,
        "bundle": bundle.sha256,
        "signer": fingerprint(bundle.manifest.public_key),
        "trusted": trusted,
        **origin,
        **({"copied": copied} if copied else {}),
    }
    own = {"run_id": run.run_id, "project": run.project, "writer": WRITER}
    changes: dict[str, Any] = {
        **own,
        **dict.fromkeys(LEFT_BEHIND),
        "metadata": {**first.metadata, MARK: mark},
        "tools": _unreachable(first.tools),
        "agents": tuple(_with_unreachable_tools(agent) for agent in first.agents),
    }
    return [first.model_copy(update=changes), *(_taken(step, first.run_id, own) for step in others)]


def _taken(step: Step, source_id: str, own: dict[str, Any]) -> Step:
    changes = dict(own)
    if isinstance(step, ConversationStep) and step.copied_from is None:
        changes["copied_from"] = step.seq
    if isinstance(step, ToolCall):
        changes["idempotency_key"] = step.idempotency_key.replace(source_id, own["run_id"])
    return step.model_copy(update=changes)


def _unreachable(tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """Where a remote tool is and what it is sent is for this deployment to say."""
    return tuple(
        tool.model_copy(update={"settings": {}}) if tool.source in ("http", "mcp") else tool for tool in tools
    )


def _with_unreachable_tools(agent: AgentSnapshot) -> AgentSnapshot:
    return agent.model_copy(update={"tools": _unreachable(agent.tools)})
