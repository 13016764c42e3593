"""What the demo asks and says, and how it takes Ctrl-C; the whole of it is run in the end-to-end tests."""

import io
import os
import signal

import pytest
from rich.console import Console

from shared.steps import Failure
from studio.client.models import Run
from studio.demo.advice import advice
from studio.demo.prompts import prompts
from studio.demo.show import _summary, provider_words
from studio.demo.signals import SIGNALS, Interrupts


def test_only_the_simulator_is_told_to_fail() -> None:
    assert any("[[simulate: 429 x2]]" in prompt.text for prompt in prompts("simulator"))
    for provider in ("mistral", "compatible server"):
        asked = prompts(provider)
        assert len(asked) == 4
        assert not any("simulate" in prompt.text for prompt in asked)


def test_first_prompt_is_the_one_that_is_promised() -> None:
    assert prompts("mistral")[0].text == "What is 5 + 10, then multiply by 3?"


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("simulator", "The model is simulated, at http://x. With MISTRAL_API_KEY"),
        ("mistral", "The model is Mistral's, at http://x."),
        ("compatible server", "The model is served at http://x, as MISTRAL_SERVER_URL says."),
    ],
)
def test_provider_is_named(provider: str, says: str) -> None:
    assert provider_words(provider, "http://x").startswith(says)


@pytest.mark.parametrize(
    ("provider", "kind", "says"),
    [
        ("mistral", "model-unauthorized", "Mistral refuses the key: set MISTRAL_API_KEY"),
        ("mistral", "model-unavailable", "http://x cannot be reached"),
        ("mistral", "rate-limited", "try again in a minute"),
        ("compatible server", "model-unauthorized", "http://x refuses the key: set MISTRAL_API_KEY"),
        ("compatible server", "model-unavailable", "start it, or set MISTRAL_SERVER_URL"),
        ("compatible server", "model-not-found", "set MISTRAL_MODEL"),
    ],
)
def test_provider_that_takes_no_call_is_told_with_what_to_set(provider: str, kind: str, says: str) -> None:
    assert says in advice(Failure(type=kind, message="no"), provider, "http://x")


def test_other_failures_end_one_prompt_only() -> None:
    assert advice(None, "mistral", "http://x") == ""
    assert advice(Failure(type="timeout", message="no"), "mistral", "http://x") == ""
    assert advice(Failure(type="rate-limited", message="no"), "simulator", "http://x") == ""


@pytest.mark.parametrize("width", [60, 80])
def test_closing_table_keeps_its_numbers_whole_where_there_is_little_room(width: int) -> None:
    run = Run(
        run_id="r",
        status="completed",
        prompt="What is 5 + 10, then multiply by 3? " * 3,
        step_count=12,
        total_tokens=123_456,
        total_cost_usd="0.002400",
        created_at="2026-11-20T09:00:00Z",
        finished_at="2026-11-20T09:00:02.31Z",
    )
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(_summary([run]))
    head, row, *more = [line.rstrip() for line in file.getvalue().splitlines()]
    assert head.split() == ["prompt", "status", "steps", "tokens", "USD", "time"]
    assert row.startswith("What is 5")
    assert row.split()[-6:] == ["completed", "12", "123,456", "0.002400", "2.31", "s"]
    assert (more, len(row) <= width) == ([], True)


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_interrupts_and_later_ones_hurry(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    hurried: list[bool] = []
    with Interrupts() as interrupts:
        interrupts.hurry = lambda: hurried.append(True)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
    assert hurried == [True, True]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_clean_up_without_a_signal_is_not_interrupted_either() -> None:
    hurried: list[bool] = []
    with Interrupts() as interrupts:
        interrupts.hurry = lambda: hurried.append(True)
        interrupts.shield()
        os.kill(os.getpid(), signal.SIGINT)
    assert hurried == [True]
