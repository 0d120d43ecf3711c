"""Domain shift: labelled scans of the left atrium, and a site of inverted or warped contrast without labels.

The site's scans are made at run time in a temporary folder. Source-only, mean teacher and both adversarial forms are
trained alike; each is scored on held-out scans of the site and, beside it, on source scans nothing was learnt from.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

import voxgraft as vg

WORKFLOW = Path(__file__).parents[1] / "workflows" / "atrium_shift.yaml"
DATA = Path(os.environ.get("VOXGRAFT_DATA", "../shared/data")) / "la2018"
ARMS = {
    "source-only": [],
    "mean-teacher": [{"use": "mean-teacher", "ramp": 0.5, "statistics": "unlabelled"}],
    "features": [{"use": "adversarial", "level": "features"}],
    "entropy": [{"use": "adversarial", "level": "entropy"}],
}


def shifted(array: np.ndarray, shift: str) -> np.ndarray:
    """Voxels (i, j, k) with inverted contrast, or with a warped one and half the resolution in slices."""
    low, high = np.percentile(array, [0.5, 99.5])
    scaled = np.clip((array - low) / max(1e-6, high - low), 0, 1)
    if shift == "invert":
        return (1 - scaled).astype(np.float32)
    coarse = scaled[::2, ::2].repeat(2, 0).repeat(2, 1)[: array.shape[0], : array.shape[1]]
    return (coarse**2.5).astype(np.float32)


def lay_out(folder: Path, first: int, last: int, shift: str | None) -> Path:
    """Scans `first` to `last` (not counted in) in the layout `pairs`."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(first, last):
        name = f"la_{number:03d}.nii.gz"
        (folder / "labels" / name).symlink_to((DATA / "labels" / name).resolve())
        if shift is None:
            (folder / "images" / name).symlink_to((DATA / "images" / name).resolve())
        else:
            image = nib.load(DATA / "images" / name)
            made = nib.Nifti1Image(shifted(np.asarray(image.dataobj, dtype=np.float32), shift), image.affine)
            nib.save(made, folder / "images" / name)
    return folder


def dice_on(package: Path, scans: Path, out: Path) -> float:
    """Mean Dice of a package on scans with references."""
    vg.segment(str(package), [str(scans / "images")], out)
    scores = vg.evaluate(out, scans / "labels", ["dice"])
    return float(scores.document()["summary"]["dice"]["mean"]["mean"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shift", choices=("invert", "warp"), default="invert")
    parser.add_argument("--budget", default="400 steps")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file of the scores")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="voxgraft-shift-") as scratch:
        root = Path(scratch)
        source, site = lay_out(root / "source", 0, 8, None), lay_out(root / "site", 8, 32, options.shift)
        unseen = lay_out(root / "unseen", 32, 40, None)
        for arm, transfer in ARMS.items():
            changes = {
                "data.layout.path": str(site),
                "data.source.path": str(source),
                "transfer": transfer,
                "training.budget": options.budget,
                "tracking": None,
                "registry": None,
                "steps": ["check", "plan", "prepare", "train", "evaluate"],
            }
            run = vg.run(WORKFLOW, out=root / arm, **{key: json.dumps(value) for key, value in changes.items()})
            scores = json.loads((run.folder / "evaluate" / "scores.json").read_text())
            found[arm] = {
                "target": scores["summary"]["dice"]["mean"],
                "source": dice_on(run.package, unseen, root / f"{arm}-source"),
            }
    options.out.write_text(json.dumps({"shift": options.shift, "budget": options.budget, "arms": found}, indent=1))


if __name__ == "__main__":
    main()
