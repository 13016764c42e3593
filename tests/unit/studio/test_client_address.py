"""Where the client finds its server and its key, and what it says when it finds none."""

import os
from pathlib import Path

import pytest

from studio.client.address import Address, find_address
from studio.client.errors import NoServer
from studio.stack.state import StackState, write_state

KEY = "aos_0123456789ab_" + "s" * 43 + "00000000"


def make_stack(folder: Path, url: str = "http://127.0.0.1:8123", key: str = KEY + "\n") -> Path:
    """A data folder as a running stack leaves it."""
    data = folder / ".studio"
    data.mkdir(parents=True)
    (data / "api-key").write_text(key)
    state = StackState(
        folder=str(data),
        key_file=str(data / "api-key"),
        provider="simulator",
        provider_url="",
        gateway_url=url,
        monitor_port=0,
        supervisor_pid=0,
        supervisor_created=0,
        started_at=0,
    )
    write_state(data / "state.json", state)
    return data


def find(folder: Path, **environ: str) -> Address:
    return find_address(environ=environ, folder=folder)


def test_given_address_counts_before_everything(tmp_path: Path) -> None:
    make_stack(tmp_path)
    environ = {"STUDIO_URL": "http://elsewhere:1", "STUDIO_API_KEY": "other"}
    found = find_address("http://given:2/", "mine", environ=environ, folder=tmp_path)
    assert (found.url, found.api_key) == ("http://given:2", "mine")


def test_environment_counts_before_a_stack(tmp_path: Path) -> None:
    make_stack(tmp_path)
    found = find(tmp_path, STUDIO_URL="https://studio.example", STUDIO_API_KEY="k")
    assert (found.url, found.api_key) == ("https://studio.example", "k")
    assert not found.is_local


def test_stack_is_found_from_a_folder_below_it(tmp_path: Path) -> None:
    make_stack(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = find(deep)
    assert (found.url, found.api_key) == ("http://127.0.0.1:8123", KEY)
    assert found.is_local


def test_nearest_stack_counts(tmp_path: Path) -> None:
    make_stack(tmp_path, "http://127.0.0.1:1")
    make_stack(tmp_path / "near", "http://127.0.0.1:2")
    assert find(tmp_path / "near").url == "http://127.0.0.1:2"


def test_chosen_data_folder_is_the_only_one(tmp_path: Path) -> None:
    make_stack(tmp_path / "here", "http://127.0.0.1:1")
    chosen = make_stack(tmp_path / "there", "http://127.0.0.1:2")
    assert find(tmp_path / "here", STUDIO_FOLDER=str(chosen)).url == "http://127.0.0.1:2"
    with pytest.raises(NoServer):
        find(tmp_path / "here", STUDIO_FOLDER=str(tmp_path / "nowhere"))


def test_key_of_the_environment_opens_a_stack_too(tmp_path: Path) -> None:
    make_stack(tmp_path)
    assert find(tmp_path, STUDIO_API_KEY="mine").api_key == "mine"


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match=r"No server found: there is no \.studio in .*`studio up`.*STUDIO_URL"):
        find(tmp_path)


def test_stopped_stack_is_named(tmp_path: Path) -> None:
    data = make_stack(tmp_path)
    (data / "state.json").unlink()
    with pytest.raises(NoServer, match=f"the stack in {data} does not run.*`studio up`"):
        find(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gateway_url": "http://127.0.0.1:1"}'])
def test_unreadable_state_is_no_stack(tmp_path: Path, text: str) -> None:
    data = make_stack(tmp_path)
    (data / "state.json").write_text(text)
    with pytest.raises(NoServer, match="does not run"):
        find(tmp_path)


def test_state_that_someone_else_left_there_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stack(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NoServer):
        find(tmp_path)


def test_url_without_a_key_is_not_enough(tmp_path: Path) -> None:
    make_stack(tmp_path)
    with pytest.raises(NoServer, match="set STUDIO_API_KEY"):
        find(tmp_path, STUDIO_URL="http://elsewhere:1")


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    data = make_stack(tmp_path)
    (data / "api-key").unlink()
    with pytest.raises(NoServer, match=r"api-key cannot be read: No such file.*`studio doctor`"):
        find(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["elsewhere:8000", "ftp://x", "http://", "http://x:99999", "http://me:hunter2@x", "http://x?key=hunter2"],
)
def test_bad_address_says_how_one_looks_and_tells_no_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(NoServer, match=r"looks like http://127\.0\.0\.1:8000") as caught:
        find(tmp_path, STUDIO_URL=url, STUDIO_API_KEY="k")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel", "k" * 1001])
def test_bad_key_is_refused_without_telling_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(NoServer, match="no API key") as caught:
        find(tmp_path, STUDIO_URL="http://x:1", STUDIO_API_KEY=key)
    assert key not in str(caught.value)


def test_key_is_not_shown() -> None:
    assert "secret-key" not in repr(Address("http://x", "secret-key", "test"))


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://10.0.0.1", False),
    ],
)
def test_only_loopback_is_local(url: str, local: bool) -> None:
    assert Address(url, "k", "test").is_local is local


def test_key_is_told_with_where_it_is_from(tmp_path: Path) -> None:
    data = make_stack(tmp_path)
    assert find(tmp_path).key_origin == str(data / "api-key")
    assert find(tmp_path, STUDIO_API_KEY="k").key_origin == "STUDIO_API_KEY"
    assert find(tmp_path, STUDIO_URL="http://x", STUDIO_API_KEY="k").key_origin == "STUDIO_API_KEY"


def test_chosen_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(NoServer, match=f"STUDIO_FOLDER is {nowhere}, which is no folder"):
        find(tmp_path, STUDIO_FOLDER=str(nowhere))
