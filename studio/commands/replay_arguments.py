"""What is typed of a replay: what is changed, where tools have their answers from, what is measured."""

from dataclasses import dataclass
from typing import Annotated

import typer

Repeated = list[str] | None


@dataclass(frozen=True)
class Changed:
    """What the new runs have otherwise."""

    model: Annotated[str | None, typer.Option(metavar="NAME", help="Another model.")] = None
    temperature: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="0 for the most likely words.")
    ] = None
    top_p: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Only words within this probability.")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Most tokens of an answer of the model.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="NUMBER", help="The model's random seed.")] = None
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Other instructions; @FILE reads them from there.")
    ] = None
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Another prompt; @FILE reads it from there.")
    ] = None
    agent: Annotated[
        str | None, typer.Option(metavar="NAME[@V]", help="All that this agent, or version of it, says.")
    ] = None
    tools: Annotated[
        str | None, typer.Option(metavar="A,B", help="All the tools that may be used; '' for none.")
    ] = None


@dataclass(frozen=True)
class Answers:
    """Where the answers of tools come from: as recorded, and live where nothing is, unless said otherwise."""

    live: Annotated[
        Repeated,
        typer.Option(metavar="TOOL", help="Call this tool; `*`: all but irreversible ones. Repeatable."),
    ] = None
    static: Annotated[
        Repeated, typer.Option(metavar="TOOL=JSON", help="What this tool always answers. Repeatable.")
    ] = None
    on_miss: Annotated[
        Repeated,
        typer.Option(
            metavar="[TOOL=]WHAT",
            help="When nothing is recorded for a call: live, error or fail. Repeatable.",
        ),
    ] = None


@dataclass(frozen=True)
class Measured:
    """What tells a good run; the first of these decides, in this order."""

    expect: Annotated[str | None, typer.Option(metavar="TEXT", help="The answer that is right.")] = None
    contains: Annotated[str | None, typer.Option(metavar="TEXT", help="What a right answer holds.")] = None
    score: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Python over answer, status, cost_usd, latency_ms, tokens, rounds, tool_calls.",
        ),
    ] = None
    metric: Annotated[
        Repeated,
        typer.Option(
            metavar="NAME",
            help="success, cost_usd, latency_ms, tokens, rounds or tool_calls. Repeatable.",
        ),
    ] = None
    confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of intervals and verdicts; 0.95 without it.")
    ] = None


@dataclass(frozen=True)
class Sampled:
    """How many runs."""

    samples: Annotated[
        int, typer.Option("-n", "--samples", metavar="COUNT", min=1, help="Runs of each arm and each RUN.")
    ] = 1
    early_stop: Annotated[
        bool,
        typer.Option("--early-stop/--no-early-stop", help="Take no more samples than the verdict needs."),
    ] = True


@dataclass(frozen=True)
class Told:
    """How the command ends."""

    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only start the replay.")
    ] = True
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON for programs, and nothing else on standard output.")
    ] = False
