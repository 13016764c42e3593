"""The `studio` command in this process, talking to a gateway that runs in the test's loop."""

import asyncio
import json
from typing import Any

from typer.testing import CliRunner, Result

from studio.cli import app
from tests.support.gateway import Gateway


class Command:
    """`await command("tools", "off", "calculator")`."""

    def __init__(self, gateway: Gateway) -> None:
        self._environ = {"STUDIO_URL": gateway.url, "STUDIO_API_KEY": gateway.key, "COLUMNS": "200"}

    async def __call__(self, *arguments: str, given: str | None = None, code: int = 0) -> Result:
        runner = CliRunner()
        result = await asyncio.to_thread(
            runner.invoke, app, arguments, input=given, env=self._environ, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    async def json(self, *arguments: str) -> list[Any]:
        """What it prints with --json, line by line."""
        return [json.loads(line) for line in (await self(*arguments, "--json")).stdout.splitlines()]

    async def refused(self, *arguments: str, given: str | None = None) -> str:
        """What it says when it cannot be done, in one line."""
        result = await self(*arguments, given=given, code=1)
        assert result.stdout == ""
        return " ".join(result.stderr.split())
