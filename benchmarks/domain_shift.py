"""Domain shift: labelled scans of the left atrium, and a site of other contrast or resolution without labels.

    python benchmarks/domain_shift.py [--shifts invert,warp] [--steps 300] [--seeds 7] [--arms source-only,...]
    python benchmarks/domain_shift.py --make shifted      # only the site's scans, for workflows/atrium_shift.yaml

Labelled are la_000 to la_007 as they are; the site's scans without labels are la_008 to la_019, shifted. Each arm is
scored on la_020 to la_039, shifted (the site's) and as they are (the source's score beside). Of `statistics` only
BatchNorm's averages follow the site: what the others gain beyond it is their own. Settings are defaults.
The volumes were cropped around their reference masks in x and y: Dice on them is higher than on whole scans.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from arms import compared, folder_of, options_of, show, table_of, train
from measured import DATA, ROOT, keep, parser_of

import voxgraft as vg
from voxgraft.runs.pooling import pooled

SCANS = DATA / "la2018"
LABELLED, UNLABELLED, HELD_OUT = range(8), range(8, 20), range(20, 40)
SHIFTS = ("invert", "warp")
ARMS: dict[str, list[dict[str, Any]]] = {
    "source-only": [],
    "statistics": [{"use": "mean-teacher", "weight": 1e-9, "statistics": "unlabelled"}],
    "mean-teacher": [{"use": "mean-teacher", "ramp": 0.5, "statistics": "unlabelled", "keep": "teacher"}],
    "features": [{"use": "adversarial", "level": "features"}],
    "entropy": [{"use": "adversarial", "level": "entropy"}],
    "turned-over": [],
}
MODALITIES = {"turned-over": {"use": "mr", "augmentation": {"invert": 0.5}}}
"""Augmentation of arms that know what the site's scans may look like, and see none of them; `mr` as it is elsewhere."""


def shifted(array: np.ndarray, shift: str) -> np.ndarray:
    """Voxels (i, j, k) with inverted contrast, or with a warped one and half the resolution in i and j."""
    low, high = np.percentile(array, [0.5, 99.5])
    scaled = np.clip((array - low) / max(1e-6, high - low), 0, 1)
    if shift == "invert":
        return (1 - scaled).astype(np.float32)
    coarse = scaled[::2, ::2].repeat(2, 0).repeat(2, 1)[: array.shape[0], : array.shape[1]]
    return (coarse**2.5).astype(np.float32)


def make(folder: Path, shift: str) -> Path:
    """Write the site's scans, `site.csv` (unlabelled and held out), `source.csv` and, for scoring, `masks/`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    root = SCANS.resolve()
    site = ["case,image,label,split"]
    for number in (*UNLABELLED, *HELD_OUT):
        name = f"la_{number:03d}"
        image = nib.load(root / "images" / f"{name}.nii.gz")
        made = nib.Nifti1Image(shifted(np.asarray(image.dataobj, dtype=np.float32), shift), image.affine)
        nib.save(made, folder / "images" / f"{name}.nii.gz")
        part = "validation" if number in HELD_OUT else "train"
        site.append(f"{name},{folder.resolve()}/images/{name}.nii.gz,{root}/labels/{name}.nii.gz,{part}")
    source = ["case,image,label"]
    for number in LABELLED:
        name = f"la_{number:03d}"
        source.append(f"source_{name},{root}/images/{name}.nii.gz,{root}/labels/{name}.nii.gz")
    (folder / "site.csv").write_text("\n".join(site) + "\n")
    (folder / "source.csv").write_text("\n".join(source) + "\n")
    return folder


def on_source(package: Path, out: Path) -> Any:
    """The scores of a package on the held-out scans as they are."""
    images = [str(SCANS / "images" / f"la_{number:03d}.nii.gz") for number in HELD_OUT]
    vg.segment(str(package), images, out)
    return vg.evaluate(out, SCANS / "labels", ["dice"])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "atrium_shift.yaml")
    parser.add_argument("--shifts", default=",".join(SHIFTS))
    parser.add_argument("--arms", default=",".join(ARMS), help="the first is compared with")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="write the site's scans there and end")
    options_of(parser, "domain_shift", steps=300, seeds="7")
    options = parser.parse_args()
    if options.make:
        make(options.make, options.shifts.split(",")[0])
        return
    found = {}
    with folder_of(options) as folder:
        for shift in options.shifts.split(","):
            site, runs, beside = make(folder / shift, shift), {}, {}
            for seed in map(int, options.seeds.split(",")):
                for arm in options.arms.split(","):
                    changes = {
                        "data.layout.path": str(site / "site.csv"),
                        "data.source.path": str(site / "source.csv"),
                        "data.modality": MODALITIES.get(arm, {"use": "mr"}),
                        "transfer": ARMS[arm],
                    }
                    run = train(options.workflow, folder / f"{shift}-{arm}-{seed}", changes, seed, options)
                    runs[arm, seed] = run
                    beside.setdefault(arm, []).append(on_source(run / "package", run / "source"))
            source = {arm: pooled(parts, {}) for arm, parts in beside.items()}
            found[shift] = {
                **table_of(runs),
                "source": {arm: one.document()["summary"]["dice"]["mean"] for arm, one in source.items()},
                "source_comparisons": compared(source),
            }
    keep(options.out, {"shifts": found})
    for shift, table in found.items():
        print(f"\n{shift}: on the site's scans")
        show(table)
        print("on the source's scans: " + ", ".join(f"{arm} {one['mean']:.4f}" for arm, one in table["source"].items()))


if __name__ == "__main__":
    main()
