"""Log files stay bounded, are followed over a rotation, and are shown as text whatever they say."""

import threading
from pathlib import Path

from studio.stack.log_lines import merge, parse, render
from studio.stack.logs import follow, last_lines, rotate


def test_a_log_that_grew_too_large_is_moved_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        assert not rotate(log, max_bytes=400)
        writer.write(b"last\n")
        assert rotate(log, max_bytes=400)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    moved = tmp_path / "some.log.1"
    assert moved.read_bytes() == b"old\n" * 100 + b"last\n"
    assert moved.stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_not_there_is_not_rotated(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "none.log")
    assert last_lines(tmp_path / "none.log", 5) == []


def test_the_last_lines_are_read_from_the_end(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    log.write_text("".join(f"line {number}\n" for number in range(200_000)))
    assert last_lines(log, 2) == ["line 199998", "line 199999"]
    assert last_lines(log, 0) == []


def test_following_yields_new_whole_lines_also_after_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    log.write_text("before\n" * 10)
    done = threading.Event()
    lines = follow({"some": log}, done.is_set)
    with log.open("a") as writer:
        threading.Timer(0.05, lambda: print("first\nhal", end="", file=writer, flush=True)).start()
        assert next(lines) == ("some", "first")
        writer.write("f\n")
        writer.flush()
        assert next(lines) == ("some", "half")
        assert rotate(log, max_bytes=1)
        threading.Timer(0.5, lambda: print("after", file=writer, flush=True)).start()
        assert next(lines) == ("some", "after")
    done.set()
    assert list(lines) == []


def test_a_line_of_each_writer_is_understood() -> None:
    service = parse(
        '{"timestamp": "2026-11-20T09:00:01Z", "level": "warning", "event": "slow", "run_id": "r1"}'
    )
    assert (service.level, service.event, service.fields) == ("warning", "slow", {"run_id": "r1"})
    broker = parse("[12] 2026/11/20 09:00:00.500000 [WRN] Slow consumer")
    assert (broker.level, broker.event) == ("warning", "Slow consumer")
    database = parse("2026-11-20 09:00:02.250 UTC [7] FATAL:  no such role")
    assert (database.level, database.event) == ("error", "no such role")
    server = parse("INFO:     Started server process [5]")
    assert (server.level, server.event) == ("info", "Started server process [5]")
    assert parse("{not json").event == "{not json"
    assert parse("[1, 2]").event == "[1, 2]"


def test_lines_of_several_logs_are_shown_by_time_and_a_traceback_stays_with_its_line() -> None:
    merged = merge(
        {
            "service": ['{"timestamp": "2026-11-20T09:00:01Z", "event": "b"}', "  a traceback"],
            "nats": ["[1] 2026/11/20 09:00:00.5 [INF] a", "[1] 2026/11/20 09:00:03.5 [INF] c"],
        }
    )
    assert [line.event for _, line in merged] == ["a", "b", "  a traceback", "c"]


def test_what_a_model_said_cannot_steer_the_terminal() -> None:
    line = parse('{"event": "\\u001b[2J[bold]gone", "prompt": "\\u009b31m\\u202e", "level": "info"}')
    shown = render("runner", line).plain
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "[bold]gone" in shown


def test_what_a_request_held_cannot_look_like_a_line_of_its_own(tmp_path: Path) -> None:
    line = parse('{"event": "GET /a\\n09:00:00 gateway error", "path": "b\\r\\n\\tc", "level": "info"}')
    shown = render("gateway", line).plain
    assert len(shown.splitlines()) == 1
    assert r"GET /a\n09:00:00 gateway error path=b\r\n\tc" in shown
    log = tmp_path / "some.log"
    log.write_text("one\u2028still \x85 one\ntwo\n", encoding="utf-8")
    assert last_lines(log, 5) == ["one\u2028still \x85 one", "two"]


def test_an_exception_is_shown_below_its_line() -> None:
    shown = render("cost", parse('{"event": "failed", "exception": "Traceback\\n  here", "count": 3}')).plain
    assert "failed count=3\nTraceback\n  here" in shown
