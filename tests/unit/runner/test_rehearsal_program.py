"""The program that plays a run from its standard input: what it says of what is no run."""

import io
import json
from typing import Any

import pytest

from services.runner.rehearsal.__main__ import main
from shared.step_codec import encode_steps
from tests.support.run_samples import whole_run
from tests.support.steps import new_key


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"[]",
        b'{"steps": 7}',
        b'{"steps": [{"kind": 1}]}',
        b'{"steps":' + encode_steps(whole_run(new_key())[1:]) + b"}",
    ],
)
def test_what_is_no_run_is_told_in_words(
    given: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin: Any = io.TextIOWrapper(io.BytesIO(given))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main() == 2
    told = capsys.readouterr()
    assert told.err.startswith("this is no run that can be rehearsed: ")
    assert told.out == ""


def test_a_made_up_run_parts_where_its_requests_have_other_hashes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin: Any = io.TextIOWrapper(io.BytesIO(b'{"steps":' + encode_steps(whole_run(new_key())) + b"}"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main() == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["divergence"]["cause"]) == (False, "code-version")
