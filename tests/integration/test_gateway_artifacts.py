"""Files that tools made, downloaded from the log and from the database, and only by their owner."""

import base64
import os
from collections.abc import AsyncIterator

import pytest

from services.gateway.examples import ANSWERS
from services.gateway.openapi.problem_examples import PROBLEMS
from shared.steps import Artifact, RunRequested, ToolResult
from shared.subjects import RunKey
from tests.support.fake_runner import Batches, FakeRunner, running_fake_runner, use_tool
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.waiting import eventually

SMALL = str(ANSWERS["artifact"].value).encode()
LARGE = os.urandom(1_500_000)


def artifact(name: str, content: bytes, media_type: str = "audio/mpeg", size: int | None = None) -> Artifact:
    data = base64.b64encode(content).decode()
    return Artifact(name=name, media_type=media_type, size=len(content) if size is None else size, data=data)


FILES = (
    artifact("note.txt", SMALL, "text/plain"),
    artifact("speech.mp3.1", LARGE),
    artifact("page.html", b"<script>", "text/html"),
    artifact("odd", b"x", "text/html\r\nX-Injected: 1"),
    artifact("damaged", b"x", size=2),
    artifact('a"b', b"never"),
)


def with_files(key: RunKey, request: RunRequested) -> Batches:
    return [
        [
            step.model_copy(update={"artifacts": FILES}) if isinstance(step, ToolResult) else step
            for step in batch
        ]
        for batch in use_tool(key, request)
    ]


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        serving.scripts["files"] = with_files
        yield serving


async def run_with_files(gateway: Gateway) -> str:
    answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "files please"})
    assert answer.status_code == 200, answer.text
    return f"/api/runs/{answer.json()['run_id']}"


async def check_files(gateway: Gateway, run: str) -> None:
    for name, content, media_type in (
        ("note.txt", SMALL, "text/plain; charset=utf-8"),
        ("speech.mp3.1", LARGE, "audio/mpeg"),
        ("page.html", b"<script>", "text/html; charset=utf-8"),
        ("odd", b"x", "application/octet-stream"),
    ):
        answer = await gateway.http.get(f"{run}/artifacts/{name}")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "x-injected" not in answer.headers


async def test_files_come_as_they_were_made_from_the_log_and_from_the_database(
    gateway: Gateway, runner: FakeRunner
) -> None:
    run = await run_with_files(gateway)
    await check_files(gateway, run)
    async with projecting(gateway.nats, gateway.database):

        async def is_recorded() -> bool:
            items = (await gateway.http.get("/api/runs")).json()["items"]
            return bool(items) and items[0]["step_count"] == 8

        await eventually(is_recorded)
        await check_files(gateway, run)


async def test_the_steps_name_the_files_of_a_run(gateway: Gateway, runner: FakeRunner) -> None:
    run = await run_with_files(gateway)
    steps = (await gateway.http.get(run)).json()["steps"]
    files = next(step["artifacts"] for step in steps if step["kind"] == "tool-result")
    assert [(each["name"], each["size"]) for each in files][:2] == [
        ("note.txt", len(SMALL)),
        ("speech.mp3.1", len(LARGE)),
    ]
    assert set(files[1]["data"]) == {"$body", "bytes"}


async def test_what_is_no_file_of_the_run_is_not_found(gateway: Gateway, runner: FakeRunner) -> None:
    run = await run_with_files(gateway)
    missing = await gateway.http.get(f"{run}/artifacts/speech.mp3")
    shown = PROBLEMS["no-such-artifact"].document.model_dump(mode="json", exclude_defaults=True)
    assert (missing.status_code, missing.json()) == (404, shown)
    for name in ("a%22b", "..%2Fnote.txt", "%00", "note.txt%0d%0aX-Injected:%201", "n" * 500):
        assert (await gateway.http.get(f"{run}/artifacts/{name}")).status_code == 404
    damaged = await gateway.http.get(f"{run}/artifacts/damaged")
    assert damaged.status_code == 404
    assert "is not whole" in damaged.json()["detail"]


async def test_another_project_has_none_of_the_files(gateway: Gateway, runner: FakeRunner) -> None:
    run = await run_with_files(gateway)
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    assert (await gateway.http.get(f"{run}/artifacts/note.txt", headers=stranger)).status_code == 404
