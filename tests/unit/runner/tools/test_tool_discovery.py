"""Finding tools: a dropped file and an installed package are enough, and a broken one stops the start."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runner import tools
from services.runner.tools.base import ToolContext
from services.runner.tools.discovery import ToolDiscoveryError
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings

SOURCE = '''
from pydantic import BaseModel
from services.runner.tools.base import BaseTool, ToolParameters
from shared.steps import Effect

class Nothing(ToolParameters):
    """No arguments."""

class {cls}(BaseTool[Nothing]):
    name = "{name}"
    display_name = "Shout"
    description = "Says something loud."
    icon = "IconVolume"
    effect = Effect.PURE
    Parameters = Nothing
    {more}

    async def execute(self, arguments, context):
        return "LOUD"
'''


def source(name: str = "shout", cls: str = "Shout", more: str = "pass") -> str:
    return SOURCE.format(name=name, cls=cls, more=more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files count as files of the tools' folder."""
    monkeypatch.setattr(tools, "__path__", [*tools.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop(f"{tools.__name__}.shout", None)


def discover() -> ToolRegistry:
    return ToolRegistry.discover(ToolSettings())


def install(monkeypatch: pytest.MonkeyPatch, site: Path, code: str, entry: str = "shouting:Shout") -> None:
    """Lay a package out as an installer does."""
    (site / "shouting.py").write_text(code)
    info = site / "shouting_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[agentops_studio.tools]\nshout = {entry}\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "shouting", raising=False)


async def test_a_file_dropped_into_the_folder_is_a_tool(folder: Path, context: ToolContext) -> None:
    (folder / "shout.py").write_text(source())
    registry = discover()
    assert "shout" in registry.names()
    assert (await registry.call("shout", {}, context)).result == "LOUD"


async def test_an_installed_package_brings_its_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: ToolContext
) -> None:
    install(monkeypatch, tmp_path, source())
    registry = discover()
    assert (await registry.call("shout", {}, context)).result == "LOUD"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", "file shout.py cannot be imported: ModuleNotFoundError"),
        ("raise SystemError('no')", "file shout.py cannot be imported: SystemError: no"),
        ("x = 1", "has no tool: define a subclass of BaseTool"),
        (source(name="calculator"), "Two tools are named 'calculator'"),
        (source(name="not a name"), "`name` must be 1 to 64 letters"),
        (source(more="effect = 'pure'"), "`effect` must be Effect.PURE"),
        (source(more="icon = ''"), "`icon` must be a text"),
        (source(more="timeout_s = 0"), "must be positive"),
        (source(more="Parameters = dict"), "`Parameters` must be a pydantic model"),
        (source(more="Parameters = BaseModel"), "`Parameters` must refuse unknown arguments"),
        (source().replace("async def", "def"), "it needs `async def execute"),
        (source(more="__init__ = lambda self, needed: None"), "cannot be made: TypeError"),
    ],
)
def test_a_broken_file_stops_the_start_and_is_named(folder: Path, code: str, words: str) -> None:
    (folder / "shout.py").write_text(code)
    with pytest.raises(ToolDiscoveryError) as error:
        discover()
    assert words in str(error.value)
    assert "shout.py" in str(error.value)


@pytest.mark.parametrize(
    ("code", "entry", "words"),
    [
        ("import no_such_module", "shouting:Shout", "cannot be loaded: ModuleNotFoundError"),
        (source(), "shouting:Whisper", "cannot be loaded: AttributeError"),
        (source(), "shouting", "is not a subclass of BaseTool"),
        (source(), "shouting:Nothing", "is not a subclass of BaseTool"),
        (source(name="file_io"), "shouting:Shout", "Two tools are named 'file_io'"),
        (
            source().replace("async def execute", "async def run"),
            "shouting:Shout",
            "it needs `async def execute",
        ),
    ],
)
def test_a_broken_package_stops_the_start_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, entry: str, words: str
) -> None:
    install(monkeypatch, tmp_path, code, entry)
    with pytest.raises(ToolDiscoveryError) as error:
        discover()
    assert words in str(error.value)
    assert "shouting-tools" in str(error.value)


def test_a_file_may_hold_several_tools_and_helpers(folder: Path) -> None:
    (folder / "shout.py").write_text(source() + source(name="shout_more", cls="ShoutMore"))
    assert {"shout", "shout_more"} <= set(discover().names())
