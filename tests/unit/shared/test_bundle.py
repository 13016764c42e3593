"""Bundles: what was written is read again, and whatever is not what was signed is named."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundle.building import build
from shared.bundle.container import Archive, pack
from shared.bundle.contents import Contents, dumped, moved_out, sha256_of
from shared.bundle.faults import BundleFault
from shared.bundle.manifest import MANIFEST, SIGNATURE, Manifest
from shared.bundle.reading import read
from shared.bundle.signing import SigningKey, fingerprint, is_signed
from shared.run_state import fold
from shared.step_codec import encode_step
from shared.steps import AgentRef, RunDeleted, RunStatus, Step, UserRequest
from tests.support.bundles import KEY, OTHER_SEED, SEED, bundled, changed, contents_of, entries_of, zipped
from tests.support.run_samples import runs, unknown, whole_run
from tests.support.steps import AT, make, new_key, requested

FROZEN = Path(__file__).parents[2] / "contract" / "bundles"
LARGE = "a large value " * 6000


def with_large_prompt() -> Contents:
    """A run whose prompt is an entry of its own."""
    key, bodies = new_key(), dict[str, bytes]()
    reference = moved_out(LARGE, bodies)
    first, *others = whole_run(key)
    request = json.loads(encode_step(first)) | {"prompt": reference}
    said = json.loads(encode_step(others[1])) | {"content": reference}
    texts = (dumped(request), encode_step(others[0]), dumped(said), *map(encode_step, others[2:]))
    return Contents(
        texts,
        bodies,
        b'[{"step":3,"item":"model","model":"m","amount_usd":"0.1",'
        b'"price_source":"book","price_version":"1"}]',
    )


@pytest.fixture(scope="module")
def file() -> bytes:
    return build(with_large_prompt(), KEY, code_version="0.1.0")


def fault(file: bytes, **bounds: int) -> str:
    with pytest.raises(BundleFault) as raised:
        read(file, **bounds)
    told = str(raised.value)
    assert told.startswith(f"{raised.value.entry}: ")
    assert len(told) < 400
    return told


@given(runs(), st.sampled_from(["completed", "failed", "cancelled"]))
def test_what_is_built_is_read_again(steps: list[Step], end: str) -> None:
    finished = [*steps, _end(steps, end)] if not fold(steps).status.is_final else steps
    contents = contents_of(finished)
    bundle = read(build(contents, KEY, code_version="0.1.0"))
    assert bundle.contents == contents
    assert (bundle.manifest.run_id, bundle.manifest.steps) == (steps[0].run_id, len(finished))
    assert bundle.manifest.status is fold(finished).status


def _end(steps: list[Step], status: str) -> Step:
    last = whole_run(new_key())[-1]
    return last.model_copy(update={"run_id": steps[0].run_id, "seq": len(steps), "status": RunStatus(status)})


def test_large_values_are_entries_of_their_own_and_come_back(file: bytes) -> None:
    bundle = read(file)
    assert bundle.contents == with_large_prompt_of(bundle.contents)
    request = next(bundle.contents.whole_steps())
    assert isinstance(request, dict)
    assert request["prompt"] == LARGE
    assert f"bodies/{sha256_of(dumped(LARGE))}" in entries_of(file)


def with_large_prompt_of(contents: Contents) -> Contents:
    return Contents(contents.steps, {sha256_of(dumped(LARGE)): dumped(LARGE)}, contents.charges)


def test_the_same_run_is_the_same_file() -> None:
    steps = whole_run(new_key())
    assert bundled(steps) == bundled(steps)
    assert bundled(steps) != bundled(steps, SigningKey(OTHER_SEED))


def test_a_key_signs_what_its_public_half_can_check() -> None:
    assert KEY.public == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    assert fingerprint(KEY.public) == "56475aa75463474c"
    signature = KEY.sign(b"text")
    assert is_signed(KEY.public, b"text", signature)
    assert not is_signed(KEY.public, b"Text", signature)
    assert not is_signed(SigningKey(OTHER_SEED).public, b"text", signature)
    for wrong in ("", SEED[:-4], SEED + "AAAA", "no base64", f"{SEED}\n\n"):
        with pytest.raises(ValueError, match="32 bytes"):
            SigningKey(wrong)


@pytest.mark.parametrize("path", sorted(FROZEN.glob("*.studio")), ids=lambda path: path.stem)
def test_a_bundle_of_an_earlier_version_can_be_read_for_ever(path: Path) -> None:
    known = json.loads(path.with_suffix(".json").read_text())
    bundle = read(path.read_bytes())
    assert json.loads(bundle.manifest.model_dump_json(include=set(known))) == known
    assert [json.loads(step)["seq"] for step in bundle.contents.steps] == list(range(known["steps"]))


def test_there_is_a_frozen_bundle() -> None:
    assert len(list(FROZEN.glob("*.studio"))) >= 1


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without(place: int) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(line for n, line in enumerate(data.splitlines(True)) if n != place)


def twice(place: int) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(line * (1 + (n == place)) for n, line in enumerate(data.splitlines(True)))


def swapped(data: bytes) -> bytes:
    lines = data.splitlines(True)
    return b"".join([*lines[:3], lines[4], lines[3], *lines[5:]])


def reworded(data: bytes) -> bytes:
    lines = data.splitlines(True)
    return b"".join([*lines[:7], lines[7].replace(b'"call', b'"cell'), *lines[8:]])


BODY = f"bodies/{sha256_of(dumped(LARGE))}"
STEPS_TAMPERED = {
    "one step": (reworded, "steps.jsonl, step 7: content does not match its hash"),
    "drop": (without(4), "steps.jsonl, step 4: it is missing"),
    "drop the last": (without(11), "steps.jsonl, step 11: it is missing"),
    "add": (twice(5), "steps.jsonl, step 6: it was added after signing"),
    "reorder": (swapped, "steps.jsonl, step 3: step 4 stands in its place"),
    "cut": (lambda data: data[:-30], "steps.jsonl, step 11: it is missing"),
}


@pytest.mark.parametrize("how", STEPS_TAMPERED)
def test_the_step_that_was_tampered_with_is_named(file: bytes, how: str) -> None:
    change, told = STEPS_TAMPERED[how]
    assert fault(changed(file, "steps.jsonl", change)) == told


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, "steps.jsonl", "steps.sha256", "charges.json", BODY])
def test_a_byte_that_is_another_is_found_in_every_entry(file: bytes, name: str) -> None:
    assert fault(changed(file, name, flipped)).startswith(MANIFEST if name == SIGNATURE else name)
    assert fault(changed(file, name, lambda _: None)) == f"{name}: it is missing"


def test_every_byte_of_the_file_counts(file: bytes) -> None:
    """Flipped where it stands in the zip, without making a zip of it again."""
    whole = read(file)
    for place in range(0, len(file), 97):
        broken = file[:place] + bytes([file[place] ^ 0x10]) + file[place + 1 :]
        try:
            assert (
                read(broken).contents == whole.contents
            )  # a time or a right of the zip's, which say nothing
        except BundleFault:
            continue


@pytest.mark.parametrize("left", [0, 1, 21, 22, 1000, -1, -23])
def test_a_file_that_is_cut_off_says_so(file: bytes, left: int) -> None:
    assert fault(file[:left]).startswith("the file: its end is missing")


def test_an_entry_that_was_added_is_named(file: bytes) -> None:
    extra = f"bodies/{'0' * 64}"
    told = f"{extra}: the manifest does not list it: it was added after signing"
    assert fault(changed(file, extra, lambda _: b'"x"')) == told


def rewritten(file: bytes, name: str, change: Callable[[bytes], bytes], key: SigningKey | None) -> bytes:
    """The entry changed and its hash in the manifest too; signed by `key`, or as it was."""
    entries = entries_of(file)
    entries[name] = change(entries[name])
    manifest = json.loads(entries[MANIFEST])
    manifest["entries"][name] = {"sha256": sha256_of(entries[name]), "size": len(entries[name])}
    if key is not None:
        manifest["public_key"] = key.public
    entries[MANIFEST] = json.dumps(manifest).encode()
    if key is not None:
        entries[SIGNATURE] = key.sign(entries[MANIFEST])
    return pack(entries)


def test_an_entry_replaced_together_with_its_hash_breaks_the_signature(file: bytes) -> None:
    told = fault(rewritten(file, "steps.jsonl", reworded, None))
    assert (
        told == "manifest.json: the signature does not fit: it, or the signature, was changed after signing"
    )


def test_what_another_key_has_signed_is_anothers(file: bytes) -> None:
    other = SigningKey(OTHER_SEED)
    bundle = read(rewritten(file, "charges.json", lambda _: b"[]", other))
    assert bundle.manifest.public_key == other.public


SIGNED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "no json": (
        "steps.jsonl",
        lambda data: data.replace(b"{", b"[", 1),
        "steps.jsonl, step 0: it is not JSON",
    ),
    "deep": (
        "charges.json",
        lambda _: b"[" * 5000 + b"]" * 5000,
        "charges.json: the whole of it: Invalid JSON",
    ),
    "other run": (
        "steps.jsonl",
        lambda data: data.replace(b'"seq":5', b'"seq":6'),
        "steps.jsonl, step 5: it is of another run, or has another place in it",
    ),
    "no end": (
        "steps.jsonl",
        lambda data: data.replace(b"run-finished", b"run-tomorrow"),
        "steps.jsonl: the run is",
    ),
    "body": (BODY, lambda _: b'"other"', f"{BODY}: its name is not the hash of its content"),
    "nan": ("charges.json", lambda _: b"[NaN]", "charges.json: "),
}


def test_a_large_value_that_no_step_can_have_there_is_refused(file: bytes) -> None:
    entries = entries_of(file)
    number = b"7" * 3000
    name = f"bodies/{sha256_of(number)}"
    steps = entries["steps.jsonl"].replace(BODY.removeprefix("bodies/").encode(), sha256_of(number).encode())
    listed = json.loads(entries[MANIFEST])["entries"]
    del listed[BODY], entries[BODY]
    entries |= {"steps.jsonl": steps, name: number}
    listed |= {
        each: {"sha256": sha256_of(entries[each]), "size": len(entries[each])}
        for each in ("steps.jsonl", name)
    }
    assert fault(signed(pack(entries), entries=listed)).startswith(
        "steps.jsonl, step 0: run-requested.prompt"
    )


@pytest.mark.parametrize("how", SIGNED)
def test_what_is_signed_and_still_no_run_is_refused_with_words(file: bytes, how: str) -> None:
    name, change, told = SIGNED[how]
    assert fault(rewritten(file, name, change, KEY)).startswith(told)


def signed(file: bytes, **fields: Any) -> bytes:
    """What a hostile signer may write: any manifest, well signed."""
    packed = entries_of(file)
    text = json.dumps(json.loads(packed[MANIFEST]) | fields).encode()
    return pack({**packed, MANIFEST: text, SIGNATURE: KEY.sign(text)})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"format": "zip"}, "it does not say that it is of the format 'agentops-studio-run'"),
        ({"version": 2}, "it is of version 2 of the format; this code reads version 1"),
        ({"version": "x" * 9000}, "it is of version xxxxxxxxxxxxxxxxxxxx of the format"),
        ({"run_id": "../../etc"}, "run_id: "),
        ({"public_key": "AAAA"}, "public_key: a key is the base64 of 32 bytes"),
        ({"steps": 3}, "steps.jsonl: it has 12 steps; the manifest says 3"),
        ({"status": "failed"}, "steps.jsonl: the run is completed at the end; the manifest says failed"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    file: bytes, fields: dict[str, Any], told: str
) -> None:
    given = fault(signed(file, **fields))
    assert given.removeprefix(f"{MANIFEST}: ").startswith(told)


def test_a_deleted_run_and_one_that_names_others_for_its_history_are_no_bundles() -> None:
    key = new_key()
    steps = whole_run(key)
    deleted = [*steps, make(RunDeleted, key, len(steps), who="x", at=AT)]
    assert "a deleted one has no bundle" in fault(bundled(deleted))
    second = [steps[0], *([requested(key).model_copy(update={"seq": 1})]), *_moved(steps[1:])]
    assert "a run begins with its one request" in fault(bundled(second))
    history = requested(key, history=[{"run_id": new_key().run_id}])
    assert "history: it names an earlier run without its messages" in fault(bundled([history, *steps[1:]]))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "m" * 501}, "step 0: model: it has more than 500 characters"),
        ({"user_id": "u" * 501}, "step 0: user_id: it has more than 500 characters"),
        ({"agent": AgentRef(name="a" * 501)}, "step 0: agent: it has more than 500 characters"),
        ({"agent": AgentRef(name="a", version=2**31)}, "step 0: agent.version: no version has this number"),
    ],
)
def test_what_no_table_takes_is_refused(fields: dict[str, Any], told: str) -> None:
    steps = whole_run(new_key())
    assert told in fault(bundled([steps[0].model_copy(update=fields), *steps[1:]]))


@pytest.mark.parametrize("kind", ["x\r\nNats-Rollup: all", "x,run-deleted", "", "k" * 65, "Ärger"])
def test_a_kind_of_step_that_could_be_more_than_a_word_is_refused(kind: str) -> None:
    key = new_key()
    steps = whole_run(key)
    assert "step 12: kind: it is no word" in fault(
        bundled([*steps, unknown(key, 12).model_copy(update={"kind": kind})])
    )


def _moved(steps: list[Step]) -> list[Step]:
    return [step.model_copy(update={"seq": step.seq + 1}) for step in steps]


def test_a_step_that_points_nowhere_and_a_value_that_nobody_points_to_are_named() -> None:
    steps = whole_run(new_key())
    lost = {"$body": "1" * 64, "bytes": 70_000}
    request = dumped(json.loads(encode_step(steps[0])) | {"prompt": lost})
    texts = (request, *map(encode_step, steps[1:]))
    file = build(Contents(texts), KEY, code_version="0")
    assert fault(file) == f"bodies/{'1' * 64}: it is missing, and a step points to it"
    name = sha256_of(b"7")
    alone = build(contents_of(steps, {name: b"7"}), KEY, code_version="0")
    assert fault(alone) == f"bodies/{name}: no step points to it"


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "bodies/../manifest.json", "bodies/", "STEPS.JSONL", "a" * 300, "\x1b[2J"],
)
def test_a_name_that_leads_elsewhere_is_refused(file: bytes, name: str) -> None:
    told = fault(changed(file, name, lambda _: b"x"))
    assert told.endswith("no entry of a bundle has this name")
    assert "\x1b" not in told


def test_an_entry_that_stands_there_twice_is_refused(file: bytes) -> None:
    entries = list(entries_of(file).items())
    with pytest.warns(UserWarning, match="Duplicate name"):
        double = zipped([*entries, ("steps.jsonl", b"{}\n")])
    assert fault(double) == "steps.jsonl: it stands there twice"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflated_entries_are_unpacked(file: bytes, method: int) -> None:
    assert fault(zipped(entries_of(file).items(), method)).endswith("it is neither stored nor deflated")


def test_an_encrypted_entry_is_refused(file: bytes) -> None:
    local, central = file.find(b"PK\x03\x04"), file.find(b"PK\x01\x02")
    locked = bytearray(file)
    locked[local + 6] |= 1
    locked[central + 8] |= 1
    assert "encrypted" in fault(bytes(locked))


def test_a_bomb_is_not_unpacked_beyond_what_it_may_have(file: bytes) -> None:
    bomb = zipped([(MANIFEST, bytes(60_000_000))])
    assert len(bomb) < 100_000
    assert fault(bomb) == f"{MANIFEST}: it has more than {8 * 1024 * 1024} bytes"
    listed = json.loads(entries_of(file)[MANIFEST])["entries"]
    listed["charges.json"]["size"] = 10**12
    assert fault(signed(file, entries=listed)).startswith("the file: unpacked it has 10000")
    assert fault(file, most_bytes=1000).startswith("the file: unpacked it has")
    assert fault(changed(file, "charges.json", lambda _: bytes(10_000_000))).startswith(
        "charges.json: it has more"
    )


def test_more_entries_than_a_bundle_has_are_not_even_listed() -> None:
    count = 60_000
    name = b"a"
    entry = (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + name
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, count * len(entry), 0, 0)
    told = "the file: it has more entries, or longer names of them, than a bundle may have"
    assert fault(entry * count + end) == told
    understated = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, count * len(entry), 0, 0)
    assert fault(entry * count + understated) == told


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_words(data: bytes) -> None:
    fault(data)
    fault(data + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(data), 0, 0))


def test_the_zip_can_be_opened_by_any_other_program(file: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        manifest = Manifest.model_validate_json(archive.read(MANIFEST))
    assert manifest.entries.keys() == Archive(file).names - {MANIFEST, SIGNATURE}
    assert zlib.crc32(entries_of(file)["steps.jsonl"])


def test_an_unknown_kind_of_step_stays_as_it_is() -> None:
    key = new_key()
    steps = whole_run(key)
    foreign = make(UserRequest, key, len(steps), content="x").model_dump(mode="json") | {
        "kind": "of-tomorrow",
        "colour": "blue",
    }
    contents = Contents((*map(encode_step, steps), dumped(foreign)))
    assert read(build(contents, KEY, code_version="0")).contents == contents
