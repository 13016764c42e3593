"""Schedules: runs by the clock."""

from collections.abc import Mapping

from pydantic import JsonValue

from studio.client.automation_models import Schedule, Tick
from studio.client.calls.call import Call, Listing, items_reader, nothing, once, path, reader
from studio.client.models import Accepted, Page


def schedules() -> Call[tuple[Schedule, ...]]:
    """The schedules of the project, newest first."""
    return Call("GET", path("schedules"), items_reader(Page[Schedule]))


def schedule(schedule_id: str) -> Call[Schedule]:
    """A schedule with the times at which it was due last and is due next."""
    return Call("GET", path("schedules", schedule_id), reader(Schedule))


def create_schedule(
    definition: Mapping[str, JsonValue], *, idempotency_key: str | None = None
) -> Call[Schedule]:
    """Start a run whenever a cron line is due; given as the fields of `POST /api/schedules`."""
    headers = once(idempotency_key)
    return Call("POST", path("schedules"), reader(Schedule), body=definition, headers=headers)


def update_schedule(schedule_id: str, changes: Mapping[str, JsonValue]) -> Call[Schedule]:
    """Change a schedule; what is left out stays. The times of a new line begin now."""
    return Call("PATCH", path("schedules", schedule_id), reader(Schedule), body=changes)


def pause_schedule(schedule_id: str) -> Call[Schedule]:
    """No times until it is resumed; none of them counts as missed."""
    return Call("POST", path("schedules", schedule_id, "pause"), reader(Schedule))


def resume_schedule(schedule_id: str) -> Call[Schedule]:
    """It is due again from now on."""
    return Call("POST", path("schedules", schedule_id, "resume"), reader(Schedule))


def trigger_schedule(schedule_id: str, *, idempotency_key: str | None = None) -> Call[Accepted]:
    """Start its run now, besides its times; also while it is paused."""
    headers = once(idempotency_key)
    return Call("POST", path("schedules", schedule_id, "trigger"), reader(Accepted), headers=headers)


def delete_schedule(schedule_id: str) -> Call[None]:
    """Take a schedule away; the runs that it started stay."""
    return Call("DELETE", path("schedules", schedule_id), nothing, gone_is_done=True)


def ticks(schedule_id: str, *, limit: int | None = None) -> Listing[Tick]:
    """The times of a schedule with the run of each, newest first; at most `limit`."""
    return Listing(Page[Tick], path("schedules", schedule_id, "ticks"), limit)
