"""What the server answers about bundles."""

from studio.client.models import Answer


class BundleKey(Answer):
    """The key that a deployment signs with: raw Ed25519 in base64, and what people compare."""

    public_key: str
    fingerprint: str


class ImportedBundle(Answer):
    """The run that a bundle became. `signer` is a fingerprint, which the server knows if it is `trusted`; in
    `scrubbed_steps` the server's own rules of redaction changed something."""

    run_id: str
    status: str
    source_run_id: str
    bundle: str
    signer: str
    trusted: bool
    scrubbed_steps: int = 0
