"""Segment real DICOM and NIfTI scans with a trained hippocampus model, and prove that every mask lies on its scan.

    python benchmarks/batch_masks.py MODEL [--out benchmarks/results/batch_masks.json]

MODEL is a package or `models:/hippocampus-mr@champion`. The study of three series and 20 NIfTI cases of the data folder
are segmented twice (the second call must do nothing); each mask's grid is compared with its scan as SimpleITK, an
independent reader, reads both; NIfTI masks are scored against their references.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from measured import DATA, keep, parser_of

import voxgraft as vg

CORNERS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


def scan_as_others_read_it(path: Path) -> sitk.Image:
    """A NIfTI file or the one series of a folder."""
    if path.is_file():
        return sitk.ReadImage(str(path))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    return reader.Execute()


def millimetres_apart(scan: sitk.Image, mask: sitk.Image) -> float:
    """The largest distance between the places of five corner voxels, each found in the other image's grid."""
    worst = 0.0
    for corner in CORNERS:
        index = [int(c * (n - 1)) for c, n in zip(corner, scan.GetSize(), strict=True)]
        place = scan.TransformIndexToPhysicalPoint(index)
        nearest = [round(v) for v in mask.TransformPhysicalPointToContinuousIndex(place)]
        inside = all(0 <= v < n for v, n in zip(nearest, mask.GetSize(), strict=True))
        there = mask.TransformIndexToPhysicalPoint(nearest) if inside else (np.inf,) * 3
        worst = max(worst, float(np.linalg.norm(np.subtract(place, there))))
    return worst


def main() -> None:
    parser = parser_of(__doc__, "batch_masks")
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    nifti = sorted((options.data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:20]
    study = options.data / "dicom_study"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "batch"
        start = time.monotonic()
        batch = vg.segment(options.model, [study, *nifti], out)
        seconds = time.monotonic() - start
        again = vg.segment(options.model, [study, *nifti], out)
        for scan in batch.document()["scans"]:
            row = {"case": scan["case"], "state": scan["state"], "error": scan["error"]}
            mask = out / scan["case"] / "mask.nii.gz"
            if mask.exists():
                source = study / "13_HCropVolume" if str(scan["input"]).find("dicom_study") >= 0 else None
                path = source or next(n for n in nifti if n.name.startswith(scan["case"]))
                row["mm_apart"] = round(millimetres_apart(scan_as_others_read_it(path), sitk.ReadImage(str(mask))), 4)
                reference = options.data / "hippocampus" / "labelsTr" / path.name
                if reference.exists():
                    scores = vg.evaluate(mask, reference, ["dice"]).document()["cases"]
                    row["dice"] = round(next(iter(scores.values()))["dice"]["mean"], 4)
            rows.append(row)
    done = [row for row in rows if "mm_apart" in row]
    result = {
        "seconds": round(seconds, 1),
        "second_call": {"done": again.document()["done"], "skipped": again.document()["skipped"]},
        "largest_distance_mm": max(row["mm_apart"] for row in done),
        "scans": rows,
    }
    keep(options.out, result)
    for row in rows:
        print(*(f"{key}={value}" for key, value in row.items() if value not in (None, "")))
    print(f"{len(done)} masks in {seconds:.1f} s; the farthest lies {result['largest_distance_mm']} mm off its scan")


if __name__ == "__main__":
    main()
