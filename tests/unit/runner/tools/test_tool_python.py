"""python in its sandbox: what comes back, what is refused, and what an attacker gets out of it: nothing."""

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest
from pydantic import JsonValue

from services.runner.tools.base import ToolContext
from services.runner.tools.process import script
from services.runner.tools.python import PROGRAM, Python
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from tests.support.waiting import eventually

MIB = 1024 * 1024
ROOT = Path(__file__).parents[4]
CONTEXT = ToolContext("default", "run", None, "call", "key")


async def run(code: str, *, time_s: float = 1.0, memory: int = 32 * MIB) -> ToolOutcome:
    return await ToolRegistry({"python": Python(time_s, memory)}).call("python", {"code": code}, CONTEXT)


async def refusal(code: str) -> str:
    outcome = await run(code)
    assert outcome.status == "error", outcome.result
    return str(outcome.result)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("1 + 1", {"result": "2"}),
        ('print("hi")\n[1, "two", None]', {"stdout": "hi\n", "result": "[1, 'two', None]"}),
        ("x = 5", {}),
        ("import math\nmath.sqrt(2)", {"result": "1.4142135623730951"}),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(15)", {"result": "610"}),
        ('print("\\ud800", "é")', {"stdout": "\N{REPLACEMENT CHARACTER} é\n"}),
        ("import time\ntime.sleep(1000)\n'slept'", {"result": "'slept'"}),
    ],
)
async def test_what_was_printed_and_the_last_value_come_back(code: str, result: dict[str, str]) -> None:
    outcome = await run(code)
    assert (outcome.status, outcome.result) == ("ok", result)


async def test_an_error_names_type_message_line_and_what_was_printed_before() -> None:
    told = await refusal('print("so far")\nx = 1\nx / 0')
    assert told == "ZeroDivisionError: division by zero\nline 3: x / 0\nprinted before: so far\n"
    assert await refusal("1 +") == "SyntaxError: Expected an expression\nline 1: 1 +"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('open("/etc/passwd").read()', "PermissionError"),
        ('from pathlib import Path\nPath("/etc/passwd").read_text()', "PermissionError"),
        ('open("/tmp/left-behind", "w").write("x")', "PermissionError"),
        ('import os\nos.listdir("/")', "PermissionError"),
        ("import os\nos.environ", "not supported"),
        ("import os\nos.system('id')", "AttributeError"),
        ("import socket", "ModuleNotFoundError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("import ctypes", "ModuleNotFoundError"),
        ("__import__('os')", "NameError"),
        ("().__class__.__base__.__subclasses__()", "AttributeError"),
        ("(lambda: 0).__globals__", "AttributeError"),
        ("print.__self__", "AttributeError"),
    ],
)
async def test_there_is_no_way_to_files_network_or_the_host(code: str, words: str) -> None:
    assert words in await refusal(code)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while True:\n    pass", "TimeoutError"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "TimeoutError"),
        ("kept = []\nwhile True:\n    kept.append('x' * 100_000)", "MemoryError"),
        ("'x' * 10**12", "MemoryError"),
        ("def f():\n    return f()\nf()", "RecursionError"),
        ("(" * 30_000, "nested"),
        ("x = []\nfor _ in range(40):\n    x = [x, x]\nrepr(x)", "MemoryError"),
        ("2 ** 100_000", "cannot be shown"),
    ],
)
async def test_time_memory_and_depth_are_bounded(code: str, words: str) -> None:
    assert words in await refusal(code)


async def test_a_value_that_unfolds_for_ever_neither_stops_the_runner_nor_fills_its_memory() -> None:
    """Forty lists, each twice the one before: small in the sandbox, and outside it 2^40."""
    before, longest = psutil.Process().memory_info().rss, 0.0
    bomb = asyncio.create_task(run("x = []\nfor _ in range(40):\n    x = [x, x]\nx"))
    loop = asyncio.get_running_loop()
    while not bomb.done():
        started = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - started)
    told = str((await bomb).result)  # memory or time, whichever ends first
    assert "took more memory or time than allowed" in told or "the last value cannot be shown" in told
    assert longest < 2.0
    assert psutil.Process().memory_info().rss - before < 100 * MIB


async def test_long_output_is_cut_and_marked_and_the_program_goes_on() -> None:
    outcome = await run("for n in range(50_000):\n    print(n)\n'end'", time_s=5)
    assert isinstance(outcome.result, dict)
    assert outcome.result["result"] == "'end'"
    assert str(outcome.result["stdout"]).endswith("\n[cut: 288890 characters were printed]")
    value = await run("'y' * 100_000")
    assert isinstance(value.result, dict)
    assert str(value.result["result"]).endswith("\n[cut: 100002 characters]")


async def test_the_program_sees_nothing_of_the_call_before_nor_of_the_runners_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run("secret = 1")
    assert "NameError" in await refusal("secret")
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "hunter2")
    teller = tmp_path / "teller.py"
    teller.write_text("import os, json\nprint(json.dumps(dict(os.environ)))")
    assert await script.ask(teller, None, {"GIVEN": "1"}) == {"LANG": "C.UTF-8", "GIVEN": "1", **_own()}


def _own() -> dict[str, str]:
    """What the interpreter itself sets."""
    return {"LC_CTYPE": "C.UTF-8"} if "LC_CTYPE" in os.environ else {}


async def test_a_cancelled_call_leaves_no_process_behind() -> None:
    request: JsonValue = {"code": "while True:\n    pass", "time_s": 60.0, "memory": 32 * MIB}
    call = asyncio.create_task(script.ask(PROGRAM, request, {}))
    working = await eventually(lambda: [p for p in psutil.Process().children(recursive=True) if _runs(p)])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not any(_runs(process) for process in working))


async def test_when_the_runner_is_killed_its_programs_end_too(tmp_path: Path) -> None:
    """A process that asks for a program without end, and is killed while it waits."""
    asker = (
        "import asyncio\nfrom services.runner.tools.process.script import ask\n"
        "from services.runner.tools.python import PROGRAM\n"
        "request = {'code': 'while True: pass', 'time_s': 25.0, 'memory': 10**8}\n"
        "asyncio.run(ask(PROGRAM, request, {}))\n"
    )
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", asker, cwd=ROOT)
    try:
        of_it = psutil.Process(runner.pid)
        await eventually(lambda: any(_runs(each) for each in of_it.children(recursive=True)))
        started = of_it.children(recursive=True)
    finally:
        runner.kill()
        await runner.wait()
    await eventually(lambda: not any(_is_there(process) for process in started))


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    return _is_there(process) and "monty" in process.name()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "without an answer"),
        ("print('no json')", "without an answer"),
        ("print('[1]')", "not a JSON object"),
        ("print('x' * 1_000_000)", "more than"),
        ("import os; os.kill(os.getpid(), 9)", "without an answer"),
    ],
)
async def test_a_script_that_does_not_answer_as_it_should_is_told(
    tmp_path: Path, source: str, words: str
) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(source)
    with pytest.raises(script.ScriptFailed, match=words):
        await script.ask(wrong, "x" * 1_000_000, {})
