"""Few labelled atria in 3D: does a model gain from scans that it labelled itself, beyond what longer training gains?

    python benchmarks/self_training.py [--labels 4,8] [--steps 1200] [--more 800] [--spacing 1.6]

For each number of labels three models, scored once on the same twenty scans, which nothing was tuned on:
`plain` learns from the labelled scans; `longer` goes on from it for `--more` steps on the same scans; `self-training`
goes on from it for as many steps, on these and on the other scans, with the masks that `plain` gave them. The last two
had the same minutes, so their paired difference is what the unlabelled scans add. The volumes were cropped around their
reference masks in x and y, which makes finding the atrium easier than on whole scans.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from arms import STEPS, folder_of, show, table_of, train
from measured import DATA, ROOT, keep, parser_of

import voxgraft as vg

SCANS = DATA / "la2018"
LABELLED, UNLABELLED, HELD_OUT = range(8), range(8, 20), range(20, 40)
WORKFLOW = ROOT / "workflows" / "atrium_3d.yaml"


def write_cases(path: Path, labels: int, masks: dict[str, Path] | None = None) -> Path:
    """A table of the labelled scans, those with masks of a model, and the held-out ones."""
    rows = [("case", "image", "label", "split")]
    rows += [(*_files(number), "train") for number in LABELLED[:labels]]
    rows += [
        (case, (SCANS / "images" / f"{case}.nii.gz").as_posix(), str(mask), "train")
        for case, mask in (masks or {}).items()
    ]
    rows += [(*_files(number), "validation") for number in HELD_OUT]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def _files(number: int) -> tuple[str, str, str]:
    case = f"la_{number:03}"
    return case, *((SCANS / part / f"{case}.nii.gz").as_posix() for part in ("images", "labels"))


def predicted(run: Path, out: Path, labels: int) -> dict[str, Path]:
    """The masks that a run's model gives the training scans whose labels it may not see."""
    numbers = [*LABELLED[labels:], *UNLABELLED]
    scans = [SCANS / "images" / f"la_{number:03}.nii.gz" for number in numbers]
    batch = vg.segment(run / "package", scans, out=out, writers=["nifti"])
    if batch.failed:
        raise SystemExit(f"{batch.failed} scans failed; see {batch.report}")
    return {
        Path(scan.input).name.removesuffix(".nii.gz"): next(p for p in scan.outputs if p.name.endswith(".nii.gz"))
        for scan in batch.scans
    }


def changes(options: argparse.Namespace, cases: Path, labels: int, steps: str, start: str = "none") -> dict[str, Any]:
    """What differs from the workflow; the models are registered beside the table of cases, and start from there."""
    goes_on = start != "none"
    return {
        "data.layout": {"use": "csv", "path": cases.as_posix()},
        "data.spacing": [options.spacing] * 3,
        "model.start": start,
        "transfer": [{"use": "fine-tune", "encoder_lr": 1.0}] if goes_on else [],
        "training.patch": options.patch,
        "training.precision": "bf16",
        "training.validation_cases": 2,
        "evaluation.metrics": ["dice", "hd95"],
        "tracking": {"uri": f"sqlite:///{cases.parent.as_posix()}/mlflow.db", "experiment": "atrium"},
        "registry": {"name": f"atrium-{labels}", "promote": "always"},
        "steps": steps,
    }


def models(folder: Path, labels: int, options: argparse.Namespace) -> dict[str, Path]:
    """The three models of a number of labels; what is there already is not done again."""
    home = folder / f"{labels}"
    home.mkdir(parents=True, exist_ok=True)
    only = write_cases(home / "labelled.csv", labels)
    first = changes(options, only, labels, f"[{STEPS.strip('[]')}, register]")
    plain = train(WORKFLOW, home / "plain", first, 7, options)
    both = write_cases(home / "both.csv", labels, predicted(plain, home / "masks", labels))
    options.steps, steps = options.more, options.steps
    start = f"models:/atrium-{labels}@champion"
    taught, longer = (
        train(WORKFLOW, home / arm, changes(options, cases, labels, STEPS, start), 8, options)
        for arm, cases in (("self-training", both), ("longer", only))
    )
    options.steps = steps
    return {"longer": longer, "self-training": taught, "plain": plain}


def main() -> None:
    parser = parser_of(__doc__, "self_training")
    parser.add_argument("--labels", default="8,4")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--more", type=int, default=800, help="steps of the second training")
    parser.add_argument("--spacing", type=float, default=1.6, metavar="MM")
    parser.add_argument("--patch", type=json.loads, default=[64, 48, 40])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and go on with those that are here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    tables: list[dict[str, Any]] = []
    with folder_of(options) as folder:
        for labels in (int(n) for n in options.labels.split(",")):
            found = models(folder, labels, options)
            tables.append({"labels": labels, **table_of({(arm, 7): run for arm, run in found.items()})})
            show(tables[-1])
            keep(
                options.out,
                {"spacing_mm": options.spacing, "steps": options.steps, "more": options.more, "tables": tables},
            )


if __name__ == "__main__":
    main()
