"""`studio batch`: its arguments. What it does is in `batching.py`.

Exit codes: 0 every run completed (with --no-wait: was accepted); 1 one did not, or it could not be done;
2 wrong arguments; 130 interrupted, while the batch goes on.
"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def batch(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="One prompt a line, or one JSON object a line; `-` is standard input."
        ),
    ],
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="The agent.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model.", show_default=False)] = None,
    group: Annotated[
        str | None, typer.Option(metavar="LABEL", help="A label to find the runs by.", show_default=False)
    ] = None,
    max_rounds: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Most answers that ask for tools.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call the batch.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Go on with the batch of this idempotency key instead of starting one.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each run, and at the end the batch.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the batch, or only start it.")
    ] = True,
) -> None:
    """Run many prompts, up to 10,000, and show how far they are."""
    from studio.client.options import RunOptions
    from studio.commands.batching import BatchCommand, run_batch

    defaults = RunOptions(agent=agent, model=model, group=group, max_rounds=max_rounds)
    raise typer.Exit(run_batch(BatchCommand(file, defaults, name, key, as_json=as_json, wait=wait)))
