"""`studio webhooks` and what stands behind it: the arguments. What is done is in `telling.py`.

Exit codes: 0 done; 1 it could not be done; 2 wrong arguments.
"""

from typing import Annotated

import typer

from studio.commands.group import Json, noun

app = typer.Typer()
webhooks = noun(app, "webhooks", "List the webhooks, or add, change, try and remove them.")

Hook = Annotated[
    str,
    typer.Argument(metavar="ID", help="The webhook's id, or a part of it as `studio webhooks` shows it."),
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="TYPE",
        help="Tell it of these only, such as run.failed; once for each.",
        show_default=False,
    ),
]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.", show_default=False)]


@webhooks.command("list")
def list_webhooks(as_json: Json = False) -> None:
    """List the webhooks, as `studio webhooks` alone does."""
    from studio.commands import telling

    telling.list_webhooks(as_json=as_json)


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted.")],
    event: Events = None,
    description: Description = None,
    as_json: Json = False,
) -> None:
    """Add a webhook and print its secret, this one time; without --event it is told of all events."""
    from studio.commands import telling

    telling.add_webhook(url, event, description or "", as_json=as_json)


@webhooks.command()
def change(
    webhook: Hook,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where events are posted.", show_default=False)
    ] = None,
    event: Events = None,
    description: Description = None,
) -> None:
    """Change a webhook; what is left out stays."""
    from studio.commands import telling

    telling.redirect_webhook(webhook, url, event, description)


@webhooks.command()
def on(webhook: Hook) -> None:
    """Tell a webhook of events again, from now on."""
    from studio.commands import telling

    telling.change_webhook(webhook, {"active": True})


@webhooks.command()
def off(webhook: Hook) -> None:
    """Tell a webhook nothing; no event is kept for it."""
    from studio.commands import telling

    telling.change_webhook(webhook, {"active": False})


@webhooks.command()
def test(webhook: Hook) -> None:
    """Send a webhook an event that is about no run, and say how it was answered."""
    from studio.commands import telling

    telling.test_webhook(webhook)


@webhooks.command()
def deliveries(
    webhook: Hook,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, delivered or failed.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="COUNT", min=1, help="Most deliveries to list.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List what a webhook was told, newest first, and how it answered."""
    from studio.commands import telling

    telling.list_deliveries(webhook, status, limit, as_json=as_json)


@webhooks.command()
def redeliver(
    webhook: Hook,
    delivery: Annotated[
        str, typer.Argument(metavar="DELIVERY", help="The delivery's id, or a part of it that only it has.")
    ],
) -> None:
    """Tell a webhook of an event once more, whatever became of it."""
    from studio.commands import telling

    telling.redeliver(webhook, delivery)


@webhooks.command()
def remove(webhook: Hook) -> None:
    """Take a webhook away, with the log of what it was told."""
    from studio.commands import telling

    telling.remove_webhook(webhook)
