"""Every setting, metric, kind of step and subject of the code is in the documentation, and no other."""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydantic_settings import BaseSettings

import services
import shared
from services.gateway.problems import Kind
from shared.bus import BusSettings, buckets, durables, streams
from shared.steps import STEP_KINDS

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    for package in (shared, services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    documented = set(re.findall(r"`(studio_\w+)`", (DOCS / "operations.md").read_text()))
    assert documented == {name for name in _metrics() if name.startswith("studio_")}


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    table = (DOCS / "operations.md").read_text().split("## Settings")[1].split("## Metrics")[0]
    documented = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([A-Z][A-Z_]+)`", line.split("|")[1])
    }
    assert documented == {
        name.upper()
        for settings in _subclasses(BaseSettings)
        if settings.__module__.startswith(("shared.", "services."))
        for name in settings.model_fields
    }


def test_every_kind_of_problem_is_in_the_error_table_with_its_status() -> None:
    table = (DOCS / "api.md").read_text().split("**Errors**")[1].split("Nothing is half accepted")[0]
    rows = [line.split("|") for line in table.splitlines() if re.match(r"\| \d{3} \|", line)]
    documented = {(int(row[1]), kind) for row in rows for kind in re.findall(r"`([a-z-]+)`", row[2])}
    modules = [module for name, module in sys.modules.items() if name.startswith("services.gateway.")]
    kinds = {each for module in modules for each in vars(module).values() if isinstance(each, Kind)}
    assert documented == {(kind.status, kind.name) for kind in kinds}


def test_every_kind_of_step_is_in_the_event_table() -> None:
    table = (DOCS / "architecture.md").read_text().split("## Steps")[1].split("## Subjects")[0]
    assert set(re.findall(r"`((?:\w+-)+\w+)`", table)) >= set(STEP_KINDS)


def test_every_subject_of_the_bus_is_documented() -> None:
    text = (DOCS / "architecture.md").read_text()
    subjects = [s for config in streams(BusSettings()) for s in config.subjects or []]
    for subject in subjects:
        assert f"`{subject.removesuffix('>')}" in text, subject
    for durable in durables(BusSettings()):
        assert f"`{durable.name}`" in text
    for bucket in buckets(BusSettings()):
        assert f"`$KV.{bucket.bucket}." in text


def _metrics() -> Iterator[str]:
    for collector in list(REGISTRY._collector_to_names):
        for metric in collector.collect():
            suffix = "_total" if metric.type == "counter" else ""
            yield f"{metric.name}{suffix}"


def _subclasses(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
