"""docker-compose.yml describes the processes that `studio up` starts, with the same commands and settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.stack.processes import COMMON, TABLE, Service, SetupStep

ROOT = Path(__file__).parents[3]
SERVERS = {"nats", "postgres", "prometheus"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_the_containers_are_the_processes_of_the_stack_and_the_servers(compose: dict[str, Any]) -> None:
    processes = {name for name, _ in _processes()}
    assert set(compose["services"]) == processes | SERVERS


@pytest.mark.parametrize("service", TABLE.services, ids=lambda service: service.name)
def test_a_service_has_the_command_and_settings_of_the_stack(
    compose: dict[str, Any], service: Service
) -> None:
    container = compose["services"][service.name]
    assert container["command"] == ["python", "-m", *service.command("0.0.0.0", service.port)]
    _assert_settings(container, service.needs, service.takes)


@pytest.mark.parametrize("step", TABLE.steps, ids=lambda step: step.name)
def test_a_setup_step_has_the_command_and_settings_of_the_stack(
    compose: dict[str, Any], step: SetupStep
) -> None:
    container = compose["services"][step.name]
    command = [part.replace("{key_file}", "/keys/api-key") for part in step.command]
    assert container["command"] == ["python", "-m", *command]
    _assert_settings(container, step.needs, step.takes)


def test_everything_starts_after_what_it_needs(compose: dict[str, Any]) -> None:
    for name, after in _processes():
        assert set(compose["services"][name].get("depends_on", {})) == set(after), name


def test_every_service_is_scraped() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert set(targets) == {f"{service.name}:{service.port}" for service in TABLE.services}


def test_the_broker_runs_the_configuration_of_the_stack(compose: dict[str, Any]) -> None:
    nats = compose["services"]["nats"]
    text = (ROOT / "deploy/nats/nats-server.conf").read_text()
    wanted = {word.strip("$") for word in text.split() if word.startswith("$")}
    assert set(nats["environment"]) == wanted
    assert "sync_interval: always" in text


def test_the_image_holds_what_the_commands_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for folder in ("shared", "services", "studio", "deploy/migrations", "alembic.ini"):
        assert folder in dockerfile


def _processes() -> list[tuple[str, tuple[str, ...]]]:
    """Name and what must be ready before, of every process of the table."""
    steps = [(step.name, step.after) for step in TABLE.steps]
    return steps + [(service.name, service.after) for service in TABLE.services]


def _assert_settings(container: dict[str, Any], needs: tuple[str, ...], takes: tuple[str, ...]) -> None:
    given = set(container.get("environment", {}))
    assert set(needs) <= given
    unknown = {name for name in given - set(needs) if not _taken(name, (*takes, *COMMON))}
    assert not unknown


def _taken(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])) for pattern in patterns
    )
