"""The table of processes knows every setting of every service, and the checks know every stream."""

import importlib
import importlib.util
import inspect
import pkgutil
from fnmatch import fnmatchcase

import pytest
from pydantic_settings import BaseSettings

from shared.bus import BusSettings, durables, streams
from studio.stack.doctor.broker import EXPECTED
from studio.stack.environment import BASE
from studio.stack.processes import COMMON, SERVICES, STEPS, TABLE, Service, SetupStep


def _variables(settings: type[BaseSettings]) -> set[str]:
    prefix = settings.model_config.get("env_prefix") or ""
    return {f"{prefix}{name}".upper() for name in settings.model_fields}


def _required(settings: type[BaseSettings]) -> set[str]:
    return {name.upper() for name, field in settings.model_fields.items() if field.is_required()}


def _settings_of(service: Service) -> list[type[BaseSettings]]:
    package = importlib.import_module(f"services.{service.name}")
    found: list[type[BaseSettings]] = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith(".settings"):
            members = vars(importlib.import_module(module.name)).values()
            found += [each for each in members if inspect.isclass(each) and issubclass(each, BaseSettings)]
    return [each for each in found if each is not BaseSettings]


def _passed_on(name: str, child: Service | SetupStep) -> bool:
    return name in child.needs or any(fnmatchcase(name, each) for each in (*COMMON, *BASE, *child.takes))


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_every_setting_of_a_service_can_be_set_by_the_user_or_the_stack(service: Service) -> None:
    classes = _settings_of(service)
    assert classes
    variables = {name for each in classes for name in _variables(each)}
    assert {name for name in variables if not _passed_on(name, service)} == set()


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_the_table_names_what_a_service_cannot_start_without(service: Service) -> None:
    required = {name for each in _settings_of(service) for name in _required(each)}
    assert required <= set(service.needs)


def test_the_limits_of_the_streams_can_be_set() -> None:
    step = next(each for each in STEPS if each.name == "streams")
    own = {name for name in _variables(BusSettings) if name != "REDACT_PATTERNS"}
    assert {name for name in own if not _passed_on(name, step)} == set()


def test_everything_starts_after_something_that_stands_before_it() -> None:
    known = {"nats", "postgres"}
    for child in (*STEPS, *SERVICES):
        assert set(child.after) <= known
        known.add(child.name)


def test_the_factories_are_modules_of_the_services() -> None:
    for service in SERVICES:
        module, _, factory = service.factory.partition(":")
        assert importlib.util.find_spec(module) is not None
        assert factory == "make_app"


def test_a_service_is_found_by_name() -> None:
    assert TABLE.service("cost").port == 8003
    with pytest.raises(KeyError, match="no service 'nonesuch'"):
        TABLE.service("nonesuch")


def test_the_doctor_expects_the_streams_and_consumers_that_are_declared() -> None:
    settings = BusSettings()
    declared: dict[str, tuple[str, ...]] = {str(stream.name): () for stream in streams(settings)}
    for durable in sorted(durables(settings), key=lambda each: each.name):
        declared[durable.stream] += (durable.name,)
    assert dict(EXPECTED) == declared
