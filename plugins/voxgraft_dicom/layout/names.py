"""Names of cases and patients that give nobody away."""

from __future__ import annotations

import hmac
from pathlib import Path

from voxgraft.plugin import DataError, fingerprint


class Naming:
    """Short names from fingerprints, keyed where there is a key.

    Raises:
        DataError: The file of the key cannot be read, or is too short to keep a secret.
    """

    def __init__(self, key: Path | None) -> None:
        self._key: bytes | None = None
        if key is not None:
            try:
                self._key = key.read_bytes().strip()
            except OSError as error:
                raise DataError(f"{key}: the key cannot be read: {error.strerror or error}") from error
            if len(self._key) < 16:
                raise DataError(f"{key}: the key has {len(self._key)} bytes; it needs at least 16")

    def of_mark(self, mark: str) -> str:
        """Ten letters for a fingerprint."""
        if self._key is None:
            return mark[:10]
        return hmac.new(self._key, mark.encode(), "sha256").hexdigest()[:10]

    def of(self, text: str) -> str:
        """Ten letters for a text."""
        return self.of_mark(fingerprint(text))
