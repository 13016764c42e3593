"""The command that makes an API key and puts it into a file; made for the set-up of a stack.

`python -m services.gateway.keys --project default --name embedded --key-file FILE` leaves a file alone
that holds a valid key of the project, so it may run at every start.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.gateway.credentials import Credential
from services.gateway.keys import Keys
from shared.database import Database
from shared.errors import StudioError
from shared.steps import Project


class KeySettings(BaseSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: str = Field(description="postgresql://user:password@host:port/database")
    api_key_pepper: SecretStr = Field(min_length=16)


def ensure_key_file(settings: KeySettings, project: str, name: str, file: Path) -> bool:
    """Put a new key into the file unless it holds a valid one; whether it did. May raise Unavailable."""
    held = file.read_text().strip() if file.exists() else ""
    credential = asyncio.run(_new_key(settings, project, name, held))
    if credential is None:
        file.chmod(0o600)
        return False
    write_private(file, credential.text + "\n")
    return True


async def _new_key(settings: KeySettings, project: str, name: str, held: str) -> Credential | None:
    database = Database(settings.database_url, size=1, name="keys")
    keys = Keys(database, settings.api_key_pepper.get_secret_value())
    try:
        return None if await keys.is_valid(held, project) else await keys.make(project, name)
    finally:
        await database.close()


def write_private(file: Path, text: str) -> None:
    """Replace the file in one act; nobody but the owner can ever read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 with a line on stderr that says why."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.keys", description="Make an API key.")
    parser.add_argument("--project", required=True, help="the project that the key opens")
    parser.add_argument("--name", required=True, help="what the key is for, shown wherever it is listed")
    parser.add_argument("--key-file", required=True, type=Path, help="written with mode 0600")
    options = parser.parse_args(arguments)
    try:
        TypeAdapter(Project).validate_python(options.project)
    except ValidationError:
        parser.error("--project must be lower-case letters, digits, - and _, at most 63, no - or _ first")
    try:
        made = ensure_key_file(KeySettings(), options.project, options.name, options.key_file)
    except ValidationError as error:
        missing = ", ".join(str(problem["loc"][0]).upper() for problem in error.errors(include_input=False))
        print(f"these settings are missing or wrong: {missing}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    except (StudioError, OSError) as error:
        print(f"no key was made: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    print(f"{'made a key in' if made else 'there is a valid key in'} {options.key_file}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
