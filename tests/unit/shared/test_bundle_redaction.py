"""What is cut out of a run is in no byte of its file, and what is left still proves itself."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.calls import CheckedCall
from services.runner.model import ModelReply
from shared.bundle.building import build
from shared.bundle.contents import Contents, dumped, moved_out
from shared.bundle.faults import CannotRedact
from shared.bundle.manifest import Part
from shared.bundle.proof import prove_again
from shared.bundle.reading import Bundle, read
from shared.bundle.redaction import PARTS, Redaction
from shared.scrub import REDACTED
from shared.step_codec import encode_step
from shared.steps import (
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    Effect,
    HistoryPart,
    RunRequested,
    ToolCall,
    ToolSpec,
)
from tests.support.bundles import KEY, contents_of, rehearsed, steps_of
from tests.support.replays import Played, Stage
from tests.support.run_samples import whole_run
from tests.support.steps import call, make, new_key, only, requested, tool_spec

SECRET, CARD = "Rosalind", 4111111111111111
PATTERNS = ("Rosalind", r"\b4\d{15}\b")
PLACED = '{"note": "for \\u0052osalind", "card": 4111111111111111}'


async def told_to_rosalind() -> Played:
    """A recorded run that has the secret in all that was said."""
    reply = ModelReply(
        "mistral-large-latest",
        content="I place it for Rosalind.",
        reasoning="Rosalind wants it.",
        tool_calls=(call("place", PLACED, call_id="call00001"),),
    )
    earlier: list[Any] = [
        {"role": "user", "content": "I am Rosalind."},
        {"role": "assistant", "content": "Hello."},
    ]
    return await Stage().play(
        ["Hello.", reply, [call("pure", '{"value": 2}', call_id="call00002")], "Rosalind has it."],
        prompt="Rosalind: place an order.",
        instructions="You work for Rosalind.",
        metadata={"customer": "Rosalind", "Rosalind": 1, "card": CARD},
        user_id="Rosalind",
        history=(HistoryPart(run_id=new_key().run_id, messages=earlier),),
        tools=(ToolSpec(name="place", description="", parameters={}, source="http"), tool_spec("pure")),
    )


def redacted(contents: Contents, *patterns: str, parts: Sequence[Part] = ()) -> tuple[bytes, Bundle]:
    left, redactions, proof = Redaction(patterns, parts).apply(contents)
    file = build(left, KEY, code_version="0.1.0", redactions=redactions, proof=proof)
    return file, read(file)


def unpacked(file: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return b"\n".join(name.encode() + archive.read(name) for name in archive.namelist())


async def test_no_trace_of_a_secret_is_left_and_the_rest_is_as_a_run_of_today_would_be() -> None:
    played = await told_to_rosalind()
    contents = contents_of(played.steps)
    assert SECRET.encode() in unpacked(build(contents, KEY, code_version="0"))
    file, bundle = redacted(contents, *PATTERNS)
    for trace in (SECRET.encode(), b"osalind", str(CARD).encode()):
        assert trace not in unpacked(file)
        assert trace not in file
    proof = bundle.manifest.proof
    assert proof is not None
    assert (proof.model_calls, proof.as_recorded) == (3, 3)
    outcome = await rehearsed(steps_of(bundle))
    assert outcome.divergence is None
    assert (outcome.steps, outcome.model_calls) == (len(played.steps), 3)


async def test_the_manifest_says_how_much_was_cut_out_of_which_fields_but_not_by_what() -> None:
    file, bundle = redacted(contents_of((await told_to_rosalind()).steps), *PATTERNS)
    redactions = bundle.manifest.redactions
    assert redactions is not None
    counts = {each.step: each.fields for each in redactions.steps}
    assert (redactions.patterns, redactions.parts) == (2, ())
    assert counts[0] == {"history": 1, "instructions": 1, "metadata": 3, "prompt": 1, "user_id": 1}
    assert b"osalind" not in unpacked(file)
    thought = next(step for step in steps_of(bundle) if isinstance(step, AgentThought))
    assert counts[thought.seq] == {"content": 1, "reasoning": 1, "tool_calls": 2}


async def test_a_redacted_run_that_is_changed_afterwards_does_not_prove_itself() -> None:
    _, bundle = redacted(contents_of((await told_to_rosalind()).steps), *PATTERNS)
    steps = [
        step.model_copy(update={"instructions": "You work for me."})
        if isinstance(step, RunRequested)
        else step
        for step in steps_of(bundle)
    ]
    outcome = await rehearsed(steps)
    assert outcome.divergence is not None


async def test_a_call_that_was_not_as_recorded_is_not_made_to_look_so() -> None:
    steps = (await told_to_rosalind()).steps
    place = next(n for n, step in enumerate(steps) if isinstance(step, AgentThought))
    thought = steps[place]
    assert isinstance(thought, AgentThought)
    false = thought.model_call.model_copy(update={"request_hash": "0" * 64})
    steps[place] = thought.model_copy(update={"model_call": false})
    _, bundle = redacted(contents_of(steps), *PATTERNS)
    proof = bundle.manifest.proof
    assert proof is not None
    assert (proof.model_calls, proof.as_recorded) == (3, 2)
    assert only(steps_of(bundle), AgentThought)[0].model_call.request_hash == "0" * 64


async def test_large_values_are_cut_too_and_found_under_their_new_names() -> None:
    steps = (await told_to_rosalind()).steps
    bodies: dict[str, bytes] = {}
    long = f"{'x' * 70_000} Rosalind"
    first = json.loads(encode_step(steps[0])) | {"metadata": moved_out({"a": long}, bodies)}
    contents = Contents((dumped(first), *map(encode_step, steps[1:])), bodies)
    file, bundle = redacted(contents, *PATTERNS)
    assert SECRET.encode() not in unpacked(file)
    request = steps_of(bundle)[0]
    assert isinstance(request, RunRequested)
    assert request.metadata == {"a": f"{'x' * 70_000} {REDACTED}"}
    assert not bundle.contents.bodies.keys() & bodies.keys()


def test_arguments_are_cut_alike_as_the_model_wrote_them_and_as_they_were_read() -> None:
    key = new_key()
    steps = whole_run(key, tools=1)
    raw = '{"a": "\\u0052osalind", "a": "x", "n": 4111111111111111, "t": true}'
    steps[3] = steps[3].model_copy(update={"tool_calls": (call("calculator", raw, call_id="call00000"),)})
    steps[4] = steps[4].model_copy(update={"arguments": {"a": "x", "n": CARD, "t": True}})
    file, bundle = redacted(contents_of(steps), *PATTERNS)
    thought, intent = steps_of(bundle)[3:5]
    assert isinstance(thought, AgentThought)
    assert isinstance(intent, ToolCall)
    assert (
        json.loads(str(thought.tool_calls[0].arguments))
        == intent.arguments
        == {"a": "x", "n": REDACTED, "t": True}
    )
    assert str(CARD).encode() not in unpacked(file)
    for text in ("Rosalind, no JSON", '["Rosalind"]', '"Rosalind"', '{"a": "x", "a\\n": Rosalind}'):
        steps[3] = steps[3].model_copy(update={"tool_calls": (call("calculator", text),)})
        assert SECRET.encode() not in unpacked(redacted(contents_of(steps), *PATTERNS)[0])


async def test_a_decision_stays_bound_to_what_was_decided_about() -> None:
    key = new_key()
    arguments: dict[str, Any] = {"to": "Rosalind"}
    bound = CheckedCall("call00000", "send", arguments, Effect.IRREVERSIBLE).arguments_hash
    steps = whole_run(key, tools=0)
    about: dict[str, Any] = {"call_id": "call00000", "arguments_hash": bound}
    asked = make(ApprovalRequested, key, 3, tool="send", arguments=arguments, **about)
    said = make(ApprovalResolved, key, 4, decision="approved", who="key a (b)", **about)
    later = [step.model_copy(update={"seq": step.seq + 2}) for step in steps[3:]]
    _, bundle = redacted(contents_of([*steps[:3], asked, said, *later]), *PATTERNS)
    left = steps_of(bundle)
    hashes = {step.arguments_hash for step in left if isinstance(step, ApprovalRequested | ApprovalResolved)}
    assert hashes == {CheckedCall("", "send", {"to": REDACTED}, Effect.PURE).arguments_hash}


LEFT_OUT: dict[Part, tuple[str, bytes]] = {
    "metadata": ("metadata", b"customer"),
    "user": ("user_id", b"user-42"),
    "session": ("session_id", b"session-7"),
    "people": ("who", b"key of Ada"),
    "reasoning": ("reasoning", b"because of this"),
    "artifacts": ("artifacts", b"speech.mp3"),
}


@pytest.mark.parametrize("part", LEFT_OUT)
def test_a_part_is_left_out_whole_and_nothing_else_changes(part: Part) -> None:
    name, trace = LEFT_OUT[part]
    key = new_key()
    steps = whole_run(key, tools=1)
    fields = {"metadata": {"customer": 1}, "user_id": "user-42", "session_id": "session-7", "group": "g"}
    steps[0] = requested(key, **fields)
    steps[3] = steps[3].model_copy(update={"reasoning": "because of this"})
    file = {"name": "speech.mp3", "media_type": "audio/mpeg", "size": 1, "data": "eA=="}
    steps[5] = type(steps[5]).model_validate(steps[5].model_dump() | {"artifacts": [file]})
    about: dict[str, Any] = {"call_id": "c", "arguments_hash": "0" * 64}
    steps[6] = steps[6].model_copy(update={"reasoning": "because of this"})
    steps.insert(6, make(ApprovalResolved, key, 6, decision="denied", who="key of Ada", **about))
    steps[7:] = [step.model_copy(update={"seq": step.seq + 1}) for step in steps[7:]]
    contents = contents_of(steps)
    packed, bundle = redacted(contents, parts=[part])
    assert trace in unpacked(build(contents, KEY, code_version="0"))
    assert trace not in unpacked(packed)
    for before, after in zip(contents.steps, bundle.contents.steps, strict=True):
        ignored = dict.fromkeys(PARTS[part])
        assert json.loads(before) | ignored == json.loads(after) | ignored
        if name not in json.loads(before):
            assert before == after
    assert bundle.manifest.redactions is not None
    assert bundle.manifest.redactions.parts == (part,)
    assert bundle.manifest.proof is None


def test_what_nothing_is_cut_out_of_stays_byte_for_byte() -> None:
    contents = contents_of(whole_run(new_key()))
    left, redactions, _ = Redaction(("Rosalind",), ["artifacts"]).apply(contents)
    assert left == contents
    assert redactions.steps == ()
    assert not Redaction()


def test_a_pattern_that_takes_the_form_of_a_step_apart_is_refused_with_words() -> None:
    with pytest.raises(CannotRedact, match=r"step 4: a redaction pattern matches .*effect"):
        Redaction(("pure",)).apply(contents_of(whole_run(new_key())))


def test_a_run_with_too_much_to_prove_again_is_refused_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bundle.proof.MOST_HASHED", 500)
    with pytest.raises(CannotRedact, match="more than 500 characters"):
        Redaction(("Rosalind",)).apply(contents_of(whole_run(new_key())))


def test_a_name_of_a_model_goes_from_the_charges_too() -> None:
    charge: dict[str, Any] = {"step": 3, "item": "model", "model": "ours-for-Rosalind", "amount_usd": None}
    paid = dumped([charge | {"price_source": "book", "price_version": "1", "reason": "no price of Rosalind"}])
    contents = contents_of(whole_run(new_key()))
    file, bundle = redacted(Contents(contents.steps, {}, paid), *PATTERNS)
    assert SECRET.encode() not in unpacked(file)
    assert [each["model"] for each in json.loads(bundle.contents.charges)] == [f"ours-for-{REDACTED}"]


def test_ids_and_times_stay_whatever_a_pattern_looks_for() -> None:
    steps = whole_run(new_key())
    _, bundle = redacted(contents_of(steps), r"[0-9a-f]{8}", r"2026")
    assert [(step.run_id, step.at) for step in steps_of(bundle)] == [(step.run_id, step.at) for step in steps]


@given(st.text(alphabet='ab"\\\n\u00e9 {}:,[]1', min_size=1, max_size=30))
def test_a_secret_in_any_surroundings_goes(text: str) -> None:
    key = new_key()
    said = f"{text}Rosalind{text}"
    first, *others = whole_run(key, tools=0)
    steps = [first.model_copy(update={"prompt": said, "metadata": {said: [said]}}), *others]
    steps[2] = steps[2].model_copy(update={"content": said})
    file, bundle = redacted(contents_of(steps), "Rosalind")
    assert SECRET.encode() not in unpacked(file)
    assert json.loads(bundle.contents.steps[0])["prompt"] == said.replace(SECRET, REDACTED)


def test_a_proof_needs_the_steps_as_they_were() -> None:
    contents = contents_of(whole_run(new_key()))
    steps = [json.loads(text) for text in contents.steps]
    proof = prove_again(contents, steps, {})
    assert (proof.model_calls, proof.as_recorded) == (3, 0)  # made up, with hashes of nothing
