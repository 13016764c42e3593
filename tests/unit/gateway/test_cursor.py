"""The opaque place in a list."""

from base64 import urlsafe_b64encode
from contextlib import suppress
from uuid import UUID

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.problems import Problem


def test_a_cursor_leads_back_to_its_run() -> None:
    run_id = str(uuid_utils.uuid7())
    assert decode_cursor(encode_cursor(run_id)) == UUID(run_id)


@given(
    st.text(max_size=60) | st.binary(min_size=17, max_size=17).map(lambda b: urlsafe_b64encode(b).decode())
)
def test_only_what_was_made_here_is_a_cursor(text: str) -> None:
    place: UUID | None = None
    with suppress(Problem):
        place = decode_cursor(text)
    assert place is None or encode_cursor(str(place)) == text


@pytest.mark.parametrize("cursor", ["", "AQ", "a" * 24, "=" * 23])
def test_a_bad_cursor_is_answered_with_what_to_do(cursor: str) -> None:
    with pytest.raises(Problem, match="next_cursor of an earlier answer") as caught:
        decode_cursor(cursor)
    assert caught.value.kind.status == 422
    assert caught.value.errors[0].field == "cursor"
