"""Which addresses count as public, through every disguise of a private one."""

import pytest

from services.runner.tools.settings import ToolSettings
from shared.addresses import Server, is_public, parse_server

PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "fc00::1",
    "fd00::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "5f00::1",
]
PUBLIC = [
    "8.8.8.8",
    "93.184.215.14",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_public_internet_is_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_allowed_servers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_FETCH_ALLOW", "wiki.Intranet:8080, [FD00::1]:80,")
    assert ToolSettings().http_fetch_allow == {Server("wiki.intranet", 8080), Server("fd00::1", 80)}


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "http://host:80", "host:0", "host:99999", "u@h:80", "fd00::1:80"]
)
def test_a_server_without_host_or_port_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError, match="write host:port or"):
        parse_server(text)


def test_no_secret_is_shown_by_the_settings() -> None:
    settings = ToolSettings.model_validate({"hf_token": "hf_not_to_be_seen"})
    assert "hf_not_to_be_seen" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.secrets() == ("hf_not_to_be_seen",)
