"""What goes over the wire besides the words: events, usage, ids, pace, vectors, the catalogue."""

import json
import math
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.completions import complete
from services.simulator.embeddings import DIMENSIONS, embed
from services.simulator.models import CATALOGUE, Model, find_model
from services.simulator.pace import MAX_ANSWER_S, pace_of
from services.simulator.routes.chat import read_asked
from services.simulator.sampling import Sampler, step_of
from services.simulator.streaming import frames, pieces
from services.simulator.tokens import count_tokens, cut_to_tokens
from services.simulator.usage import CACHE_BLOCK, weigh
from tests.unit.simulator.dialogue import CALCULATOR, DEMO


@settings(deadline=None)
@given(st.text(max_size=500))
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(min_value=0, max_value=80))
def test_a_cut_text_counts_at_most_the_limit(text: str, limit: int) -> None:
    cut = cut_to_tokens(text, limit)
    assert text.startswith(cut)
    assert count_tokens(cut) <= limit


def test_tokens_are_about_four_bytes() -> None:
    assert [count_tokens(text) for text in ("", "a", "abcd", "abcde", "é" * 4)] == [0, 1, 1, 2, 2]


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=1_295), st.integers())
def test_a_call_id_carries_its_step(step: int, seed: int) -> None:
    identifier = Sampler(b"x", 0.5, abs(seed)).call_id(step)
    assert len(identifier) == 9
    assert identifier.isalnum()
    assert step_of(identifier) == step


def test_foreign_ids_carry_no_step() -> None:
    assert [step_of(text) for text in ("", "call_1", "abcdefghi")] == [None, None, None]


def events(**parameters: Any) -> list[dict[str, Any]]:
    body = {
        "model": "mistral-large-latest",
        "messages": [{"role": "user", "content": DEMO}],
        "temperature": 0,
        **parameters,
    }
    completion = complete(read_asked(json.dumps(body).encode()))
    return [json.loads(frame.data.removeprefix(b"data: ")) for frame in frames(completion)]


def test_role_comes_first_and_usage_last() -> None:
    sent = events(tools=[CALCULATOR])
    assert sent[0]["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    ]
    assert ["usage" in event for event in sent] == [False] * (len(sent) - 1) + [True]


def test_tool_calls_come_whole_in_the_chunk_that_ends() -> None:
    last = events(tools=[CALCULATOR], messages=[{"role": "user", "content": "What is 1+2 and what is 3+4?"}])[
        -1
    ]
    choice = last["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [call["index"] for call in choice["delta"]["tool_calls"]] == [0, 1]


def test_several_answers_have_their_own_index() -> None:
    assert {event["choices"][0]["index"] for event in events(n=3)} == {0, 1, 2}


def test_a_first_request_has_nothing_cached_and_a_repeated_prefix_has() -> None:
    def prompt(*messages: dict[str, str]) -> tuple[int, int]:
        body = {"model": "mistral-large-latest", "messages": messages, "tools": [CALCULATOR]}
        weighed = weigh(
            (asked := read_asked(json.dumps(body).encode())).conversation, asked.request.tools or ()
        )
        return weighed.tokens, weighed.cached

    question = {"role": "user", "content": "word " * 200}
    first, cached = prompt(question)
    assert cached == 0
    grown, cached = prompt(
        question, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And?"}
    )
    assert grown > first
    assert cached == first // CACHE_BLOCK * CACHE_BLOCK


def test_larger_models_are_slower_and_the_scale_rules() -> None:
    large, small = find_model("mistral-large-latest"), find_model("mistral-small-latest")
    assert large is not None
    assert small is not None
    assert pace_of(large, 1, 100, None).first > pace_of(small, 1, 100, None).first
    assert pace_of(large, 1, 100, None).per_token > pace_of(small, 1, 100, None).per_token
    assert pace_of(large, 0, 100, None).instant
    assert pace_of(large, 0, 100, 2.0).per_token * 100 == pytest.approx(2.0)


def test_no_answer_takes_for_ever() -> None:
    model = find_model("mistral-large-latest")
    assert model is not None
    pace = pace_of(model, 100.0, 1_000_000, None)
    assert pace.first + pace.per_token * 1_000_000 == pytest.approx(MAX_ANSWER_S)


def cosine(left: str, right: str) -> float:
    return sum(a * b for a, b in zip(embed(left), embed(right), strict=True))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_vectors_have_length_1_and_follow_from_the_text(text: str) -> None:
    vector = embed(text)
    assert len(vector) == DIMENSIONS
    assert math.isclose(sum(v * v for v in vector), 1.0)
    assert vector == embed(text)


def test_similar_texts_are_nearer() -> None:
    near = cosine("The cat sat on the mat", "A cat is sitting on the mat")
    far = cosine("The cat sat on the mat", "Quarterly revenue grew strongly")
    assert near > 0.5 > far


def test_names_in_the_catalogue_are_unique() -> None:
    names = [name for model in CATALOGUE for name in model.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.id)
def test_every_model_has_a_price(model: Model) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=100)
    assert calc_price(usage, model_ref=model.id, provider_id="mistral").total_price > 0
