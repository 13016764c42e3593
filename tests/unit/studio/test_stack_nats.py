"""The embedded NATS server: durable over crashes, bounded, on the loopback address only."""

import socket
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import pytest
from nats.errors import Error as NatsError

from studio.stack import nats as nats_module
from studio.stack.errors import StackError, StartError
from studio.stack.health import ask
from studio.stack.nats import NatsServer
from studio.stack.ports import LOOPBACK, free_port
from tests.support.ports import quiet_ports
from tests.support.waiting import eventually


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as running:
        yield running


async def _publish(server: NatsServer, count: int) -> int:
    client = await nats.connect(server.url)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="T", subjects=["t.>"])
        for number in range(count):
            await stream.publish(f"t.{number}", b"x")
        return (await stream.stream_info("T")).state.messages
    finally:
        await client.close()


async def test_acknowledged_messages_survive_kill_and_restart_on_the_same_port(server: NatsServer) -> None:
    assert await _publish(server, 20) == 20
    port, pid = server.port, server.pid
    server.kill()
    assert not server.running
    server.start()
    assert (server.port, server.running) == (port, True)
    assert server.pid != pid
    assert await _publish(server, 1) == 21
    server.restart()
    assert await _publish(server, 1) == 22


def test_acknowledged_means_on_disk_and_the_store_is_bounded(server: NatsServer) -> None:
    answer = ask(server.monitor_port, "/varz").body
    assert '"sync_always": true' in answer
    assert '"max_storage": 10737418240' in answer
    assert '"max_payload": 1048576' in answer


def test_it_listens_on_the_loopback_address_only(server: NatsServer) -> None:
    listening = [each for each in psutil.Process(server.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.port for each in listening} == {server.port, server.monitor_port}
    assert {each.laddr.ip for each in listening} == {LOOPBACK}


async def test_nobody_connects_without_the_password_of_the_folder(server: NatsServer) -> None:
    password = (server.folder / "password").read_text()
    for stranger in ("", "studio:wrong@"):
        with pytest.raises(NatsError, match="Authorization Violation"):
            await nats.connect(f"nats://{stranger}{LOOPBACK}:{server.port}", allow_reconnect=False)
    assert server.url == f"nats://studio:{password}@{LOOPBACK}:{server.port}"
    assert (server.folder / "password").stat().st_mode & 0o777 == 0o600


def test_the_password_is_made_once_and_stands_in_no_file_but_its_own(server: NatsServer) -> None:
    url, password = server.url, (server.folder / "password").read_text()
    server.restart()
    assert server.url == url
    files = [file for file in server.folder.iterdir() if file.is_file() and file.name != "password"]
    assert len(files) >= 2
    assert not any(password.encode() in file.read_bytes() for file in files)


def test_starting_a_running_server_changes_nothing(server: NatsServer) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_extra_configuration_overrides_the_base(tmp_path: Path) -> None:
    with NatsServer(tmp_path, extra_config="max_payload: 2MB") as server:
        assert '"max_payload": 2097152' in ask(server.monitor_port, "/varz").body


def test_a_port_lost_before_the_start_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        offered = [other.getsockname()[1], free_port()]
        monkeypatch.setattr(nats_module, "free_port", lambda: offered.pop(0) if offered else free_port())
        with NatsServer(tmp_path) as server:
            assert server.port != other.getsockname()[1]
            assert server.healthy()


def test_a_fixed_port_that_is_taken_is_an_error_with_the_servers_words(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        server = NatsServer(tmp_path, port=other.getsockname()[1], monitor_port=free_port())
        with pytest.raises(StartError, match="address already in use"):
            server.start()
    assert not server.running


def test_a_server_that_was_never_started_has_no_pid(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="was not started"):
        _ = NatsServer(tmp_path).pid


async def test_three_servers_form_a_cluster(tmp_path: Path) -> None:
    ports = quiet_ports(3)
    routes = ", ".join(f"nats://{LOOPBACK}:{port}" for port in ports)
    servers = [
        NatsServer(
            tmp_path / f"n{number}",
            extra_config=f"server_name: n{number}\n"
            f'cluster {{ name: test, listen: "{LOOPBACK}:{port}", routes: [{routes}] }}',
        )
        for number, port in enumerate(ports)
    ]
    try:
        for server in servers:
            server.start()
        await eventually(lambda: all(server.healthy() for server in servers), within_s=20)
    finally:
        for server in servers:
            server.stop()
