"""What went wrong with a scan: a stable word to script against, and one sentence for a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, OutOfTime, PluginError, VoxGraftError
from ..inference.need import TooLarge
from ..support.texts import legible
from .values import Unfit

if TYPE_CHECKING:
    from .entry import Entry

CODES = {"read": "bad-image", "predict": "prediction", "write": "cannot-write"}


def code_of(error: BaseException, stage: str) -> str:
    """A stable word for what went wrong."""
    if isinstance(error, OutOfTime):
        return "out-of-time"
    if isinstance(error, (MemoryError, TooLarge)) or type(error).__name__ == "OutOfMemoryError":
        return "out-of-memory"
    if isinstance(error, PluginError):
        return "plugin"
    if isinstance(error, Unfit):
        return "contract"
    if isinstance(error, ModelError):
        return "model"
    return CODES[stage] if isinstance(error, VoxGraftError) else "unexpected"


def plain(error: BaseException, entry: Entry, out: Path) -> str:
    """One sentence for the ledger and the report: no absolute path, no temporary name.

    Args:
        error: What went wrong.
        entry: The scan; its own paths are shortened to names.
        out: The batch's folder; paths in it become relative.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "the scan does not fit into the memory that is free"
    text = str(error) if isinstance(error, VoxGraftError) else f"{type(error).__name__}: {error}"
    text = re.sub(re.escape(f"{out}/") + r"(?:\.tmp-[0-9a-f]+-[^/]+/)*", "", text)
    paths = {path for item in entry.items for path in (*item.files, item.path)} | {entry.given, entry.root}
    for path in sorted(paths, key=lambda path: -len(str(path))):
        if path.is_absolute() and len(path.parts) > 2:
            text = text.replace(f"{path}", legible(path.name))
    return legible(" ".join(text.split()))[:1000]
