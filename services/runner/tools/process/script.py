"""One call of a Python script: a line of JSON in by its standard input, JSON out by its standard output.

The script gets nothing of the runner's environment. It and all that it started die with the call. It must
end as well when its standard input does, for then the runner is dead, and the run goes on elsewhere.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.runner.tools.base import KIB

MOST_BYTES: Final = 256 * KIB
LAST_WORDS_S: Final = 0.5


class ScriptFailed(Exception):
    """The script gave no answer, or none that can be read."""


async def ask(script: Path, request: JsonValue, environment: Mapping[str, str]) -> dict[str, JsonValue]:
    """The script's answer. Raises ScriptFailed; the caller bounds the time by cancelling."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(script),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={"LANG": "C.UTF-8", **environment},
        start_new_session=True,
    )
    try:
        return _answer(await _exchange(process, json.dumps(request).encode()))
    finally:
        await _end(process)


async def _exchange(process: Process, request: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise ScriptFailed("the script has no pipes")
    # At the same time: a script that speaks before it has read all must not wait for us, nor we for it.
    telling = asyncio.create_task(_tell(process.stdin, request))
    try:
        return await _heard(process.stdout)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(stdin: asyncio.StreamWriter, request: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it ended without reading; what it said tells more
        stdin.write(request + b"\n")
        await stdin.drain()


async def _heard(stdout: asyncio.StreamReader) -> bytes:
    said = bytearray()
    while part := await stdout.read(64 * KIB):
        said += part
        if len(said) > MOST_BYTES:
            raise ScriptFailed(f"the script said more than {MOST_BYTES} bytes")
    return bytes(said)


def _answer(said: bytes) -> dict[str, JsonValue]:
    try:
        answer = json.loads(said)
    except ValueError:
        raise ScriptFailed("the script ended without an answer") from None
    if not isinstance(answer, dict):
        raise ScriptFailed("the script's answer is not a JSON object")
    return answer


async def _end(process: Process) -> None:
    """Kill what is left of it, with its children.

    The event loop knows of its end only once the pipe is read to the end, for which a bound stands, as a
    grandchild that is slow to leave may hold it.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            while process.stdout is not None and await process.stdout.read(64 * KIB):
                pass
            await process.wait()
