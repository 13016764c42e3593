"""The API against its own description: every documented request in many shapes, and what comes back."""

import asyncio
import os
import sys
from pathlib import Path

from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import projecting, running_gateway
from tests.support.migrations import ROOT
from tests.support.replayer import replayers

HOOKS = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}


async def test_no_request_of_the_description_gets_an_answer_that_is_not_in_it(
    nats_url: str, database_url: str, tmp_path: Path
) -> None:
    async with (
        running_gateway(nats_url, database_url) as gateway,
        running_fake_runner(gateway.nats),
        replayers(nats_url, database_url),
        projecting(gateway.nats, gateway.database),
    ):
        arguments = (
            *(
                "--checks",
                "all",
                "--exclude-checks",
                "positive_data_acceptance",
                "--phases",
                "examples,coverage,fuzzing",
            ),
            *("--max-examples", "15", "--max-time", "15", "--seed", "1", "--generation-deterministic"),
            *("--request-timeout", "10", "--no-color", "--no-shrink", "--continue-on-failure"),
            *("--header", f"Authorization: Bearer {gateway.key}"),
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/openapi.json", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, **HOOKS},
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 100)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, output.decode()[-8000:]
