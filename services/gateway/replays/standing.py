"""What a project says by now of the tools that a replay may call: one that is off stays off."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.catalog import Catalog
from services.gateway.offers import Offered
from services.gateway.problems import invalid
from services.gateway.replays.policy import EVERY_OTHER
from shared.steps import Effect, ToolAnswer, ToolSpec

OF_CATALOG: Final = frozenset({"installed", "http", "mcp"})
RECORDED: Final = ToolAnswer()


@dataclass(frozen=True)
class Standing:
    """The policy with the tools that may not be called any more, and those that a person is asked about."""

    tools: dict[str, ToolAnswer]
    ask_about: tuple[str, ...]


async def standing(
    catalog: Catalog, project: str, specs: Iterable[ToolSpec], tools: Mapping[str, ToolAnswer]
) -> Standing:
    """Raises Problem (422) where a tool that is off, or gone, is to be called by its name or by `*`; where
    nobody asks for that, a miss is told to the model."""
    kept, ask_about = dict(tools), set[str]()
    for spec in {spec.name: spec for spec in specs if spec.source in OF_CATALOG}.values():
        offered = await catalog.tool(project, spec.name)
        state = _fault(spec, offered)
        if state is None:
            ask_about |= {spec.name} if offered is not None and offered.tool.spec.needs_approval else set()
            continue
        said = next((each for each in (spec.name, EVERY_OTHER) if each in tools), None)
        answer = tools[said] if said is not None else RECORDED
        if said is not None and (answer.answer == "live" or (said != EVERY_OTHER and _is_live(answer))):
            raise invalid(f"tools.{said}", f"the tool {spec.name!r} is {state}; no replay can call it")
        if said is None or _is_live(answer):
            on_miss = "error" if said is not None or spec.effect is Effect.PURE else "fail"
            kept[spec.name] = answer.model_copy(update={"on_miss": on_miss})
    return Standing(kept, tuple(sorted(ask_about)))


def _fault(spec: ToolSpec, offered: Offered | None) -> str | None:
    """Why the tool may not be called as it is recorded; None: it may."""
    if offered is None:
        return "not there any more"
    if not offered.enabled:
        return "switched off in this project"
    if (spec.source, spec.settings) != (offered.tool.spec.source, offered.tool.spec.settings):
        return "another one by now; name it in changes.tools to have it as it is"
    return None


def _is_live(answer: ToolAnswer) -> bool:
    return answer.answer == "live" or (answer.answer == "recorded" and answer.on_miss == "live")
