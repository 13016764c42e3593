"""`studio demo`: its arguments. What it does is in `studio.demo`, loaded when it is called.

Exit codes: 0 every run completed; 1 one did not, or the stack could not be started; 130 interrupted
before the end.
"""

from typing import Annotated

import typer

from studio.commands.folder import DEFAULT, Folder

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything and end after the last run.")] = False,
    folder: Folder = DEFAULT,
) -> None:
    """Start the stack, run four prompts and show each step as it happens."""
    from studio.demo.show import run_demo

    raise typer.Exit(run_demo(folder, once=once))
