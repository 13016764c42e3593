"""Who gets in: keys, their command, scopes, tickets; and what happens while the database is away."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.gateway.credentials import mint
from services.gateway.store import KeyRow, add_key
from shared.database import Database
from tests.support.fake_runner import running_fake_runner
from tests.support.gateway import PEPPER, Gateway, running_gateway
from tests.support.migrations import ROOT
from tests.support.proxy import proxied


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


def run_keys(database_url: str, key_file: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a deployment runs it."""
    command = [sys.executable, "-m", "services.gateway.keys", "--project", "default", "--name", "embedded"]
    given = {"DATABASE_URL": database_url, "API_KEY_PEPPER": PEPPER, **environ}
    return subprocess.run(
        [*command, "--key-file", str(key_file)],
        env={**os.environ, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def test_a_key_is_taken_from_either_header(gateway: Gateway) -> None:
    gateway.http.headers.pop("authorization")
    for header in ({"Authorization": f"Bearer {gateway.key}"}, {"X-API-Key": gateway.key}):
        assert (await gateway.http.get("/api/runs", headers=header)).status_code == 200


WITHOUT_KEY: list[tuple[dict[str, str], str]] = [
    ({}, "carries no API key"),
    ({"Authorization": "Basic dXNlcjpwYXNz"}, "does not begin with 'Bearer '"),
    ({"Authorization": "Bearer nonsense"}, "does not have the form"),
    ({"X-API-Key": mint().text}, "not known here"),
]


async def test_without_a_good_key_nobody_gets_in(gateway: Gateway, subtests: pytest.Subtests) -> None:
    gateway.http.headers.pop("authorization")
    for headers, detail in WITHOUT_KEY:
        for method, path in [
            ("GET", "/api/runs"),
            ("POST", "/api/runs"),
            ("POST", "/run"),
            ("GET", "/api/tools"),
        ]:
            with subtests.test(detail=detail, path=path):
                answer = await gateway.http.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert detail in answer.json()["detail"]


async def test_the_operations_need_no_key_and_tell_nothing(gateway: Gateway) -> None:
    gateway.http.headers.pop("authorization")
    assert (await gateway.http.get("/health/live")).status_code == 200
    assert (await gateway.http.get("/health/ready")).json() == {"broker": "ok"}
    metrics = (await gateway.http.get("/metrics")).text
    assert "studio_http_requests_total" in metrics
    assert gateway.key not in metrics


async def test_a_key_that_may_only_read_starts_nothing(gateway: Gateway) -> None:
    credential = mint()
    row = KeyRow(
        credential.id, "default", "dashboard", credential.digest(PEPPER), frozenset({"read"}), None, None
    )
    async with gateway.database.transaction() as connection:
        await add_key(connection, row)
    headers = {"Authorization": f"Bearer {credential.text}"}
    assert (await gateway.http.get("/api/runs", headers=headers)).status_code == 200
    answer = await gateway.http.post("/api/runs", json={"prompt": "hi"}, headers=headers)
    assert answer.status_code == 403
    assert "no scope 'write'" in answer.json()["detail"]


async def test_runs_go_on_without_the_database_for_who_is_known(nats_url: str, database_url: str) -> None:
    real = database_url.rpartition(":")
    _, _, name = real[2].partition("/")
    async with proxied(database_url) as proxy:
        away = f"{real[0]}:{proxy.port}/{name}"
        async with running_gateway(nats_url, away) as gateway, running_fake_runner(gateway.nats):
            stranger = await gateway.key_for("other")
            assert (await gateway.http.get("/api/runs")).status_code == 200
            proxy.target = 1  # nobody listens there
            proxy.cut()
            answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "hi"})
            assert answer.json()["response"] == "echo: hi"
            run_id = answer.json()["run_id"]
            assert (await gateway.http.get(f"/api/runs/{run_id}")).json()["status"] == "completed"
            assert "event: end" in (await gateway.http.get(f"/api/runs/{run_id}/events")).text
            simple = (await gateway.http.post("/run", json={"prompt": "hi"})).json()
            assert (simple["response"], simple["total_cost"]) == ("echo: hi", None)
            for refused in (
                await gateway.http.get("/api/runs"),
                await gateway.http.get("/api/tools", headers={"Authorization": f"Bearer {stranger}"}),
            ):
                assert refused.status_code == 503
                assert int(refused.headers["retry-after"]) >= 1
                assert "the database" in refused.json()["detail"]
                assert "127.0.0.1" not in refused.text


async def test_the_command_makes_a_key_that_works_and_leaves_it_alone(
    gateway: Gateway, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "state" / "key"
    first = run_keys(database_url, file)
    assert (first.returncode, first.stderr) == (0, "")
    key = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in first.stdout
    answer = await gateway.http.get("/api/runs", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    assert run_keys(database_url, file).returncode == 0
    assert file.read_text().strip() == key


async def test_the_command_replaces_a_file_without_a_key_that_works(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    for held in ("", "nonsense", mint().text):
        file.write_text(held)
        assert run_keys(database_url, file).returncode == 0
        assert file.read_text().strip() != held
    before = file.read_text()
    assert run_keys(database_url, file, API_KEY_PEPPER="another pepper entirely").returncode == 0
    assert file.read_text() != before
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM api_keys") == 4


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    done = run_keys("", tmp_path / "key", API_KEY_PEPPER="short")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "API_KEY_PEPPER" in done.stderr
    assert "short" not in done.stderr
    assert not (tmp_path / "key").exists()


def test_the_command_does_not_wait_for_a_database_that_is_away(tmp_path: Path) -> None:
    done = run_keys("postgresql://nobody@127.0.0.1:1/none", tmp_path / "key")
    assert done.returncode == 1
    assert "no key was made" in done.stderr
