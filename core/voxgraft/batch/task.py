"""What a batch hands to its workers, and what they hand back: values that can be sent to another process or machine.

A worker gets a task and writes masks, picture and report of the scan into a staged folder below the batch's own; the
parent puts that folder in its place and writes the ledger. So a task that two workers have done, because the first was
taken for dead, still has one result, and no worker needs the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, OutOfTime, PluginError, VoxGraftError
from ..inference.need import TooLarge
from ..support.texts import legible
from .values import Unfit

if TYPE_CHECKING:
    from .entry import Entry
    from .remote import Remote


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One scan to be segmented.

    Attributes:
        model: The fingerprint of the package; the worker holds the package itself, loaded once.
        entry: The scan: its case id, and the items to read.
        out: The batch's folder, which the worker must be able to write.
        writers: Names that were asked for; None for the usual ones.
        timeout: Seconds for each stage; None for the usual ones.
        remote: Where files lie in object storage.
    """

    model: str
    entry: Entry
    out: Path
    writers: tuple[str, ...] | None = None
    timeout: float | None = None
    remote: Remote | None = None


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What became of a scan.

    Attributes:
        state: `done` or `failed`.
        staged: The name of the folder below the batch's own that holds its files; empty where it has failed.
        outputs: File -> SHA-256 of what stands in it.
        structures: Name -> what was measured of it.
        flags: What a person should look at, each with `code` and `message`.
        seconds: Stage (`read`, `predict`, `write`) -> how long it took.
        peak_mb: The highest memory of the worker while the scan was predicted, in megabytes.
        input_hash: A fingerprint of the bytes that were read; empty where they could not be.
        code: What kind of failure it is, a stable word.
        error: One sentence for a person.
        counts: The failed try counts; it does not where the disk was full.
        notes: What a user should know of how the model is applied where this was done.
    """

    case: str
    state: str
    staged: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    structures: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    input_hash: str = ""
    code: str = ""
    error: str = ""
    counts: bool = True
    notes: tuple[str, ...] = ()


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
