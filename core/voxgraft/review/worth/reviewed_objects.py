"""DICOM objects of what readers accepted or corrected, beside those of the model, which stay as they are.

A segmentation object and a measurement report for each reviewed scan that was DICOM, in a series of their own. They
hold the structures whose mask is final, and say of each whether a reader changed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError, VoxGraftError
from ...imaging.read import as_in_training
from ...imaging.structures import Label, Labels
from ...imaging.volume import Item, Volume
from ...imaging.write import write
from ...support.files import atomic_write, digest, is_full, read_json, sha256, write_json
from ..state.models import Models
from ..state.records import CORRECTED
from ..state.sources import check_same, items_of
from .final import Final, final_of, placed
from .snapshot import Snapshot

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

FOLDER, STATE = "dicom", "reviewed.json"
WRITERS = ("dicom-seg", "dicom-sr")


@dataclass(frozen=True, slots=True)
class Signed:
    """Who answers for reviewed objects, where that is to be named; by default nobody is.

    Attributes:
        readers: Name the reader of each scan in its objects.
        organisation: Where the readers work; with it reports are verified.
    """

    readers: bool = False
    organisation: str = ""


@dataclass(slots=True)
class Objects:
    """What was written.

    Attributes:
        written, unchanged: Cases.
        failed: Case -> what went wrong.
    """

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Plain values."""
        failed = [{"case": case, "error": error} for case, error in self.failed.items()]
        return {"written": self.written, "unchanged": self.unchanged, "failed": failed}


def write_objects(snapshot: Snapshot, reader: str = "", signed: Signed | None = None) -> Objects:
    """Write `review/dicom/CASE/mask.dcm` and `report.dcm` for what is final; a second call does only what is missing.

    Args:
        snapshot: The batch and what people decided about it.
        reader: Whose readings count; by default see `voxgraft.review.worth.final.final_of`.
        signed: Who is named in them.

    Raises:
        DataError: The disk is full.
    """
    objects, signed = Objects(), signed or Signed()
    for final in _finals(snapshot, reader):
        target = snapshot.folder.root / FOLDER / final.case
        key = _key(final, signed)
        try:
            items = items_of(final.row, snapshot.out, snapshot.catalogue)
            if any(item.reader != "dicom" for item in items):
                continue
            if _is_there(target, key):
                objects.unchanged.append(final.case)
                continue
            check_same(final.row, items, snapshot.out)
            _write(snapshot, final, items[0], target, key, signed)
        except (VoxGraftError, OSError) as error:
            if is_full(snapshot.out):
                raise DataError(f"{target.name}: cannot be written: no space is left on the disk") from error
            objects.failed[final.case] = str(error).replace(f"{target.parent}/", "")
            continue
        objects.written.append(final.case)
    return objects


def _finals(snapshot: Snapshot, reader: str) -> Iterator[Final]:
    for case in snapshot.rows:
        final = final_of(snapshot, case, reader)
        if not isinstance(final, str) and final.done:
            yield final


def _key(final: Final, signed: Signed) -> str:
    """What a review came to; another result has another one."""
    whose = final.reading.reader if signed.readers else ""
    result = [final.row.input_hash, final.mask.sha256, {name: final.verdicts[name] for name in final.done}]
    return digest([result, final.row.model_hash, final.reading.when, whose, signed.organisation])


def _is_there(target: Path, key: str) -> bool:
    try:
        state = read_json(target / STATE)
        files = dict(state["files"])
        return bool(state["key"] == key and all(sha256(target / name) == known for name, known in files.items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write(snapshot: Snapshot, final: Final, item: Item, target: Path, key: str, signed: Signed) -> None:
    catalogue = as_in_training(Models(snapshot.folder.root / "models").of(final.row).readers, snapshot.catalogue)
    labels = _labels(snapshot, final, catalogue)
    mask = _alone(placed(final, item, catalogue), labels)
    facts = _facts(snapshot, final, key, signed)
    with atomic_write(target) as folder:
        folder.mkdir(parents=True)
        for name in WRITERS:
            spec: Any = catalogue.get("writer", name)
            write(mask, folder / spec.filename, catalogue, labels, facts, writer=name)
        files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        write_json(folder / STATE, {"key": key, "files": files})


def _labels(snapshot: Snapshot, final: Final, catalogue: Catalogue) -> Labels:
    """The final structures, with the coded terms that the model gave them."""
    codes = Models(snapshot.folder.root / "models").of(final.row).codes
    values = {name: int(final.row.structures[name]["value"]) for name in final.done}
    return Labels(tuple(Label(value, name, codes.get(name)) for name, value in values.items()))


def _alone(mask: Volume, labels: Labels) -> Volume:
    """The mask with these structures and no others."""
    return mask.with_array(np.where(np.isin(mask.array, labels.values), mask.array, mask.array.dtype.type(0)))


def _facts(snapshot: Snapshot, final: Final, key: str, signed: Signed) -> dict[str, str]:
    model = Models(snapshot.folder.root / "models").of(final.row)
    facts = {
        "model": model.name,
        "version": model.version,
        "hash": final.row.model_hash,
        "software": f"voxgraft {version('voxgraft')}",
        "reviewed": final.reading.when,
        "review_key": key,
        "corrected": "\n".join(name for name in final.done if final.verdicts[name] == CORRECTED),
    }
    named = {"reviewer": final.reading.reader, "organisation": signed.organisation} if signed.readers else {}
    return {**facts, **named}
