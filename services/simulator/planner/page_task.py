"""Questions about pages on the web: each URL in the question is fetched with `http_fetch`."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.simulator.planner.offer import OfferedTool, find
from services.simulator.planner.results import read_field, read_text
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step
from services.simulator.sampling import Sampler

MAX_PAGES = 5
MAX_QUOTE = 400
_URL = re.compile(r"https?://[^\s<>\"'`\])}]+", re.IGNORECASE)
_DOMAIN = re.compile(
    r"\b(?:fetch|open|visit|get|load|read|look at|go to|browse)\s+(?:the\s+)?(?:page|site|website|url)?\s*"
    r"(?P<host>(?:[a-z0-9-]+\.)+(?:com|org|net|io|ai|dev|fr|de|eu|co|gov|edu)(?:/[^\s<>\"']*)?)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class PageStep(Step):
    url: str
    tool: OfferedTool

    def call(self, results: Mapping[int, str]) -> PlannedCall:
        slot = self.tool.slot("url", "uri", "link", "href", "address") or "url"
        arguments: dict[str, Any] = {slot: self.url}
        if method := self.tool.slot("method") if "method" in self.tool.required() else None:
            arguments[method] = "GET"
        return PlannedCall(self.tool.name, arguments, f"fetch {self.url}")


@dataclass(frozen=True)
class PageTask:
    """The pages to fetch; without a tool for it there are no steps and the answer says so."""

    urls: tuple[str, ...]
    steps: tuple[PageStep, ...]

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        if not self.steps:
            return f"I have no tool to fetch pages here, so I cannot look at {self.urls[0]}."
        return " ".join(self._sentence(index, outcome) for index, outcome in sorted(outcomes.items()))

    def _sentence(self, index: int, outcome: Outcome) -> str:
        url = self.steps[index].url
        if isinstance(outcome, Failure):
            return f"I could not fetch {url}: {outcome.reason.rstrip('.')}."
        page = read_text(outcome.text)
        words = " ".join(html.unescape(_TAG.sub(" ", page)).split())[:MAX_QUOTE]
        title, status = _title(outcome.text, page), read_field(outcome.text, "status") or ""
        subject = f'The page {url}, titled "{title}",' if title else f"The page {url}"
        if status.startswith(("4", "5")):
            return f"{subject} answers with HTTP status {status}."
        return f"{subject} says: {words}" if words else f"{subject} is empty."


def _title(answer: str, page: str) -> str:
    """The title as the tool tells it, or as the page's markup does."""
    found = _TITLE.search(page)
    return read_field(answer, "title") or (html.unescape(found[1]).strip() if found else "")


def recognise(text: str, tools: Sequence[OfferedTool]) -> tuple[PageTask | None, str]:
    """The pages a text asks about, and the rest of the text."""
    urls = [match.group().rstrip(".,;:!?") for match in _URL.finditer(text)]
    urls += [f"https://{match['host'].rstrip('.,;:!?')}" for match in _DOMAIN.finditer(text)]
    if not urls:
        return None, text
    rest = _DOMAIN.sub(" ; ", _URL.sub(" ; ", text))
    wanted = tuple(dict.fromkeys(urls))[:MAX_PAGES]
    tool = find(tools, "http_fetch", "fetch", "http_get", "browse", "web_fetch")
    steps = tuple(PageStep(url, tool) for url in wanted) if tool is not None else ()
    return PageTask(wanted, steps), rest
