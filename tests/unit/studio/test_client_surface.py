"""What a user of the client sees: the exported names, and two clients that offer the same."""

import inspect
import subprocess
import sys

import pytest

import studio
from studio import AsyncStudio, Studio

METHODS = [name for name in vars(Studio) if not name.startswith("_")]


@pytest.mark.parametrize("name", studio.__all__)
def test_exported_name_is_there(name: str) -> None:
    assert getattr(studio, name) is not None


@pytest.mark.parametrize("name", ["nonesuch", "httpx"])
def test_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(studio, name)


def test_package_is_loaded_without_its_client() -> None:
    code = "import sys, studio; print('httpx' in sys.modules, 'pydantic' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == ["False", "False"]


def test_both_clients_have_the_same_methods() -> None:
    assert [name for name in vars(AsyncStudio) if not name.startswith("_")] == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_method_takes_the_same_in_both_clients(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(client, name)) for client in (Studio, AsyncStudio))
    assert ours.parameters == theirs.parameters


@pytest.mark.parametrize("client", [Studio, AsyncStudio])
@pytest.mark.parametrize("name", METHODS)
def test_help_on_a_method_says_what_it_takes_and_does(client: type, name: str) -> None:
    method = getattr(client, name)
    assert inspect.getdoc(method)
    assert next(iter(inspect.signature(method).parameters)) == "self"
    bound = inspect.signature(getattr(client("http://127.0.0.1:9", "key"), name))
    assert "self" not in bound.parameters
