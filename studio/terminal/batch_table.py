"""What came of a batch, one row."""

from rich.table import Table
from rich.text import Text

from shared.steps import RunStatus
from studio.client.models import Batch
from studio.terminal.amounts import sum_cost
from studio.terminal.step_text import STATUS_STYLES
from studio.terminal.text import one_line

LONGEST = 40


def batch_table(batch: Batch) -> Table:
    """Every status that a run of the batch has, refused lines, tokens and cost."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("batch", no_wrap=True)
    cells: list[Text | str] = [one_line(batch.name or batch.batch_id, LONGEST)]

    def add(title: str, cell: Text | str) -> None:
        table.add_column(title, justify="right", no_wrap=True)
        cells.append(cell)

    for status in RunStatus:
        count = batch.runs.get(status, 0)
        if count or status is RunStatus.COMPLETED:
            add(status, Text(f"{count:,}", STATUS_STYLES[status]))
    if refused := (batch.size or 0) - batch.accepted:
        add("refused", Text(f"{refused:,}", "red"))
    if batch.deleted:
        add("deleted", f"{batch.deleted:,}")
    add("tokens", f"{batch.total_tokens:,}")
    add("USD", sum_cost(batch.total_cost_usd, batch.unpriced))
    table.add_row(*cells)
    return table
