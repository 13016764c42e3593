"""Asking the demo's prompts, one after the other, each shown as it happens."""

from uuid import uuid4

from rich.console import Console
from rich.text import Text

from shared.steps import ApprovalRequested
from studio.client.models import Run
from studio.commands.running import follow
from studio.demo.advice import advice
from studio.demo.approval import TOOL, Attended, keep_agent
from studio.demo.prompts import Prompt, prompts
from studio.stack.state import StackState
from studio.terminal.output import notices
from studio.terminal.text import plain


def ask_all(studio: Attended, state: StackState, console: Console) -> list[Run]:
    """Up to the first prompt that fails for a reason for which the others would fail, too."""
    asked, runs = prompts(state.provider), list[Run]()
    session_id = f"demo-{uuid4().hex[:8]}"  # of its own, so that each demo says the same
    for number, prompt in enumerate(asked, 1):
        says = Text.assemble((f"{number}/{len(asked)}", "cyan"), "  ", (prompt.text, "bold"))
        console.print(Text(), says, Text(f"     {prompt.shows}"), sep="\n")
        runs.append(_ask(studio, prompt, session_id, console))
        if tip := advice(runs[-1].error, state.provider, state.provider_url):
            notices().print(Text(f"\n{plain(tip)}", "red"), soft_wrap=True)
            break
    return runs


def _ask(studio: Attended, prompt: Prompt, session_id: str, console: Console) -> Run:
    if prompt.agent is not None:
        keep_agent(studio)
    run_id = studio.create(prompt.text, agent=prompt.agent, session_id=session_id, group="demo").run_id
    if prompt.agent is not None:
        console.print(Text("     the demo takes that person's place"))
    console.print()
    run = follow(studio, run_id, console)
    if prompt.agent is not None and not any(isinstance(step, ApprovalRequested) for step in run.steps):
        console.print(Text(f"The model did not call {TOOL}, so there was nothing to allow.", "yellow"))
    return run
