"""Runs as signed files. The file of a run is written by `save_bundle` of the clients."""

from studio.client.bundle_models import BundleKey, ImportedBundle
from studio.client.calls.call import Call, once, path, reader

IMPORT_S = 120.0


def bundle_key() -> Call[BundleKey]:
    """The key that this deployment signs its bundles with."""
    return Call("GET", path("bundles", "key"), reader(BundleKey))


def import_bundle(file: bytes, *, idempotency_key: str | None = None) -> Call[ImportedBundle]:
    """Take in the run of a bundle; the same file is the same run.

    Raises Invalid, which names what is wrong with the file.
    """
    headers = once(idempotency_key)
    read = reader(ImportedBundle)
    return Call("POST", path("bundles"), read, file=file, headers=headers, patience_s=IMPORT_S)
