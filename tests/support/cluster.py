"""Three NATS servers on the loopback that form one cluster."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nats.aio.client import Client

from studio.stack.nats import NatsServer
from tests.support.ports import quiet_ports

SIZE = 3


@contextmanager
def nats_cluster(folder: Path) -> Iterator[list[NatsServer]]:
    ports = quiet_ports(SIZE)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    for number in range(SIZE):
        # One password for all: a client goes on with whichever node it finds.
        node = folder / f"node{number}"
        node.mkdir(parents=True)
        (node / "password").write_text("of-the-whole-cluster")
        (node / "password").chmod(0o600)
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                NatsServer(
                    folder / f"node{number}",
                    extra_config=f"server_name: node{number}\n"
                    f'cluster {{ name: test, host: "127.0.0.1", port: {port}, routes: [{routes}] }}',
                )
            )
            for number, port in enumerate(ports)
        ]


async def leader_of(client: Client, stream: str) -> str | None:
    """The name of the server that leads the stream now; None while there is an election."""
    answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=2)
    cluster = json.loads(answer.data).get("cluster") or {}
    leader: str | None = cluster.get("leader")
    return leader


async def step_down(client: Client, stream: str) -> None:
    """Make the stream's leader give up its office."""
    answer = await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", timeout=5)
    told = json.loads(answer.data)
    if not told.get("success"):
        raise RuntimeError(f"no step-down of {stream}: {told}")


async def settled(servers: list[NatsServer], *, within_s: float = 20.0) -> None:
    """Wait until every server is healthy, which means that a leader is known."""
    async with asyncio.timeout(within_s):
        while not all([await asyncio.to_thread(server.healthy) for server in servers]):
            await asyncio.sleep(0.05)
