"""`studio replays`: listing replays, showing one, ending one."""

from datetime import UTC, datetime

from studio.client.errors import Conflict, StudioError
from studio.client.sync import Studio
from studio.commands.connection import connected
from studio.commands.lists import print_list
from studio.commands.reference import FULL, known, the_one
from studio.commands.replay_end import labels, tell_end
from studio.terminal.output import results, write_json
from studio.terminal.replays import replays_table, runs_table

RECENT = 500


def list_replays(limit: int, *, as_json: bool) -> None:
    with connected() as studio:
        found = list(studio.replays(limit=limit))
    otherwise = "no replays yet; `studio replay RUN` makes one"
    print_list(found, replays_table(found, datetime.now(UTC)), otherwise, as_json=as_json)


def show_replay(typed: str, *, as_json: bool) -> None:
    with connected() as studio:
        replay_id = _replay_id(studio, typed)
        with known("replay", replay_id, "replays"):
            replay = studio.replay(replay_id)
        if as_json:
            write_json(replay)
        else:
            tell_end(studio, replay)


def list_runs(typed: str, *, as_json: bool) -> None:
    with connected() as studio:
        replay_id = _replay_id(studio, typed)
        with known("replay", replay_id, "replays"):
            replay = studio.replay(replay_id)
        found = list(studio.replay_runs(replay_id))
    print_list(found, runs_table(found, labels(replay)), "no runs yet", as_json=as_json)


def cancel_replay(typed: str) -> None:
    with connected() as studio:
        replay_id = _replay_id(studio, typed)
        try:
            with known("replay", replay_id, "replays"):
                studio.cancel_replay(replay_id)
        except Conflict as error:
            raise StudioError(f"replay {replay_id} has ended; `studio replays show` shows how") from error
    results().print(f"asked replay {replay_id} to end; its runs that go on are cancelled")


def _replay_id(studio: Studio, typed: str) -> str:
    if FULL.fullmatch(typed.strip().lower()):
        return typed.strip().lower()
    return the_one(studio.replays(limit=RECENT), typed, "replay", "replays").replay_id
