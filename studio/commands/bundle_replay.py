"""A run that is a file, replayed without a server: the signature and every hash first, then the runner's own
code on the recorded answers, in a process that gets the run and nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.text import Text

from shared.bundle.faults import BundleFault
from shared.bundle.manifest import Manifest
from shared.bundle.reading import Bundle, read
from shared.bundle.signing import fingerprint
from shared.steps import Divergence
from studio.client.errors import StudioError
from studio.commands.bundling import file_content
from studio.commands.connection import FAILED, tell
from studio.commands.replay_end import look
from studio.stack.environment import BASE
from studio.stack.errors import StackError
from studio.stack.project import PROJECT, check_project
from studio.terminal.divergence import divergence_lines
from studio.terminal.output import notices, results, write_json
from studio.terminal.text import one_line, plain

TAMPERED: Final = 2
REHEARSAL: Final = "services.runner.rehearsal"
PATIENCE_S: Final = 600.0


class NotRehearsed(StudioError):
    """The run could not be played; the message says why."""


class Rehearsed(BaseModel):
    """How the play went."""

    equal: bool
    steps: int
    model_calls: int
    divergence: Divergence | None = None


class Replayed(Rehearsed):
    """The same for programs, with whose run it is."""

    run_id: str
    signer: str
    redacted: bool


def replay_file(file: Path, *, signer: str | None = None, as_json: bool = False) -> int:
    """Verify and replay the bundle. The exit code: 0 equal, 1 it parts or could not be played, 2 it was
    tampered with.

    `signer` is the fingerprint of the key that must have signed it; without it any key may have.
    """
    try:
        bundle = read(file_content(file))
        _check_signer(bundle.manifest, signer)
    except BundleFault as fault:
        notices().print(Text(plain(f"{file} is not what was signed, or no bundle: {fault}"), "red"))
        return TAMPERED
    except StudioError as error:
        tell(error)
        return FAILED
    try:
        found = _rehearsed(bundle)
    except (NotRehearsed, StackError) as error:
        notices().print(Text(plain(str(error)), "red"))
        return FAILED
    _tell(bundle.manifest, found, as_json=as_json)
    return 0 if found.equal else FAILED


def _check_signer(manifest: Manifest, signer: str | None) -> None:
    made_by = fingerprint(manifest.public_key)
    if signer is not None and signer != made_by:
        raise BundleFault("manifest.json", f"it is signed by {made_by}, not by {one_line(signer, 40)}")


def _rehearsed(bundle: Bundle) -> Rehearsed:
    """Raises NotRehearsed, and StackError where the runner's code is not installed."""
    check_project()
    given = json.dumps({"steps": list(bundle.contents.whole_steps())})
    environment = {name: os.environ[name] for name in BASE if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", REHEARSAL],
            input=given.encode(),
            capture_output=True,
            cwd=PROJECT,
            env=environment,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotRehearsed(f"the run was not played within {PATIENCE_S:g} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NotRehearsed(f"the run could not be played: {one_line(said, 300)}")
    try:
        return Rehearsed.model_validate_json(done.stdout)
    except ValidationError as error:
        raise NotRehearsed("the run was played, and nothing that can be read was said of it") from error


def _tell(manifest: Manifest, found: Rehearsed, *, as_json: bool) -> None:
    made_by = fingerprint(manifest.public_key)
    if as_json:
        whose = {"run_id": manifest.run_id, "signer": made_by, "redacted": manifest.redactions is not None}
        write_json(Replayed(**found.model_dump(), **whose))
        return
    console = results()
    console.print(Text(f"run {manifest.run_id}  {manifest.status}  {manifest.steps} steps", "bold"))
    console.print(Text(f"signed by {made_by}, and as it was signed", "green"))
    if manifest.redactions is not None:
        console.print(Text(_of_redactions(manifest), "yellow"))
    _tell_outcome(console, found)


def _of_redactions(manifest: Manifest) -> str:
    said = "parts of it were cut out before"
    if (proof := manifest.proof) is not None:
        said += f"; of the whole, {proof.as_recorded} of {proof.model_calls} calls of the model were proved"
    return said


def _tell_outcome(console: Console, found: Rehearsed) -> None:
    played = f"{found.steps} steps and {found.model_calls} requests to the model"
    if found.divergence is None:
        console.print(Text(f"equal: {played} are made again just as they were recorded", "green"))
        return
    console.print(*divergence_lines(found.divergence, look(console)), sep="\n")
