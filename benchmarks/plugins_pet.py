"""What is PET's own in plugins_whole_job.py: soft-tissue sarcomas in FDG-PET, alone and with CT.

The scans and series are those of the TCIA collection Soft-tissue-Sarcoma (shared/data: sts_pet, sts_ct, sts_dicom), one
scan a patient. Both patients that are there as DICOM are held out, and every third of the others. The scans are crops
around the tumour, so that an ellipsoid computed from a crop's size alone is a floor, and 41 % of the highest uptake is
another: both are computed here on the same held-out scans.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measured import DATA, ROOT

import voxgraft as vg
from voxgraft.plugin import Array, Label, Labels, Volume, measure_values, read_item, scan_files, walk

PLUGIN = ROOT / "plugins" / "voxgraft-pet"
AS_DICOM = ("STS_008", "STS_025")
TUMOUR = Labels((Label(1, "tumour"),))
PARTS = ("train", "validation")
SHARE = 0.41
"""Of the highest uptake: the usual threshold."""


def prepare_pet(folder: Path) -> dict[str, tuple[Path, list[Path]]]:
    """The workflows with their tables: PET alone, and PET with CT."""
    pet = {path.name.split(".")[0]: path for path in sorted((DATA / "sts_pet" / "images").iterdir())}
    ct = {path.name.split(".")[0]: path for path in sorted((DATA / "sts_ct" / "images").iterdir())}
    alone = _run(folder / "pet", "sarcoma.yaml", list(pet), {"image": pet})
    both = [name for name in pet if name in ct]
    joined = _run(folder / "petct", "sarcoma_petct.yaml", both, {"image_pet": pet, "image_ct": ct})
    return {"pet": alone, "petct": joined}


def held_out(names: Sequence[str]) -> set[str]:
    others = [name for name in names if name not in AS_DICOM]
    return {*others[::3], *(name for name in names if name in AS_DICOM)}


def _run(
    folder: Path, workflow: str, names: Sequence[str], images: dict[str, dict[str, Path]]
) -> tuple[Path, list[Path]]:
    """Write the table of a run beside its workflow, and a worklist of what it has not seen."""
    folder.mkdir(parents=True, exist_ok=True)
    out = held_out(names)
    head = ["case", "patient", *images, "label", "split"]
    labels = {name: DATA / "sts_pet" / "labels" / f"{name}.nii.gz" for name in names}
    rows = [
        [name, name, *(column[name] for column in images.values()), labels[name], PARTS[name in out]] for name in names
    ]
    _write(folder / "cases.csv", [head, *rows])
    text = (PLUGIN / workflow).read_text().replace("path: cases.csv", f"path: {folder / 'cases.csv'}")
    (folder / workflow).write_text(text)
    columns = [column.removeprefix("image_") if len(images) > 1 else "path" for column in images]
    unseen = [[name, *(column[name] for column in images.values())] for name in names if name in out]
    series = [
        [f"{name}-dicom", *(DATA / "sts_dicom" / name / kind / "image" for kind in ("PET", "CT"))] for name in AS_DICOM
    ]
    _write(folder / "unseen.csv", [["case", *columns], *unseen, *(row[: 1 + len(images)] for row in series)])
    return folder / workflow, [folder / "unseen.csv"]


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def told_of_pet(run: str, folder: Path, batch: Path) -> dict[str, Any]:
    """Dice of each scan beside both floors, what was measured beside the reference, and what the objects hold."""
    catalogue = vg.catalogue()
    cases: dict[str, Any] = {}
    for report in sorted(batch.glob("*/report.json")):
        name = report.parent.name
        if name.endswith("-dicom"):
            continue
        scan = vg.read(str(DATA / "sts_pet" / "images" / f"{name}.nii.gz"))
        truth = vg.read(str(DATA / "sts_pet" / "labels" / f"{name}.nii.gz"))
        mask = vg.read(str(report.parent / "mask.nii.gz"))
        found = json.loads(report.read_text())["structures"]["tumour"].get("measured", {})
        cases[name] = {
            "dice": round(dice(mask.array > 0, truth.array > 0), 4),
            "ellipsoid": round(dice(ellipsoid(scan.shape), truth.array > 0), 4),
            "threshold": round(dice(above(scan.array), truth.array > 0), 4),
            "measured": {key: one["value"] for key, one in found.items()},
            "of the reference": quantities(scan, truth, catalogue),
        }
    means = {key: round(float(np.mean([one[key] for one in cases.values()])), 3) for key in FLOORS}
    return {
        "dice": means,
        "cases": cases,
        "dicom": {name: of_series(batch, name) for name in AS_DICOM},
        **same_values(),
    }


FLOORS = ("dice", "ellipsoid", "threshold")


def of_series(batch: Path, name: str) -> dict[str, Any]:
    """What was measured in a DICOM series, in report.json and in the structured report."""
    folder = batch / f"{name}-dicom"
    report = json.loads((folder / "report.json").read_text())
    found = report["structures"]["tumour"].get("measured", {})
    return {
        "files": report["masks"],
        "report.json": {key: one["value"] for key, one in found.items()},
        "structured report": in_report(folder / "report.dcm"),
    }


def in_report(path: Path) -> dict[str, list[str]]:
    """The measurements in a structured report: concept and derivation -> value and unit."""
    from pydicom import dcmread

    found: dict[str, list[str]] = {}

    def look(item: Any) -> None:
        if item.get("ValueType") == "NUM":
            how = [child.ConceptCodeSequence[0].CodeMeaning for child in item.get("ContentSequence", ())]
            name = ", ".join([item.ConceptNameCodeSequence[0].CodeMeaning, *how])
            value = item.MeasuredValueSequence[0]
            found[name] = [str(value.NumericValue), value.MeasurementUnitsCodeSequence[0].CodeValue]
        for child in item.get("ContentSequence", ()):
            look(child)

    look(dcmread(path))
    return found


def same_values() -> dict[str, Any]:
    """How far SUVs read from DICOM are from those of the same voxels in the NIfTI files of the same patients."""
    catalogue, apart = vg.catalogue(), {}
    for name in AS_DICOM:
        items = scan_files(walk(DATA / "sts_dicom" / name / "PET" / "image"), catalogue)
        (item,) = [item for item in items if item.kind == "image"]
        series = read_item(item, catalogue)
        crop = vg.read(str(DATA / "sts_pet" / "images" / f"{name}.nii.gz"))
        corner = np.linalg.inv(series.affine) @ crop.affine[:, 3]
        first = corner[:3].round().astype(int)
        part = series.array[tuple(slice(at, at + size) for at, size in zip(first, crop.shape, strict=True))]
        difference = np.abs(part.astype(np.float64) - crop.array)
        apart[name] = {
            "unit": item.facts["units"],
            "voxels": int(part.size),
            "off the grid": round(float(np.abs(corner[:3] - first).max()), 6),
            "largest difference": float(difference.max()),
            "highest SUV": round(float(part.max()), 4),
        }
    return {"SUV of DICOM and of NIfTI": apart}


def quantities(scan: Volume, mask: Volume, catalogue: Any) -> dict[str, float]:
    found = measure_values([(scan.array, "g/ml")], mask.with_array(mask.array.astype(np.uint8)), TUMOUR, catalogue)
    return {one.name: round(one.value, 4) for one in found.quantities.get("tumour", [])}


def dice(one: Array, other: Array) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def ellipsoid(shape: Sequence[int]) -> Array:
    """One in the middle of a crop, 0.6 of it long along each axis."""
    axes = np.meshgrid(*((np.arange(n) + 0.5 - n / 2) / (0.3 * n) for n in shape), indexing="ij", sparse=True)
    inside: Array = sum(axis**2 for axis in axes) <= 1
    return inside


def above(array: Array) -> Array:
    """The largest piece of what is above 41 % of the highest uptake."""
    import cc3d

    pieces = cc3d.connected_components(np.ascontiguousarray(array >= SHARE * array.max()))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())
