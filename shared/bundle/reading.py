"""Reading a bundle that anybody may have made: nothing of it is believed before it is held against the
manifest, whose signature is checked first. A fault names the entry, and of the steps which one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.bundle.container import FILE, Archive
from shared.bundle.contents import Contents, sha256_of
from shared.bundle.faults import BundleFault
from shared.bundle.log_check import check_log
from shared.bundle.manifest import (
    BODY,
    CHARGES,
    MANIFEST,
    SIGNATURE,
    STEP_HASHES,
    STEPS,
    Manifest,
    charges,
    first_error,
    parsed,
    read_manifest,
)
from shared.bundle.signing import is_signed

MIB: Final = 1024 * 1024
MOST_BYTES: Final = 256 * MIB
"""Of all entries, unpacked, unless the reader wants less."""
MOST_OF_MANIFEST: Final = 8 * MIB
MOST_OF_SIGNATURE: Final = 200
ALWAYS: Final = frozenset({STEPS, STEP_HASHES, CHARGES})


@dataclass(frozen=True)
class Bundle:
    """A bundle that is what its signer made. `sha256` is that of its manifest, and so names all of it."""

    manifest: Manifest
    contents: Contents
    sha256: str


def read(data: bytes, *, most_bytes: int = MOST_BYTES) -> Bundle:
    """Raises BundleFault. Who the signer is, and whether to believe them, is for the caller to ask."""
    archive = Archive(data)
    text = archive.read(MANIFEST, MOST_OF_MANIFEST)
    manifest = read_manifest(text)
    _check_signature(manifest, text, archive.read(SIGNATURE, MOST_OF_SIGNATURE))
    _check_names(archive.names, manifest, most_bytes)
    entries = {name: _entry(archive, name, manifest, most_bytes) for name in sorted(manifest.entries)}
    contents = Contents(
        steps=tuple(entries[STEPS].split(b"\n")[:-1]),
        bodies={found[1]: entries[name] for name in entries if (found := BODY.fullmatch(name))},
        charges=entries[CHARGES],
    )
    _check_bodies(contents.bodies)
    check_log(manifest, contents)
    _check_charges(contents.charges)
    return Bundle(manifest, contents, sha256_of(text))


def _check_signature(manifest: Manifest, text: bytes, signature: bytes) -> None:
    try:
        fits = is_signed(manifest.public_key, text, signature)
    except ValueError as error:
        raise BundleFault(MANIFEST, f"public_key: {error}") from None
    if not fits:
        raise BundleFault(
            MANIFEST, "the signature does not fit: it, or the signature, was changed after signing"
        )


def _check_names(names: set[str], manifest: Manifest, most_bytes: int) -> None:
    listed = manifest.entries.keys()
    if lacking := sorted((ALWAYS | listed) - names):
        raise BundleFault(lacking[0], "it is missing")
    if unlisted := sorted(names - listed - {MANIFEST, SIGNATURE}):
        raise BundleFault(unlisted[0], "the manifest does not list it: it was added after signing")
    if (size := sum(entry.size for entry in manifest.entries.values())) > most_bytes:
        raise BundleFault(FILE, f"unpacked it has {size} bytes; at most {most_bytes} are read")


def _entry(archive: Archive, name: str, manifest: Manifest, most_bytes: int) -> bytes:
    signed = manifest.entries[name]
    # All of the steps, though they are more than were signed: the one that was added is to be named.
    data = archive.read(name, most_bytes if name == STEPS else signed.size)
    if sha256_of(data) == signed.sha256:
        return data
    if name == STEPS:
        hashes = archive.read(STEP_HASHES, manifest.entries[STEP_HASHES].size)
        if sha256_of(hashes) == manifest.entries[STEP_HASHES].sha256:
            raise _wrong_step(data.split(b"\n")[:-1], hashes.decode().split())
    raise BundleFault(name, "content does not match its hash")


def _wrong_step(steps: Sequence[bytes], signed: Sequence[str]) -> BundleFault:
    """Which of the steps is not the one that was signed."""
    found = [sha256_of(step) for step in steps]
    pairs = enumerate(zip(found, signed, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(found), len(signed)))
    where = f"{STEPS}, step {place}"
    if place == len(found) or found[place:] == signed[place + 1 :]:
        return BundleFault(where, "it is missing")
    if place == len(signed) or found[place + 1 :] == signed[place:]:
        return BundleFault(where, "it was added after signing")
    if found[place] in signed:
        return BundleFault(where, f"step {signed.index(found[place])} stands in its place")
    return BundleFault(where, "content does not match its hash")


def _check_bodies(bodies: Mapping[str, bytes]) -> None:
    for name, text in bodies.items():
        if sha256_of(text) != name:
            raise BundleFault(f"bodies/{name}", "its name is not the hash of its content")
        parsed(f"bodies/{name}", text)


def _check_charges(text: bytes) -> None:
    try:
        charges.validate_json(text)
    except ValidationError as error:
        raise BundleFault(CHARGES, first_error(error)) from None
