"""`studio schedules` and what stands behind it: the arguments. What is done is in `scheduling.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from typing import Annotated

import typer

from studio.commands.group import File, Json, noun

app = typer.Typer()
schedules = noun(app, "schedules", "List the schedules, or show, add, change, pause, start and remove them.")

Schedule = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name, or its id, or a part of that.")
]


@schedules.command("list")
def list_schedules(as_json: Json = False) -> None:
    """List the schedules, as `studio schedules` alone does."""
    from studio.commands import scheduling

    scheduling.list_schedules(as_json=as_json)


@schedules.command()
def show(
    schedule: Schedule,
    definition: Annotated[
        bool, typer.Option("--definition", help="Only what `update` takes, as JSON to be edited.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a schedule, and what became of the last times that it was due."""
    from studio.commands import scheduling

    scheduling.show_schedule(schedule, only_definition=definition, as_json=as_json)


@schedules.command()
def add(file: File) -> None:
    """Add a schedule.

    `input` is the run that it starts:
    {"name": "morning", "cron": "0 9 * * 1-5", "timezone": "Europe/Paris",
    "input": {"prompt": "What is new?"}}
    """
    from studio.commands import scheduling

    scheduling.add_schedule(file)


@schedules.command()
def update(schedule: Schedule, file: File) -> None:
    """Change a schedule; what the file leaves out stays."""
    from studio.commands import scheduling

    scheduling.update_schedule(schedule, file)


@schedules.command()
def pause(schedule: Schedule) -> None:
    """Start nothing by a schedule until it is resumed."""
    from studio.commands import scheduling

    scheduling.switch_schedule(schedule, active=False)


@schedules.command()
def resume(schedule: Schedule) -> None:
    """Let a schedule start its runs again, from now on."""
    from studio.commands import scheduling

    scheduling.switch_schedule(schedule, active=True)


@schedules.command()
def trigger(schedule: Schedule) -> None:
    """Start a schedule's run now, besides its times."""
    from studio.commands import scheduling

    scheduling.trigger_schedule(schedule)


@schedules.command()
def remove(schedule: Schedule) -> None:
    """Take a schedule away; the runs that it started stay."""
    from studio.commands import scheduling

    scheduling.remove_schedule(schedule)
