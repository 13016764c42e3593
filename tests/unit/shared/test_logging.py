"""Logs: one JSON object a line, with service and run_id, and never a secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.logging import configure_logging
from shared.scrub import REDACTED, Scrubber

SECRET = 'vault"Passphrase-9'


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The log lines so far, parsed; the configuration of before is put back afterwards."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    before = structlog.get_config()
    configure_logging("recorder", "INFO", Scrubber([SECRET]))
    try:
        yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    finally:
        structlog.contextvars.clear_contextvars()
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_line_is_one_json_object_with_service_level_time_and_run_id(lines: Any) -> None:
    structlog.contextvars.bind_contextvars(run_id="r-1")
    structlog.get_logger("a.module").info("batch delayed", wait_s=0.5, text="two\nlines")
    [line] = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "batch delayed",
        "service": "recorder",
        "level": "info",
        "logger": "a.module",
        "run_id": "r-1",
        "wait_s": 0.5,
        "text": "two\nlines",
    }


def test_the_standard_librarys_loggers_write_the_same_form(lines: Any) -> None:
    structlog.contextvars.bind_contextvars(run_id="r-2")
    logging.getLogger("uvicorn.error").warning("started %s", "here")
    [line] = lines()
    assert (line["event"], line["service"], line["run_id"]) == ("started here", "recorder", "r-2")


def test_below_the_level_nothing_is_written(lines: Any) -> None:
    structlog.get_logger("x").debug("details")
    logging.getLogger("y").debug("details")
    assert lines() == []


def _raise() -> None:
    raise ValueError(f"login with {SECRET} failed")


@pytest.mark.parametrize(
    "write",
    [
        lambda: structlog.get_logger("x").info(f"key {SECRET}"),
        lambda: structlog.get_logger("x").info("refused", key=SECRET),
        lambda: structlog.get_logger("x").info("refused", headers={"authorization": f"Bearer {SECRET}"}),
        lambda: structlog.get_logger("x").info("refused", tried=[SECRET, (SECRET,)]),
        lambda: structlog.get_logger("x").info("refused", error=ValueError(SECRET)),
        lambda: structlog.get_logger("x").info("refused", raw=SECRET.encode()),
        lambda: logging.getLogger("uvicorn").error("refused %s", SECRET),
        lambda: logging.getLogger("uvicorn").error("refused %s", {"key": SECRET}),
    ],
    ids=["event", "field", "nested object", "nested list", "exception object", "bytes", "argument", "object"],
)
def test_a_secret_is_redacted_wherever_it_stands(lines: Any, write: Any) -> None:
    write()
    [line] = lines()
    told = json.dumps(line, ensure_ascii=False)
    assert "Passphrase" not in told
    assert REDACTED in told


@pytest.mark.parametrize("logger", [structlog.get_logger("x"), logging.getLogger("uvicorn.error")])
def test_a_secret_in_an_exception_is_redacted(lines: Any, logger: Any) -> None:
    try:
        _raise()
    except ValueError:
        logger.exception("broke off")
    [line] = lines()
    assert "ValueError" in line["exception"]
    assert "Passphrase" not in line["exception"]
    assert REDACTED in line["exception"]


def test_values_that_are_no_json_do_not_cost_the_line(lines: Any) -> None:
    structlog.get_logger("x").info("odd", value=object(), text="\ud800", number=float("nan"))
    [line] = lines()
    assert line["event"] == "odd"
