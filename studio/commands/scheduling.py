"""Runs by the clock, from the command line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.text import Text

from studio.client.automation_models import Schedule
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.definition import read_definition, write_definition
from studio.commands.lists import print_list
from studio.commands.reference import the_one
from studio.terminal.automation import minute, schedule_view, schedules_table
from studio.terminal.output import results, write_json
from studio.terminal.text import plain

TIMES: Final = 10


def list_schedules(*, as_json: bool) -> None:
    with connected() as studio:
        found = studio.schedules()
    nobody = "there are no schedules; `studio schedules add FILE` adds one"
    print_list(found, schedules_table(found, datetime.now(UTC)), nobody, as_json=as_json)


def show_schedule(typed: str, *, only_definition: bool, as_json: bool) -> None:
    with connected() as studio:
        schedule = _schedule(studio, typed)
        ticks = list(studio.ticks(schedule.id, limit=TIMES))
    if only_definition:
        write_definition(schedule.definition)
    elif as_json:
        write_json(schedule)
    else:
        results().print(schedule_view(schedule, ticks))


def add_schedule(file: Path) -> None:
    with connected() as studio:
        schedule = studio.create_schedule(read_definition(file))
    _say(f"added {schedule.name}; {_due(schedule)}")


def update_schedule(typed: str, file: Path) -> None:
    with connected() as studio:
        changes = read_definition(file)
        schedule = studio.update_schedule(_schedule(studio, typed).id, changes)
    _say(f"changed {schedule.name}; {_due(schedule)}")


def switch_schedule(typed: str, *, active: bool) -> None:
    with connected() as studio:
        found = _schedule(studio, typed)
        schedule = studio.resume_schedule(found.id) if active else studio.pause_schedule(found.id)
    _say(f"{schedule.name}: {_due(schedule)}")


def trigger_schedule(typed: str) -> None:
    with connected() as studio:
        run_id = studio.trigger_schedule(_schedule(studio, typed).id).run_id
    _say(f"started run {run_id}; `studio show {run_id[-8:]}` shows how far it is")


def remove_schedule(typed: str) -> None:
    with connected() as studio:
        schedule = _schedule(studio, typed)
        studio.delete_schedule(schedule.id)
    _say(f"removed {schedule.name}")


def _schedule(studio: Studio, typed: str) -> Schedule:
    return the_one(studio.schedules(), typed, "schedule", "schedules")


def _due(schedule: Schedule) -> str:
    return f"next {minute(schedule.next_at)}" if schedule.active else "paused"


def _say(text: str) -> None:
    results().print(Text(plain(text)))
