"""A failure in words: what ended, why, and what to do, before the last lines of the program itself."""

import errno
from pathlib import Path

import pytest

from studio.stack import postgres as postgres_module
from studio.stack.causes import LINES, how_it_ended, in_words, last_words
from studio.stack.display import failure
from studio.stack.errors import StackError
from studio.stack.postgres import PostgresServer

FULL_DISK = """creating configuration files ... ok
2026-11-20 12:23:21.582 UTC [20559] FATAL:  could not extend file "base/1/2691": wrote only 4096 of 8192 bytes
2026-11-20 12:23:21.582 UTC [20559] HINT:  Check free disk space.
2026-11-20 12:23:21.583 UTC [20559] PANIC:  cannot abort transaction 1, it was already committed"""


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (FULL_DISK, "the disk is full; free some space and start again"),
        ("mkdir: /a: No space left on device", "the disk is full"),
        ("[ERR] JetStream resource limits exceeded: insufficient storage resources", "the disk is full"),
        ("could not create directory: Read-only file system", "the disk is read-only"),
        (
            "FATAL:  could not map anonymous shared memory: Cannot allocate memory",
            "there is too little memory",
        ),
        ("FATAL:  database files are incompatible with server", "another version of Postgres made this data"),
    ],
)
def test_a_known_cause_stands_in_the_first_line(output: str, says: str) -> None:
    first, *rest = last_words(how_it_ended("initdb", 1), output).splitlines()
    assert first.startswith(f"initdb ended with code 1: {says}")
    assert rest == output.splitlines()


def test_an_unknown_cause_is_not_guessed_and_a_long_output_is_cut() -> None:
    said = last_words(how_it_ended("nats", -9), "\n".join(map(str, range(1000))))
    assert said.splitlines() == ["nats was killed by signal 9", *map(str, range(1000 - LINES, 1000))]


def test_an_error_of_the_system_names_the_file_and_what_to_do() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/lock")
    says = "/data/lock: No space left on device: the disk is full; free some space and start again"
    assert in_words(full) == says
    assert in_words(StackError("as it is")) == "as it is"


def test_the_lines_below_are_shown_in_columns() -> None:
    shown = failure(last_words("initdb ended with code 1", FULL_DISK)).plain.splitlines()
    assert shown[0] == "initdb ended with code 1: the disk is full; free some space and start again"
    assert "critical cannot abort" in shown[-1]
    words = ("creating", "could", "Check", "cannot")
    assert len({line.index(word) for line, word in zip(shown[1:], words, strict=True)}) == 1


def test_a_database_that_cannot_be_made_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("pg_config", "exit 0"), ("initdb", f"cat <<'END'\n{FULL_DISK}\nEND\nexit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(postgres_module, "find_programs", lambda: programs)
    server = PostgresServer(tmp_path / "postgres")
    with pytest.raises(StackError, match=r"^initdb ended with code 1: the disk is full; free some space"):
        server.start()
    assert not server.data.exists()
