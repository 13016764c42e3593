"""The `studio` command: which commands there are and where each is.

A command's module is loaded when the command is used, so that none waits for what another needs.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS: Final = {
    **dict.fromkeys(("up", "down", "status", "doctor"), "studio.commands.stack"),
    "logs": "studio.commands.logs",
    **dict.fromkeys(("run", "runs", "show", "cancel", "delete"), "studio.commands.runs"),
    **dict.fromkeys(("waiting", "approve", "deny", "settle", "resume", "retry"), "studio.commands.waiting"),
    "batch": "studio.commands.batch",
    **dict.fromkeys(("artifacts", "session"), "studio.commands.results"),
    **dict.fromkeys(("bundle", "import"), "studio.commands.bundles"),
    **dict.fromkeys(("replay", "fork", "blame"), "studio.commands.replay"),
    **dict.fromkeys(("diff", "verify", "replays", "lineage"), "studio.commands.replays"),
    "agents": "studio.commands.agents",
    "tools": "studio.commands.tools",
    "mcp": "studio.commands.mcp",
    "schedules": "studio.commands.schedules",
    "webhooks": "studio.commands.webhooks",
    "demo": "studio.commands.demo",
}
PANELS: Final = {
    **dict.fromkeys(("stack", "logs", "demo"), "The stack on this machine"),
    **dict.fromkeys(("runs", "batch", "results", "bundles"), "Runs"),
    "waiting": "Runs that need a person",
    **dict.fromkeys(("replay", "replays"), "Runs again, with anything changed"),
    **dict.fromkeys(("agents", "tools", "mcp"), "What runs are made of"),
    **dict.fromkeys(("schedules", "webhooks"), "What happens by itself"),
}
"""Under which heading the help lists the commands of a module of `studio.commands`."""


class LazyGroup(TyperGroup):
    """Finds its commands in the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For a name that is not there all are loaded, since the nearest ones are suggested.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                found: Any = get_group(import_module(COMMANDS[name]).app).commands
                for command in found.values():
                    command.rich_help_panel = PANELS[COMMANDS[name].rpartition(".")[2]]
                self.commands.update(found)
        return self.commands.get(cmd_name)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_show_locals=False)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"studio {version('agentops-studio')}")
        raise typer.Exit


@app.callback()
def studio(
    is_version_wanted: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """AgentOps Studio: run agents durably, watch every step, know what it cost."""
    for stream in (sys.stdout, sys.stderr):
        # What a model writes may hold characters that this terminal cannot show.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")


if __name__ == "__main__":
    app()
