"""A batch that was reviewed, made without a model: scans, masks, a ledger, and what readers decided."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.batch.entry import Entry, hash_of
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.quality import measure
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.read import read, scan
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256

LABELS = Labels.of({"liver": 1, "spleen": 2})
AFFINE = np.array([[-1.0, 0, 0, 20], [0, -1.5, 0, 10], [0, 0, 2.0, -5], [0, 0, 0, 1]])
SHAPE = (20, 18, 12)


def boxes(shift: int = 0, shape: tuple[int, ...] = SHAPE) -> Any:
    """Two boxes, the second moved by so many voxels."""
    array = np.zeros(shape, np.uint8)
    array[2:8, 3:12, 2:9] = 1
    array[10 + shift : 16 + shift, 4:10, 3:8] = 2
    return array


def add_scan(
    out: Path, source: Path, mask: Any, catalogue: Catalogue, *, case: str = "", model: str = "organs 3", **changes: Any
) -> Row:
    """Put a scan into a batch as if a model had segmented it.

    Args:
        source: A file, or the folder of a series; it is there.
        mask: What the model found, in the scan's grid.
        changes: Of the row.
    """
    (item,) = scan(source, catalogue)
    case = case or source.name.split(".")[0]
    path = os.path.relpath(source, out)
    target = out / case / "mask.nii.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    volume = Volume(mask, item.affine, dims=len(item.shape), item=item)
    write(volume, target, catalogue, LABELS)
    row = Row(
        case=case,
        input=path,
        series=item.series or "",
        state="done",
        input_hash=hash_of(Entry((item,), source, path)),
        model=model,
        model_hash=("a" if model.endswith("3") else "b") * 64,
        outputs={"mask.nii.gz": sha256(target)},
        structures={name: one.document() for name, one in measure(volume, LABELS).items()},
    )
    with Ledger(out) as ledger:
        ledger.put(Row(**{**{name: getattr(row, name) for name in Row.__slots__}, **changes}))
    return row


def make_scan(path: Path, catalogue: Catalogue, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Path:
    """An image of noise."""
    array = np.random.default_rng(seed).normal(100, 20, shape).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Volume(array, AFFINE), path, catalogue)
    return path


def redraw(store: ReviewStore, case: str, reader: str, array: Any) -> str:
    """Save a reader's mask, as the server does; its SHA-256."""
    model = store.out / case / "mask.nii.gz"
    path = store.folder.mask(case, reader)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = read(model, store.catalogue)
    write(old.with_array(array), path, store.catalogue, LABELS)
    changed = {value: int(((old.array == value) != (array == value)).sum()) for value in LABELS.values}
    values = {
        "case": case,
        "reader": reader,
        "sha256": sha256(path),
        "base": sha256(model),
        "model_mask": sha256(model),
        "tool": "pen",
        "changed": {str(value): voxels for value, voxels in changed.items()},
    }
    store.log.append("mask", values, store.state.take)
    return sha256(path)


def decide(
    store: ReviewStore, case: str, reader: str = "anna", verdicts: Mapping[str, str] | None = None, seconds: float = 30
) -> None:
    """Decide about each structure; by default accept all that is there."""
    for name, verdict in (verdicts or dict.fromkeys(LABELS.names, "accepted")).items():
        reason = "boundary wrong" if verdict == "rejected" else ""
        seen = store.seen(case, reader).mask
        store.decide(case, reader, structure=name, verdict=verdict, reason=reason, seconds=seconds, mask=seen)
