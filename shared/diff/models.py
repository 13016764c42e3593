"""What the comparison of two runs gives, as JSON has it: no more here than what it says."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from shared.steps import Fact, RunId, RunStatus
from shared.usd import Usd

Segment = tuple[Literal["equal", "removed", "added"], str]
Span = Annotated[tuple[int, int], Field(description="The seqs of the first and the last of several steps.")]


class TextDiff(Fact):
    """How a text differs. The segments that are not added make the left text, those not removed the right."""

    by: Literal["words", "lines"] = Field(description="Lines, where a text is too long to compare by word.")
    segments: tuple[Segment, ...]
    unified: tuple[str, ...] = Field(
        description="Lines as difflib.unified_diff writes them; none where only ends of lines differ."
    )


class FieldChange(Fact):
    """A value that differs: as `text`, or as it is on the left and on the right."""

    path: str = Field(
        description="JSON pointer into the step, or into step 0 with tools and agents by name. Places in a "
        "list are those of the left one, of what was added those of the right one."
    )
    state: Literal["changed", "removed", "added"]
    left: JsonValue = None
    right: JsonValue = None
    text: TextDiff | None = Field(default=None, description="Instead of left and right, for two texts.")
    too_large: bool = Field(
        default=False,
        description="Too large to show or to compare by word: left and right are how their text, or JSON "
        "text, begins, or a reference by hash.",
    )


class EqualSteps(Fact):
    """A stretch of steps that are the same in both runs. `spans` say which seqs, of those that count."""

    state: Literal["equal"] = "equal"
    count: int = Field(description="How many they are; a tool call and its result are one.")
    left: tuple[Span, ...]
    right: tuple[Span, ...]


class DifferentStep(Fact):
    """A step that differs, or that only one run has. A tool call and its result are one `tool-call`."""

    state: Literal["changed", "removed", "added"]
    kind: str
    tool: str | None = None
    left: tuple[int, ...] = Field(description="Seqs in the left run: of the step, or of call and result.")
    right: tuple[int, ...] = Field(description="The same of the right run.")
    changes: tuple[FieldChange, ...]
    more_changes: bool = Field(default=False, description="There are more changes than these.")


Item = Annotated[EqualSteps | DifferentStep, Field(discriminator="state")]


class DiffPlace(Fact):
    """`item` is the place among the items; a seq is None where the run has nothing at that point."""

    item: int
    left_seq: int | None
    right_seq: int | None


class DiffCounts(Fact):
    """How many steps are so; a tool call and its result are one."""

    equal: int = 0
    changed: int = 0
    removed: int = 0
    added: int = 0


class RunTotals(Fact):
    """What the answers of the model and the calls of tools add up to, those that a replay has taken over
    from its source among them; None where it is not known. As a difference: right minus left."""

    steps: int = Field(description="All steps of the log, also those that are not compared.")
    rounds: int
    model_calls: int
    tool_calls: int
    usage: dict[str, int]
    total_tokens: int
    model_latency_ms: int = Field(description="Sum over the calls of the model.")
    duration_ms: int | None = Field(description="From the first claim to the end, by the clock.")
    cost_usd: Usd | None


class DiffSide(Fact):
    """One of the two runs."""

    run_id: RunId
    status: RunStatus
    totals: RunTotals


class RunDiff(Fact):
    """How the right run differs from the left one."""

    equal: bool = Field(description="The same setup and the same conversation, whatever they cost.")
    complete: bool = Field(description="Both runs have ended; else they are compared as they are so far.")
    left: DiffSide
    right: DiffSide
    delta: RunTotals
    setup: tuple[FieldChange, ...] = Field(description="Of step 0; the prompt only while no step repeats it.")
    more_setup: bool = Field(default=False, description="There are more changes of step 0 than these.")
    first_difference: DiffPlace | None
    counts: DiffCounts
    items: tuple[Item, ...]
