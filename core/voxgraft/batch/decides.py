"""What decides the result of a scan besides its bytes and the model: options, and the code that takes part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..components.code import own_code
from ..support.files import digest

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .entry import Entry

_LONG = 32
"""Hexadecimal digits of each of the two fingerprints."""


class Decides:
    """Gives the fingerprints under which the ledger knows the result of a scan.

    Args:
        options: Plain values.
        code: Of everything but readers, as `Outputs.code` gives it.
        catalogue: Knows the readers of scans.
    """

    def __init__(self, options: Sequence[Any], code: Sequence[Any], catalogue: Catalogue) -> None:
        self._options, self._code, self._catalogue = options, [*code, own_code()], catalogue
        self._readers = {spec.name: plugin for plugin, spec in catalogue.of("reader")}

    def __call__(self, entry: Entry) -> str:
        """The fingerprint of the options, with the channels that are missing, and that of the code."""
        readers = [[item.reader, self._reader(item.reader)] for item in entry.items]
        parts = ([*self._options, list(entry.missing)], [*self._code, readers])
        return "-".join(digest(part)[:_LONG] for part in parts)

    def _reader(self, name: str) -> str:
        plugin = self._readers.get(name)
        return self._catalogue.code_of(self._catalogue.origin_of(plugin)) if plugin is not None else ""


def what_changed(before: str, now: str) -> str:
    """In a word what of two fingerprints differs; empty where nothing does."""
    if before == now:
        return ""
    return "code" if before.split("-")[0] == now.split("-")[0] else "options"
