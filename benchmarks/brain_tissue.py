"""Grey and white matter from 1, 2 and 4 labelled subjects: the weights of deepbet's brain-MR network against scratch.

    python benchmarks/brain_tissue.py --make ../brain_tissue
    python benchmarks/brain_tissue.py [--steps 120] [--folder DIR] [--out benchmarks/results/brain_tissue.json]

The first form makes the data that workflows/brain_tissue_deepbet.yaml reads, the second compares. Every subject is a
block of ONE brain, the MNI152 template that the nilearn package ships, differently bent and scanned: the figures show
whether the weights carry over to the task, and nothing about how a model does on patients. Subjects to learn from and
to choose learning rates on come from one mild "scanner"; those to evaluate on are bent, biased and noisier beyond it.

All arms see the same subjects and patches in the same order and take the same number of steps; each has the learning
rate of RATES that does best on the tuning subjects. Prints tables and writes JSON with machine and versions.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import folder_of, options_of, pooled_arms, told, train
from measured import ROOT, keep, parser_of
from numpy.random import Generator
from strategies import ARMS, SCRATCH

from voxgraft.api import catalogue
from voxgraft.demo.phantoms import Floats, Grid, Template, draw_head, read_template, scan
from voxgraft.errors import DataError
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.scoring.comparison import compare_all, read_run
from voxgraft.scoring.pairs import MEAN

SEED = 2024
POOL, TUNING, EVALUATED = 8, 4, 16
"""Subjects that labelled ones are drawn from, that rates are chosen on, and that the figures are about."""

CHOSEN = (SCRATCH, "freeze", "lp-ft", "layer-decay")
RATES = (3e-4, 1e-3, 3e-3)
TUNED_WITH = 2
"""Labelled subjects with which the learning rates are chosen, in the first draw of them; they hold for all."""

STRUCTURES = (MEAN, "grey matter", "white matter")
SHAPE = (64, 80, 64)
"""Voxels of a block, 1 mm wide."""

REACH = ((-30.0, 30.0), (-40.0, 40.0), (-15.0, 25.0))
"""Where a block's middle may lie, in millimetres from the brain's middle to the right, forwards and upwards."""


@dataclass(frozen=True, slots=True)
class Domain:
    """How far subjects differ from the template. The demo's heads, with more where it says so.

    Attributes:
        bend: By how much the demo's random deformation is multiplied.
        tissue: By how much its changes of the tissues' brightness are multiplied.
        gamma: The range of the exponent of intensities.
        bias: Deviation of the logarithm of a second coil's field, at the ends of the block.
        noise: The range of the deviation of a second Rician noise, as a share of the brightest voxels.
    """

    bend: float
    tissue: float
    gamma: tuple[float, float]
    bias: float
    noise: tuple[float, float]


MILD = Domain(bend=1.0, tissue=1.0, gamma=(0.8, 1.3), bias=0.0, noise=(0.0, 0.0))
HARD = Domain(bend=1.75, tissue=1.5, gamma=(0.6, 1.8), bias=0.25, noise=(0.02, 0.08))
"""Decided before any model was evaluated."""


def draw_subject(template: Template, domain: Domain, rng: Generator) -> tuple[Volume, Volume]:
    """An image (float32) and its true mask (uint8), both of shape `SHAPE`."""
    head = draw_head(rng)
    head = replace(
        head,
        linear=np.eye(3) + domain.bend * (head.linear - np.eye(3)),
        field=domain.bend * head.field,
        grey=domain.tissue * head.grey,
        white=domain.tissue * head.white,
        gamma=float(np.exp(rng.uniform(*np.log(domain.gamma)))),
    )
    shift = tuple(float(rng.uniform(*span)) for span in REACH)
    grid = Grid("RAS", SHAPE, (1.0, 1.0, 1.0), shift=(shift[0], shift[1], shift[2]))
    image, mask = scan(template, head, grid, rng)
    seen = image.array * _field(domain.bias, rng)
    noise = rng.uniform(*domain.noise) * np.percentile(seen, 99) * rng.standard_normal((2, *SHAPE))
    return Volume(np.hypot(seen + noise[0], noise[1]).astype(np.float32), image.affine), mask


def _field(deviation: float, rng: Generator) -> Floats:
    """A smooth factor around 1 over a block: a random slope and bend of its logarithm along each axis."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij", sparse=True)
    slopes, bends = rng.normal(0.0, deviation, (2, 3))
    log = sum(slope * x + bend * (x**2 - 1 / 3) for x, slope, bend in zip(axes, slopes, bends, strict=True))
    return np.exp(np.asarray(log)).astype(np.float32)


