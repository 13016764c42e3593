"""What one start of the stack will look like: which services, on which ports, with which provider.

Deciding only; the processes are started in `supervisor.py`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from studio.stack.errors import StackError
from studio.stack.ports import LOOPBACK, PortClaims
from studio.stack.processes import BROKER, DATABASE, GATEWAY, SIMULATOR, TABLE, Service, Table
from studio.stack.provider import Provider, choose_provider, uses_simulator
from studio.stack.watch import Backoff

MONITOR = "nats-monitor"
SERVER_PORTS = {BROKER: 4222, MONITOR: 8222, DATABASE: 5432}


@dataclass(frozen=True)
class Options:
    """What a caller may choose. `port` is the gateway's; without it 8000 or the next free one is taken."""

    port: int | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    fsync: bool = True
    table: Table = TABLE
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True)
class Plan:
    """`ports` by process name; `notes` tell the user what is not as usual."""

    services: tuple[Service, ...]
    ports: Mapping[str, int]
    provider: Provider
    notes: tuple[str, ...]

    def url(self, name: str) -> str:
        """The HTTP address of a service; empty when the plan has no such service."""
        return f"http://{LOOPBACK}:{self.ports[name]}" if name in self.ports else ""


def make_plan(options: Options, claims: PortClaims) -> Plan:
    """Choose services and ports. Raises StackError when the port asked for is taken."""
    simulated = uses_simulator(options.environ)
    services = tuple(each for each in options.table.services if each.name != SIMULATOR or simulated)
    usual = SERVER_PORTS | {service.name: service.port for service in services}
    ports: dict[str, int] = {}
    if options.port is not None:
        ports[GATEWAY] = _checked(options.port, claims)
    ports |= {name: claims.choose(port) for name, port in usual.items() if name not in ports}
    simulator_url = f"http://{LOOPBACK}:{ports[SIMULATOR]}" if SIMULATOR in ports else ""
    provider = choose_provider(options.environ, simulator_url)
    notes = tuple(
        f"port {port} is taken: {name} listens on {ports[name]}"
        for name, port in usual.items()
        if ports[name] != port and not (name == GATEWAY and options.port)
    )
    return Plan(services, ports, provider, notes)


def _checked(port: int, claims: PortClaims) -> int:
    if not 1 <= port <= 65535:
        raise StackError(f"port {port} does not exist; choose one between 1 and 65535")
    if claims.choose(port) != port:
        raise StackError(
            f"port {port} is taken; choose another with --port, or leave it out to take a free one"
        )
    return port
