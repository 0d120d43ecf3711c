"""The secret from which new UIDs, pseudonyms and shifts of dates follow; they are the same in every run."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from voxgraft.plugin import UsageError, read_bytes

_FIRST = "voxgraft-deidentify-key-1 "
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of 32 bytes; it is never shown."""

    secret: bytes = field(repr=False)

    def uid(self, original: str) -> str:
        """The new UID of an old one: 2.25 and 128 bits of an HMAC-SHA256 (PS3.5, B.2)."""
        return f"2.25.{int.from_bytes(self._hash('uid', original)[:16])}"

    def name(self, patient: str) -> str:
        """The pseudonym of a patient."""
        return f"P{self._hash('patient', patient)[:8].hex().upper()}"

    def days(self, patient: str, largest: int) -> int:
        """By how many days the dates of a patient are shifted: within ±largest, never 0."""
        step = int.from_bytes(self._hash("days", patient)[:8]) % (2 * largest) - largest
        return step if step < 0 else step + 1

    def mark(self, *parts: object) -> str:
        """A short name for a thing that only the holder of the key can connect with it."""
        return self._hash("mark", "\0".join(map(str, parts)))[:8].hex()

    def _hash(self, use: str, text: str) -> bytes:
        return hmac.digest(self.secret, f"{use}:{text}".encode("utf-8", "surrogateescape"), "sha256")


def random_key() -> Key:
    """A key for one run, kept nowhere."""
    return Key(secrets.token_bytes(_BYTES))


def read_key(path: Path, *, new: bool) -> Key:
    """The key in a file; with `new` the file is made, for its owner's eyes only.

    Raises:
        UsageError: There is no such key, it is not a key file, others may read it, or a new one would replace it.
    """
    return _made(path) if new else _read(path)


def _made(path: Path) -> Key:
    key = random_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path}: already exists; leave --new-key out to use it, or choose another file") from None
    except OSError as error:
        raise UsageError(f"{path}: the key cannot be written: {error.strerror or error}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{_FIRST}{key.secret.hex()}\n")
    return key


def _read(path: Path) -> Key:
    try:
        text = read_bytes(path, 1 << 10).decode("ascii")
        others = path.stat().st_mode & 0o077
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such key; --new-key makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not a VoxGraft key file ({type(error).__name__})") from error
    found = re.fullmatch(rf"{re.escape(_FIRST)}([0-9a-f]{{{2 * _BYTES}}})\s*", text)
    if found is None:
        raise UsageError(f"{path}: is not a VoxGraft key file; --new-key makes one in a new file")
    if os.name == "posix" and others:
        raise UsageError(
            f"{path}: anyone on this machine could read this key; `chmod 600` it, and consider making a new one"
        )
    return Key(bytes.fromhex(found[1]))
