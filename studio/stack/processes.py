"""The one table of what runs besides broker and database: set-up steps and services.

The containers describe the same processes; a test holds them to this table. Nothing is started here.
"""

from dataclasses import dataclass

BROKER = "nats"
DATABASE = "postgres"
SIMULATOR = "simulator"
GATEWAY = "gateway"
RUNNER = "runner"

PROTOCOL = "shared.http_protocol:BoundedProtocol"
# Patterns of variables that a user may set; passed on to the process when they are.
COMMON = ("LOG_LEVEL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT_*")


@dataclass(frozen=True)
class Service:
    """One service. `needs` are the variables that it cannot start without, `takes` patterns of others.

    `after` names what must be ready before it starts. On the way down stage 1 ends first, and each
    process has `grace_s` seconds before it is killed.
    """

    name: str
    port: int
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    stage: int = 3
    grace_s: float = 15.0
    app: str = ""

    @property
    def factory(self) -> str:
        return self.app or f"services.{self.name}.app:make_app"

    def command(self, host: str, port: int) -> tuple[str, ...]:
        """The command line, the same in every deployment."""
        address = ("--host", host, "--port", str(port))
        return ("uvicorn", "--factory", self.factory, *address, "--http", PROTOCOL, "--no-access-log")


@dataclass(frozen=True)
class SetupStep:
    """Runs to its end before the services that name it. `{key_file}` in the command is the API key's file."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...]
    after: tuple[str, ...]
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Everything that the supervisor starts after broker and database."""

    steps: tuple[SetupStep, ...]
    services: tuple[Service, ...]

    def service(self, name: str) -> Service:
        """The service of that name; raises KeyError with the known names."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(f"no service {name!r}; there are {[each.name for each in self.services]}")


STREAM_LIMITS = ("NATS_REPLICAS", "RUN_ACK_WAIT_S", "RUNS_MAX_BYTES")

STEPS = (
    SetupStep("migrations", ("alembic", "upgrade", "head"), ("DATABASE_URL",), (DATABASE,)),
    SetupStep("streams", ("shared.bus",), ("NATS_URL",), (BROKER,), STREAM_LIMITS),
    SetupStep(
        "api-key",
        ("services.gateway.keys", "--project", "default", "--name", "embedded", "--key-file", "{key_file}"),
        ("DATABASE_URL", "API_KEY_PEPPER"),
        ("migrations",),
    ),
)

SERVICES = (
    Service(SIMULATOR, 8010, takes=("SIMULATOR_*",), stage=3, grace_s=5.0),
    Service(
        "recorder",
        8002,
        needs=("NATS_URL", "DATABASE_URL"),
        takes=("DATABASE_*", "PARTITION_*", "REDACT_PATTERNS"),
        after=("migrations", "streams"),
    ),
    Service(
        "cost",
        8003,
        needs=("NATS_URL", "DATABASE_URL"),
        takes=("DATABASE_*", "REDACT_PATTERNS"),
        after=("migrations", "streams"),
    ),
    Service(
        "replayer",
        8004,
        needs=("NATS_URL", "DATABASE_URL"),
        takes=("DATABASE_*", "REPLAYER_*", "REDACT_PATTERNS"),
        after=("migrations", "streams"),
    ),
    Service(
        RUNNER,
        8001,
        needs=("NATS_URL", "MISTRAL_API_KEY", "WORKSPACE_DIR"),
        takes=(
            *("MISTRAL_*", "RUNNER_*", "RUN_*", "REDACT_PATTERNS"),
            *("FILE_IO_*", "HTTP_FETCH_*", "HF_*"),
            *("TOOL_SECRETS", "TOOLS_ALLOW_PRIVATE", "MCP_STDIO"),
            *("ELEVENLABS_*", "PYTHON_*", "WANDB_*", "WEB_SEARCH_*"),
        ),
        after=("streams",),
        stage=2,
        grace_s=30.0,
    ),
    Service(
        GATEWAY,
        8000,
        needs=("NATS_URL", "DATABASE_URL", "API_KEY_PEPPER"),
        takes=(
            *("MISTRAL_MODEL", "MAX_TOKENS", "TEMPERATURE", "DATABASE_*", "GATEWAY_*", "REDACT_PATTERNS"),
            *("TOOLS_ALLOW_PRIVATE", "BUNDLE_*"),
        ),
        after=("migrations", "streams"),
        stage=1,
    ),
)

TABLE = Table(STEPS, SERVICES)
