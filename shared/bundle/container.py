"""The file around the entries: a zip in which nothing depends on when or where it was made, and the reading
of one that anybody may have made, within bounds of number and size."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

from shared.bundle.faults import BundleFault
from shared.bundle.manifest import BODY, CHARGES, MANIFEST, SIGNATURE, STEP_HASHES, STEPS

FILE: Final = "the file"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
MOST_ENTRIES: Final = 5000
MOST_PER_ENTRY: Final = 512
"""Bytes that the directory of the zip has for an entry; one of a bundle has 117 at the most."""
NAMES: Final = re.compile(
    "|".join((*map(re.escape, (MANIFEST, SIGNATURE, STEPS, STEP_HASHES, CHARGES)), BODY.pattern))
)
_END: Final = struct.Struct("<4s4H2LH")
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, RuntimeError, NotImplementedError, OverflowError),
)
"""What the zip library raises for bytes that are no zip."""


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Equal entries in the same order make equal files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o600 << 16
            archive.writestr(info, data)
    return target.getvalue()


class Archive:
    """The entries of a file. Raises BundleFault for what is no zip, or none of this format."""

    def __init__(self, data: bytes) -> None:
        _check_end(data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _BROKEN as error:
            raise BundleFault(FILE, f"it is damaged: {str(error)[:200]}") from None
        self.names: set[str] = set()
        for info in self._zip.infolist():
            _check_name(info.filename, self.names)
            # Other methods are unpacked in pieces of any size.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BundleFault(info.filename, "it is neither stored nor deflated")
            self.names.add(info.filename)

    def read(self, name: str, most: int) -> bytes:
        """An entry of at most so many bytes; more are never unpacked. Raises BundleFault."""
        if name not in self.names:
            raise BundleFault(name, "it is missing")
        try:
            with self._zip.open(name) as entry:
                data = entry.read(most + 1)
        except _BROKEN as error:
            raise BundleFault(name, f"it is damaged: {str(error)[:200]}") from None
        if len(data) > most:
            raise BundleFault(name, f"it has more than {most} bytes")
        return data


def _check_end(data: bytes) -> None:
    """Before the library reads the directory: it would take as many entries as there are bytes for."""
    if len(data) < _END.size or data[-_END.size :][:4] != b"PK\x05\x06":
        raise BundleFault(FILE, "its end is missing: it is cut off, or no bundle at all")
    _, _, _, _, entries, size, start, _ = _END.unpack(data[-_END.size :])
    if entries > MOST_ENTRIES or size > entries * MOST_PER_ENTRY:
        raise BundleFault(FILE, "it has more entries, or longer names of them, than a bundle may have")
    if start + size + _END.size != len(data):
        raise BundleFault(FILE, "there is something in it that belongs to no entry, or a part is missing")


def _check_name(name: str, known: set[str]) -> None:
    if not NAMES.fullmatch(name):
        raise BundleFault(f"{name[:80]!r}", "no entry of a bundle has this name")
    if name in known:
        raise BundleFault(name, "it stands there twice")
