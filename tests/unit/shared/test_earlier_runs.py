"""What a run of a session was told of those before it."""

from datetime import timedelta

from shared.earlier_runs import as_told, began, said
from shared.steps import AgentResponse, RunFinished, RunRetried, RunStatus, Step
from tests.support.run_samples import whole_run
from tests.support.steps import AT, claimed, make, model_call, new_key

KEY = new_key()
ENDED = AT + timedelta(seconds=9)


def failed_and_retried() -> list[Step]:
    """Ended badly after nine seconds, and well after a minute."""
    first = whole_run(KEY, tools=1)
    bad = make(RunFinished, KEY, len(first) - 1, status=RunStatus.FAILED, at=ENDED)
    seq, later = len(first), AT + timedelta(minutes=1)
    return [
        *first[:-3],
        first[-2].model_copy(update={"seq": first[-3].seq}),
        bad.model_copy(update={"seq": first[-2].seq}),
        make(RunRetried, KEY, seq - 1, who="user", at=later),
        claimed(KEY, seq, attempt=2, at=later),
        make(AgentResponse, KEY, seq + 1, content="At last.", model_call=model_call(), at=later),
        make(RunFinished, KEY, seq + 2, status=RunStatus.COMPLETED, at=later),
    ]


def test_a_run_that_began_before_a_retry_was_not_told_what_came_of_it() -> None:
    assert said(as_told(failed_and_retried(), ENDED + timedelta(seconds=1))) == []


def test_a_run_that_began_after_it_was_told() -> None:
    for when in (AT + timedelta(minutes=2), None):
        assert said(as_told(failed_and_retried(), when))[-1]["content"] == "At last."


def test_clocks_that_differ_do_not_hide_the_only_end() -> None:
    run = whole_run(KEY, tools=1)
    assert as_told(run, AT).status is RunStatus.COMPLETED
    assert said(as_told(run, AT)) == said(as_told(run, None)) != []


def test_a_run_begins_with_its_first_claim() -> None:
    assert began(failed_and_retried()) == AT + timedelta(seconds=1)
    assert began(whole_run(KEY)[:1]) is None
