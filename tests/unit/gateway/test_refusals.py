"""What refusals and log lines give away, and what they say instead."""

import pytest

from services.gateway.auth import key_of
from services.gateway.boundary import _details
from services.gateway.credentials import mint
from services.gateway.problems import DatabaseAway, Problem, away
from services.gateway.settings import GatewaySettings
from shared.errors import Unavailable
from tests.support.steps import new_key


@pytest.mark.parametrize(
    ("error", "name"),
    [(Unavailable("nats: 10.0.0.7:4222 refused"), "broker"), (DatabaseAway("host 10.0.0.7"), "database")],
)
def test_a_503_names_the_dependency_and_keeps_the_cause(error: Unavailable, name: str) -> None:
    problem = away(error)
    assert problem.detail == f"the {name} does not answer as it should right now; try again"
    assert int(problem.headers["Retry-After"]) >= 1


def test_only_a_valid_run_id_is_logged() -> None:
    run_id = new_key().run_id
    assert _details({"path_params": {"run_id": run_id}})["run_id"] == run_id
    for other in (mint().text, "", run_id.upper(), f"{run_id}x"):
        assert _details({"path_params": {"run_id": other}})["run_id"] is None
    assert _details({})["run_id"] is None


def test_a_key_without_its_scheme_is_told_what_is_missing() -> None:
    with pytest.raises(Problem, match="does not begin with 'Bearer '") as caught:
        key_of({"authorization": mint().text})
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    with pytest.raises(Problem, match="carries no API key"):
        key_of({"authorization": "Bearer "})
    assert key_of({"authorization": "bearer  abc "}) == "abc"


def test_a_heartbeat_rarer_than_clients_wait_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_PEPPER", "a pepper for tests only")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("GATEWAY_HEARTBEAT_S", "20")
    assert GatewaySettings().gateway_heartbeat_s == 20
    monkeypatch.setenv("GATEWAY_HEARTBEAT_S", "20.5")
    with pytest.raises(ValueError, match="less than or equal to 20"):
        GatewaySettings()
