"""What the demo asks."""

from dataclasses import dataclass
from typing import Final

from studio.demo.approval import NAME

SIMULATOR: Final = "simulator"


@dataclass(frozen=True)
class Prompt:
    """`shows` says what to look at while it runs."""

    text: str
    shows: str
    agent: str | None = None


CALCULATION: Final = Prompt(
    "What is 5 + 10, then multiply by 3?", "the model calls the calculator, twice if it takes two steps"
)
FILES: Final = Prompt(
    'Write "every step is kept" to notes.txt, then read notes.txt. What is 144 / 12?',
    "two tools: files in a workspace of the run, and the calculator",
)
FAULTS: Final = Prompt(
    "What is 12 * 12? [[simulate: 429 x2]]",
    "the simulator refuses twice with HTTP 429; the runner waits and tries again",
)
PLAIN: Final = Prompt("What is 12 * 12?", "one more calculation")
APPROVAL: Final = Prompt(
    "Delete notes.txt.",
    "an agent whose calls a person must allow: until then the run waits, and no runner holds it",
    NAME,
)


def prompts(provider: str) -> tuple[Prompt, ...]:
    """Only the simulator can be told to fail; a real provider is asked plainly."""
    return (CALCULATION, FILES, FAULTS if provider == SIMULATOR else PLAIN, APPROVAL)
