"""What is refused about bundles, and in which words."""

from typing import Final

from services.gateway.problems import (
    BUNDLE_INVALID,
    NOT_FOUND,
    NOT_SET_UP,
    RUN_ACTIVE,
    RUN_TOO_LARGE,
    FieldError,
    Problem,
    invalid,
)
from shared.bundle.faults import BundleFault
from shared.steps import RunStatus

SETTING: Final = "BUNDLE_TRUSTED_KEYS"


def at_fault(fault: BundleFault) -> Problem:
    """A 422 that names the entry."""
    told = str(fault)
    error = FieldError(field=fault.entry, message=told.removeprefix(f"{fault.entry}: "))
    return Problem(BUNDLE_INVALID, told, errors=[error])


def untrusted(signer: str) -> Problem:
    return at_fault(
        BundleFault(
            "manifest.json", f"it is signed by {signer}, which is not one of {SETTING}; add its key there"
        )
    )


def goes_on(status: RunStatus, run_id: str) -> Problem:
    return Problem(
        RUN_ACTIVE, f"the run is {status}; a bundle is made of a run that has ended", run_id=run_id
    )


def too_large(most_bytes: int, run_id: str) -> Problem:
    told = f"its steps and values have more than {most_bytes} bytes (BUNDLE_MAX_BYTES)"
    return Problem(RUN_TOO_LARGE, told, run_id=run_id)


def history_gone(earlier_id: str) -> Problem:
    told = f"what was said before it, in the run {earlier_id} of its session, was deleted"
    return Problem(NOT_FOUND, f"{told}; without that nobody can make the run's requests again")


def no_key() -> Problem:
    return Problem(NOT_SET_UP, "bundles are signed, and there is no key to sign with: set BUNDLE_SIGNING_KEY")


def unknown_part(part: str, known: str) -> Problem:
    return invalid("redact", f"unknown part {part[:40]!r}; there is {known}")
