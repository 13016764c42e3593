"""What a project says by now of the tools that a replay may call: one that is off stays off."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.catalog import Catalog
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
    effects = {spec.name: spec.effect for spec in specs if spec.source in OF_CATALOG}
    for name, effect in sorted(effects.items()):
        offered = await catalog.tool(project, name)
        if offered is not None and offered.enabled:
            ask_about |= {name} if offered.tool.spec.needs_approval else set()
            continue
        said = next((each for each in (name, EVERY_OTHER) if each in tools), None)
        answer = tools[said] if said is not None else RECORDED
        if said is not None and (answer.answer == "live" or (said == name and _is_live_on_miss(answer))):
            state = "switched off in this project" if offered is not None else "not there any more"
            raise invalid(f"tools.{said}", f"the tool {name!r} is {state}; no replay can call it")
        if _is_live_on_miss(answer) and (said is not None or effect is Effect.PURE):
            kept[name] = answer.model_copy(update={"on_miss": "error"})
    return Standing(kept, tuple(sorted(ask_about)))


def _is_live_on_miss(answer: ToolAnswer) -> bool:
    return answer.answer == "recorded" and answer.on_miss == "live"
