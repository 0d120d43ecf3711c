"""What the page of a review shows: the worklist, and one scan; see the contract in `docs/review_server.md`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import numpy as np

from ...batch.ledger import Row
from ...batch.outputs import PREVIEW
from ...batch.quality import is_sized
from ...errors import DataError, VoxGraftError
from ...imaging.volume import Array, spacing_of
from .images import Image
from .reviewed import Reviewed, no_mask, plain
from .viewing import Seen
from .windows import colour_of
from .worklist import Listed, Query

EVERY = Query()
"""The list of all scans, doubtful ones first."""


def worklist(store: Reviewed, query: Query, reader: str, case: str = "") -> dict[str, Any]:
    """What the page shows of the list; see `voxgraft.review.state.worklist`.

    Args:
        store: The review.
        query: What is asked of the list.
        reader: Who looks.
        case: A scan whose place in the list is asked for.
    """
    with store.mutex:
        answer = _list(store, reader, query, case).document()
    store.identities.want(store.rows[entry["case"]] for entry in answer["scans"])
    return {**answer, "running": store.ledger.running(), "reading": store.identities.busy}


def _list(store: Reviewed, reader: str, query: Query, case: str) -> Listed:
    scans = {one.row.case: one for one in store.all_seen(reader)}
    return Listed(scans, store.ordered(), query, store.identities.known, case)


def scan(store: Reviewed, case: str, reader: str, query: Query = EVERY, was: str = "") -> dict[str, Any]:
    """What the page shows of one scan.

    Args:
        store: The review.
        case: The scan.
        reader: Who looks.
        query: The list that the reader came from.
        was: The scan's review state when the reader opened it; empty for that of now.

    Raises:
        NotThere: There is no such scan.
        Refused: There is no such order.
    """
    seen = store.seen(case, reader)
    row = seen.row
    image, problem = _image_or_reason(store, row)
    with store.mutex:
        around = _list(store, reader, query, case).neighbours(was)
    grid, cannot = _grid_or_reason(store, seen, image)
    identity = store.identities.of(row)
    return {
        "case": case,
        "state": row.state,
        "review_state": seen.review_state,
        "error": row.error or None,
        **around,
        **grid,
        "modality": image.modality if image else identity.modality,
        "channels": list(image.channels) if image else [],
        "image_tag": image.tag if image else None,
        "image_error": problem,
        "windows": [asdict(window) for window in image.windows] if image else [],
        "flat": image is not None and image.flat,
        "inverted": image is not None and image.inverted,
        "sized": is_sized(row.flags),
        "structures": _structures(seen, np.array(grid["affine"])),
        "flags": [dict(flag) for flag in row.flags],
        "notes": [asdict(note) for note in seen.notes],
        "decisions": [asdict(decision) for decision in seen.decisions],
        "masks": _masks(seen),
        "mask": {"id": "mine" if seen.mine else "model", "sha256": seen.mask},
        "mask_error": cannot,
        "superseded": seen.superseded,
        "preview": f"/api/scans/{quote(case)}/preview" if PREVIEW in row.outputs else None,
        "accession": identity.accession,
        "study_date": identity.study_date,
        "description": identity.description,
        "model": row.model,
        "assigned": seen.role or None,
        "blind": seen.blind,
        "can_undo": bool(seen.mine and seen.mine.position),
        "can_redo": bool(seen.mine and seen.mine.ahead),
    }


def _image_or_reason(store: Reviewed, row: Row) -> tuple[Image | None, str | None]:
    try:
        return store.image_of_row(row, 0), None
    except VoxGraftError as error:
        return None, plain(error)


def _grid_or_reason(store: Reviewed, seen: Seen, image: Image | None) -> tuple[dict[str, Any], str | None]:
    """Shape, affine and spacing of the model's mask, or of the image where there is none; and why there is none."""
    shape, affine = (image.shape, np.array(image.affine)) if image else ((), np.eye(4))
    problem = None if seen.model_mask else no_mask(seen.row)
    if seen.model_mask:
        try:
            shape, affine = store.grid(seen)
            store.mask_file(seen.row.case, "mine" if seen.mine else "model", seen.reader)
        except DataError as error:
            problem = plain(error)
    spacing = [round(step, 6) for step in spacing_of(affine)] if shape else []
    return {"shape": list(shape), "affine": affine.tolist() if shape else [], "spacing_mm": spacing}, problem


def _structures(seen: Seen, affine: Array) -> list[dict[str, Any]]:
    """The structures of a scan; volumes, or areas in a 2D image, are those of the mask that the reader works on. Where
    nobody knows how large its pixels are, they are counted."""
    own, finished, mine = seen.own, seen.finished, seen.mine
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000 if affine.size else 0.0
    pixel_mm2 = float(np.prod(spacing_of(affine)[:2])) if affine.size else 0.0
    sized = is_sized(seen.row.flags)
    rows = []
    for place, (name, found) in enumerate(seen.row.structures.items()):
        ml, mm2, voxels = found.get("ml"), found.get("mm2"), found.get("voxels", 0)
        if mine:
            voxels = mine.voxels.get(str(found.get("value")), 0)
            ml = None if ml is None else round(voxels * voxel_ml, 4)
            mm2 = None if mm2 is None else round(voxels * pixel_mm2, 3)
        rows.append(
            {
                "value": found.get("value"),
                "name": name,
                "color": colour_of(place),
                **({"ml": ml, "mm2": mm2} if sized else {"ml": None, "mm2": None, "pixels": voxels}),
                "model_ml": found.get("ml") if sized else None,
                "confidence": found.get("confidence"),
                "verdict": own[name].verdict if name in own else None,
                "locked": name in finished,
                "changed": int(mine.changed.get(str(found.get("value")), 0)) if mine else 0,
            }
        )
    return rows


def _masks(seen: Seen) -> list[dict[str, Any]]:
    masks: list[dict[str, Any]] = []
    if seen.model_mask:
        masks.append({"id": "model", "label": seen.row.model, "sha256": seen.model_mask, "reader": None})
    for reader, mask in seen.masks.items():
        mine = reader == seen.reader
        label = "my mask" if mine else reader
        masks.append({"id": "mine" if mine else reader, "label": label, "sha256": mask.sha256, "reader": reader})
    return masks