def make(folder: Path) -> None:
    """Images, masks and two tables: `subjects.csv` holds out those to evaluate on, `tuning.csv` those to tune on."""
    template = read_template(smoothing=0.0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    parts = [("pool", POOL, MILD), ("tuning", TUNING, MILD), ("evaluated", EVALUATED, HARD)]
    rows = []
    for place, (part, number, domain) in enumerate(parts):
        for index in range(number):
            name = f"{part}_{index:02d}"
            volumes = draw_subject(template, domain, np.random.default_rng([SEED, place, index]))
            for kind, volume in zip(("images", "labels"), volumes, strict=True):
                write(volume, folder / kind / f"{name}.nii.gz", catalogue())
            rows.append((part, name))
    for table, held_out in (("subjects", "evaluated"), ("tuning", "tuning")):
        with (folder / f"{table}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["case", "image", "label", "split"])
            for part, name in rows:
                if part in ("pool", held_out):
                    split = "train" if part == "pool" else "validation"
                    out.writerow([name, f"images/{name}.nii.gz", f"labels/{name}.nii.gz", split])


def run(arm: str, rate: float, labelled: int, draw: int, table: str, options: argparse.Namespace) -> Path:
    """Train one arm, or take the run that is there; the folder of the run.

    Args:
        draw: Which set of labelled subjects; with each goes one of the seeds.
    """
    folder, seeds = options.folder, [int(seed) for seed in options.seeds.split(",")]
    changes: dict[str, Any] = {
        "data.layout.path": (folder / f"{table}.csv").as_posix(),
        "data.split.labelled": labelled,
        "data.split.repeats": len(seeds),
        "data.split.repeat": draw,
        "training.optimiser.lr": rate,
        "transfer": ARMS[arm],
    }
    if arm == SCRATCH:
        changes["model.encoder.weights"] = "none"
    return train(options.workflow, folder / f"{table}-{labelled}-{draw}-{arm}-{rate:g}", changes, seeds[draw], options)


def tune(arm: str, options: argparse.Namespace) -> dict[float, float]:
    """Mean Dice of the tuning subjects with each learning rate."""
    scores = {rate: read_run(run(arm, rate, TUNED_WITH, 0, "tuning", options)) for rate in RATES}
    return {rate: one.summary["dice"][MEAN]["mean"] for rate, one in scores.items()}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Choose each arm's rate, train every arm on each draw, and compare with scratch subject by subject."""
    arms = options.arms.split(",")
    tuned = {arm: tune(arm, options) for arm in arms}
    rates = {arm: max(found, key=lambda rate: found[rate]) for arm, found in tuned.items()}
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    for labelled in map(int, options.labelled.split(",")):
        pairs = [(arm, draw) for arm in arms for draw, _ in enumerate(options.seeds.split(","))]
        runs = {(arm, draw): run(arm, rates[arm], labelled, draw, "subjects", options) for arm, draw in pairs}
        for (arm, draw), one in runs.items():
            learnt = json.loads((one / "split.json").read_text())["train"]
            rows.append({"labelled": labelled, "arm": arm, "draw": draw, "learnt_from": learnt, **told(one)})
        scores = pooled_arms(runs)
        for arm, one in scores.items():
            found = one.document()["summary"]["dice"]
            means.append({"labelled": labelled, "arm": arm, "dice": {name: found[name] for name in STRUCTURES}})
        against = compare_all(scores, {"dice": True}, STRUCTURES)
        compared += [{"labelled": labelled, **one.document()} for one in against]
    return {
        "tuned": {arm: {f"{rate:g}": dice for rate, dice in found.items()} for arm, found in tuned.items()},
        "rates": rates,
        "means": means,
        "comparisons": compared,
        "runs": rows,
    }


def show(document: dict[str, Any]) -> None:
    """The tables of the page."""
    print(f"{'tuning: Dice at rate':20} " + " ".join(f"{rate:>8g}" for rate in RATES))
    for arm, found in document["tuned"].items():
        print(f"{arm:20} " + " ".join(f"{dice:8.4f}" for dice in found.values()))
    print(f"\n{'labelled':8} {'arm':12} " + " ".join(f"{name:>13}" for name in STRUCTURES))
    for one in document["means"]:
        dice = " ".join(f"{one['dice'][name]['mean']:13.4f}" for name in STRUCTURES)
        print(f"{one['labelled']:8} {one['arm']:12} {dice}")
    print(f"\n{'labelled':8} {'arm':12} {'structure':13} {'gain':>7} {'95 % interval':>17} {'p (Holm)':>8}  verdict")
    for one in document["comparisons"]:
        low, high = one["ci95"]
        print(
            f"{one['labelled']:8} {one['run']:12} {one['structure']:13} {one['difference']:+7.4f} {low:+8.4f} "
            f"{high:+8.4f} {one['p_holm']:8.4f}  {one['verdict']}"
        )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="make the data here, and do nothing else")
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "brain_tissue_deepbet.yaml")
    parser.add_argument(
        "--arms", default=",".join(CHOSEN), help="the first is compared with; of benchmarks/strategies.py"
    )
    parser.add_argument("--labelled", default="1,2,4", help="numbers of labelled subjects")
    options_of(parser, "brain_tissue", steps=120, seeds="7,8")
    options = parser.parse_args()
    try:
        if options.make:
            make(options.make)
            return
        with folder_of(options) as options.folder:
            if not (options.folder / "tuning.csv").is_file():
                make(options.folder)
            document = compare(options)
    except DataError as error:
        sys.exit(f"brain_tissue: {error}")
    keep(options.out, document)
    show(document)


if __name__ == "__main__":
    main()
