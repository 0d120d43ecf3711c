"""What `plugins_whole_job.py --plugin fundus` trains on and measures: DRIVE to learn from, CHASE_DB1 to segment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from measured import DATA, ROOT

import voxgraft as vg
from voxgraft.labels.valid_region import region_in
from voxgraft.support.texts import stem

WORKFLOW = ROOT / "plugins" / "voxgraft-fundus" / "drive.yaml"
SEEN = 6
"""Photographs of CHASE_DB1 that are segmented: both eyes of three children."""


def prepare_fundus(folder: Path) -> dict[str, tuple[Path, list[Path]]]:
    """The shipped workflow with DRIVE's place in it, and photographs of another camera."""
    workflow = folder / "drive.yaml"
    drive = (DATA / "drive").as_posix()
    workflow.write_text(WORKFLOW.read_text().replace("path: drive,", f"path: {drive},"))
    return {"drive": (workflow, sorted((DATA / "chase_db1" / "images").glob("*.jpg"))[:SEEN])}


def told_of_fundus(run: str, folder: Path, batch: Path) -> dict[str, Any]:
    """What of the vessels is left at half resolution; F1 of the other camera's photographs, and what lies outside."""
    from voxgraft_fundus.modality import FundusModality
    from voxgraft_fundus.options import FundusOptions

    found, outside = {}, 0
    modality = FundusModality(FundusOptions())
    for path in sorted(batch.glob("*/mask.nii.gz")):
        name = next(part for part in (path.parent.name, stem(path.parent)) if "Image_" in part)
        case = name[name.index("Image_") :][:9]
        mask = vg.read(path).array.reshape(vg.read(path).shape) > 0
        image = vg.read(DATA / "chase_db1" / "images" / f"{case}.jpg")
        truth = vg.read(DATA / "chase_db1" / "labels" / f"{case}.png").array > 0
        inside = region_in(modality, image)
        assert inside is not None
        outside += int(mask[~inside].sum())
        both = int((mask & truth & inside).sum())
        found[case] = round(2 * both / int((mask & inside).sum() + (truth & inside).sum()), 4)
    return {
        "vessel widths": json.loads((folder / "vessel_widths.json").read_text()),
        "another camera": {"f1": found, "mean": round(float(np.mean(list(found.values()))), 4), "outside": outside},
    }
