"""Questions about models on the Hugging Face Hub, answered with `hf_list_models`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.simulator.planner.offer import OfferedTool, find
from services.simulator.planner.results import read_names
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step
from services.simulator.sampling import Sampler

DEFAULT_QUERY = "mistral"
DEFAULT_LIMIT = 5
MAX_LIMIT = 50
_LIMIT_NAMES = ("limit", "top", "count", "max_results", "n")
_HUB = re.compile(r"\b(?:hugging ?face|hf|the hub)\b", re.IGNORECASE)
_MODELS = re.compile(r"\bmodels?\b", re.IGNORECASE)
_ASKS = re.compile(r"\b(?:list|find|search|show|which|what|look up|recommend|give me)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\b(\d{1,3})\b(?=[^.?!\n]{0,40}\bmodels?\b)|\btop[- ](\d{1,3})\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"'`]([^\"'`\n]{1,100})[\"'`]")
_TOPIC = re.compile(
    r"\bmodels?\b[^.?!\n]{0,40}?\b(?:for|about|named|called|matching|like|related to|with)\s+"
    r"(?P<topic>[^.?!,;\n]{1,80})",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"(?P<topic>[\w./-]+(?: [\w./-]+)?)\s+models?\b", re.IGNORECASE)
_NOISE_WORDS = (
    "on from in at the a an hugging face huggingface hf hub please list find search show which what me top "
    "some few best most popular downloaded new newest are is give any all of for available there then and "
    "use tool tools your"
)
_NOISE = re.compile(rf"\b(?:{_NOISE_WORDS.replace(' ', '|')}|\d+)\b", re.IGNORECASE)


@dataclass(frozen=True)
class HubStep(Step):
    query: str
    limit: int
    tool: OfferedTool

    def call(self, results: Mapping[int, str]) -> PlannedCall:
        arguments: dict[str, Any] = {}
        if query := self.tool.slot("query", "search", "q", "text", "filter"):
            arguments[query] = self.query
        if limit := self.tool.slot(*_LIMIT_NAMES):
            arguments[limit] = self.limit
        saying = f'look for {self.limit} models about "{self.query}" on the Hub'
        return PlannedCall(self.tool.name, arguments, saying)


@dataclass(frozen=True)
class HubTask:
    """One search; without a tool for it there are no steps and the answer says so."""

    steps: tuple[HubStep, ...]

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        if not self.steps:
            return "I have no tool to search the Hub here, so I cannot list its models."
        outcome, step = outcomes.get(0), self.steps[0]
        if isinstance(outcome, Failure):
            return f"I could not search the Hub: {outcome.reason.rstrip('.')}."
        names = read_names(outcome.text, step.limit) if outcome is not None else []
        if not names:
            return f'I found no models about "{step.query}" on the Hub.'
        return f'I found {len(names)} models about "{step.query}" on the Hub: {", ".join(names)}.'


def recognise(text: str, tools: Sequence[OfferedTool]) -> tuple[HubTask | None, str]:
    """The search on the Hub that a text asks for, and the rest of the text (nothing, if it does)."""
    tool = find(tools, "hf_list_models", "list_models", "search_models")
    meant = _HUB.search(text) or (tool is not None and _ASKS.search(text))
    if not _MODELS.search(text) or not meant:
        return None, text
    steps = (HubStep(_query(text) or DEFAULT_QUERY, _limit(text, tool), tool),) if tool is not None else ()
    return HubTask(steps), ""


def _query(text: str) -> str:
    quoted = _QUOTED.search(text)
    if quoted is not None:
        return quoted[1].strip()
    for pattern in (_TOPIC, _BEFORE):
        for match in pattern.finditer(text):
            if topic := " ".join(_NOISE.sub(" ", match["topic"]).split()):
                return topic
    return ""


def _limit(text: str, tool: OfferedTool) -> int:
    """How many models are asked for, within what the tool's schema allows."""
    found = _LIMIT.search(text)
    wanted = int(found[1] or found[2]) if found else DEFAULT_LIMIT
    slot = tool.slot(*_LIMIT_NAMES)
    largest = tool.properties()[slot].get("maximum") if slot else None
    return max(1, min(wanted, largest if isinstance(largest, int) else MAX_LIMIT))
