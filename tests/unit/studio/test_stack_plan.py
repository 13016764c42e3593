"""What a start decides: ports, provider, and what each child may know."""

import os
import socket
from collections.abc import Iterator

import pytest

from studio.stack.environment import MARK, child_environment
from studio.stack.errors import StackError
from studio.stack.plan import Options, make_plan
from studio.stack.ports import LOOPBACK, PortClaims, free_port, is_free, listens
from studio.stack.processes import TABLE, Service
from studio.stack.provider import choose_provider

GIVEN = {
    MARK: "/data",
    "NATS_URL": "nats://here",
    "DATABASE_URL": "postgresql://here",
    "MISTRAL_API_KEY": "key",
}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def claims() -> Iterator[PortClaims]:
    made = PortClaims()
    yield made
    made.release()


def test_a_taken_port_is_not_free_and_the_next_one_is_chosen(taken: int, claims: PortClaims) -> None:
    assert not is_free(taken)
    chosen = claims.choose(taken)
    assert chosen != taken
    assert is_free(chosen)


def test_a_port_is_chosen_once_until_it_is_released(claims: PortClaims) -> None:
    other, preferred = PortClaims(), free_port()
    assert claims.choose(preferred) == preferred
    assert claims.choose(preferred) != preferred
    assert other.choose(preferred) != preferred
    claims.release()
    other.release()
    assert other.choose(preferred) == preferred
    other.release()


def test_only_the_process_that_listens_counts(taken: int) -> None:
    assert listens(os.getpid(), taken)
    assert not listens(os.getppid(), taken)
    assert not listens(os.getpid(), free_port())


def test_ports_of_a_plan_are_all_different(claims: PortClaims) -> None:
    ports = make_plan(Options(environ={}), claims).ports
    assert len(set(ports.values())) == len(ports) == 9


def test_the_port_asked_for_is_the_gateways(claims: PortClaims) -> None:
    port = free_port()
    plan = make_plan(Options(port=port, environ={}), claims)
    assert plan.url("gateway") == f"http://127.0.0.1:{port}"
    assert not [note for note in plan.notes if "gateway" in note]


def test_a_taken_port_that_was_asked_for_is_an_error_with_a_way_out(taken: int, claims: PortClaims) -> None:
    with pytest.raises(StackError, match=f"port {taken} is taken; choose another with --port"):
        make_plan(Options(port=taken, environ={}), claims)


def test_a_port_that_does_not_exist_is_an_error(claims: PortClaims) -> None:
    with pytest.raises(StackError, match="between 1 and 65535"):
        make_plan(Options(port=70000, environ={}), claims)


def test_the_user_is_told_of_an_unusual_port(monkeypatch: pytest.MonkeyPatch, claims: PortClaims) -> None:
    monkeypatch.setattr("studio.stack.ports.is_free", lambda port: port != 8000)
    plan = make_plan(Options(environ={}), claims)
    assert plan.ports["gateway"] != 8000
    assert [note for note in plan.notes if note.startswith("port 8000 is taken: gateway listens on")]


def test_without_key_and_server_the_simulator_answers(claims: PortClaims) -> None:
    plan = make_plan(Options(environ={"MISTRAL_API_KEY": "", "MISTRAL_SERVER_URL": ""}), claims)
    assert plan.provider.name == "simulator"
    assert plan.provider.environment["MISTRAL_SERVER_URL"] == plan.url("simulator")
    assert plan.provider.environment["MISTRAL_API_KEY"] == "simulator"


@pytest.mark.parametrize("variable", ["MISTRAL_API_KEY", "MISTRAL_SERVER_URL"])
def test_no_simulator_is_started_when_a_provider_is_given(variable: str, claims: PortClaims) -> None:
    plan = make_plan(Options(environ={variable: "https://models.example"}), claims)
    assert "simulator" not in [service.name for service in plan.services]
    assert plan.url("simulator") == ""


def test_a_server_wins_over_a_key_and_its_credentials_are_not_shown() -> None:
    environ = {
        "MISTRAL_API_KEY": "secret-key",
        "MISTRAL_SERVER_URL": "https://user:pass@models.example/api?token=t",
    }
    provider = choose_provider(environ, "")
    assert provider.url == "https://models.example/api"
    assert provider.environment == environ


def test_with_a_key_alone_the_official_address_is_left_to_the_client() -> None:
    provider = choose_provider({"MISTRAL_API_KEY": "secret-key"}, "")
    assert (provider.name, provider.url) == ("mistral", "https://api.mistral.ai")
    assert provider.environment == {"MISTRAL_API_KEY": "secret-key"}


@pytest.mark.parametrize("url", ["models.example", "file:///etc/passwd", "http://[broken", "http://"])
def test_a_server_that_is_no_http_address_is_an_error(url: str, claims: PortClaims) -> None:
    with pytest.raises(StackError, match="MISTRAL_SERVER_URL must be an address like"):
        make_plan(Options(environ={"MISTRAL_SERVER_URL": url}), claims)


def test_a_child_knows_what_it_needs_and_nothing_else() -> None:
    service = Service("some", 1, needs=("NATS_URL",), takes=("SOME_*",))
    user = {
        "PATH": "/bin",
        "SOME_LIMIT": "3",
        "AWS_SECRET": "x",
        "LOG_LEVEL": "DEBUG",
        "NATS_URL": "elsewhere",
    }
    environment = child_environment(service, GIVEN, user)
    assert environment["NATS_URL"] == "nats://here"
    assert environment["SOME_LIMIT"] == "3"
    assert environment["LOG_LEVEL"] == "DEBUG"
    assert environment[MARK] == "/data"
    assert not {"AWS_SECRET", "DATABASE_URL", "MISTRAL_API_KEY"} & set(environment)


def test_only_the_runner_gets_the_model_key() -> None:
    given = {**GIVEN, "API_KEY_PEPPER": "pepper", "WORKSPACE_DIR": "/data/workspace"}
    informed = [
        each.name for each in TABLE.services if "MISTRAL_API_KEY" in child_environment(each, given, {})
    ]
    assert informed == ["runner"]


def test_a_proxy_never_gets_the_calls_between_the_processes() -> None:
    user = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "intranet"}
    environment = child_environment(Service("some", 1), GIVEN, user)
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_a_variable_that_the_stack_does_not_provide_is_named() -> None:
    with pytest.raises(StackError, match=r"some needs the variables \['UNKNOWN'\]"):
        child_environment(Service("some", 1, needs=("UNKNOWN",)), GIVEN, {})
