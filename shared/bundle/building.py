"""Writing a bundle."""

import json

from shared.bundle.container import pack
from shared.bundle.contents import Contents, sha256_of
from shared.bundle.manifest import MANIFEST, SIGNATURE, Entry, Manifest, Proof, Redactions
from shared.bundle.signing import SigningKey
from shared.run_state import fold
from shared.step_codec import decode_step


def build(
    contents: Contents,
    key: SigningKey,
    *,
    code_version: str,
    redactions: Redactions | None = None,
    proof: Proof | None = None,
) -> bytes:
    """The file of a finished run. Raises LogGap and Undecodable for what is no log."""
    steps = [decode_step(json.loads(text)) for text in contents.steps]
    entries = contents.entries()
    manifest = Manifest(
        run_id=steps[0].run_id,
        project=steps[0].project,
        status=fold(steps).status,
        finished_at=steps[-1].at,
        code_version=code_version,
        steps=len(steps),
        entries={name: Entry(sha256=sha256_of(data), size=len(data)) for name, data in entries.items()},
        redactions=redactions,
        proof=proof,
        public_key=key.public,
    )
    text = manifest.model_dump_json(indent=2).encode() + b"\n"
    return pack({MANIFEST: text, SIGNATURE: key.sign(text), **entries})
