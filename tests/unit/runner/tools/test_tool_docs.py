"""The tool in docs/tools.md works as it stands there, and the page has every built-in tool."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from services.runner.tools import discovery
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings

PAGE = Path(__file__).parents[4] / "docs" / "tools.md"
CONTEXT = ToolContext("default", "run", None, "call", "key")


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The tool and the test of the page, as a module."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    module = ModuleType("word_count")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.__dict__["ToolRegistry"] = ToolRegistry
    for block in blocks:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


async def test_the_tool_of_the_page_can_be_used_and_its_test_passes(examples: dict[str, object]) -> None:
    tool_class, its_test = examples["WordCount"], examples["test_words_are_counted"]
    assert isinstance(tool_class, type)
    assert callable(its_test)
    discovery._check("docs/tools.md", tool_class)
    await its_test()
    outcome = await ToolRegistry({"word_count": tool_class()}).call("word_count", {"text": " "}, CONTEXT)
    assert (outcome.status, outcome.result) == ("error", "The text is empty; give one with words in it.")


def test_the_page_has_every_built_in_tool_with_its_effect() -> None:
    row = re.compile(r"^\| `(\w+)` \| (pure|idempotent|irreversible) \|", re.MULTILINE)
    rows = dict(row.findall(PAGE.read_text()))
    tools = ToolRegistry.discover(ToolSettings()).catalog()
    assert rows == {str(tool["name"]): str(tool["effect"]) for tool in tools}
