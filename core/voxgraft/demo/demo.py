"""The main job on data that the demo makes: learn, measure, register, segment new patients, and score their masks."""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError
from ..imaging.structures import Labels
from ..support.files import write_json, write_text
from ..support.mlflow_page import page_command
from ..support.progress import Progress
from .dataset import MADE, DemoData, make_data
from .phantoms import LABELS

if TYPE_CHECKING:
    from ..batch.segment import Batch
    from ..components.catalogue import Catalogue
    from ..scoring.scores import Scores
    from ..workflow.workflow import Workflow

CAUTION = (
    "All heads are variations of ONE brain (the MNI152 template). The figures show that the machinery works; "
    "they say nothing about new patients."
)
MODEL = "models:/demo-brain@champion"
RESULT = "demo.json"
SHORTEST, LONGEST = 0.05, 24 * 60.0
"""Minutes of training."""

WIDTH = 110
OURS = ("data", "run", "batch", "workflow.yaml", "voxgraft.db")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the job, with the seconds it took on the clock and on all processors."""

    name: str
    seconds: float
    cpu: float


@dataclass(slots=True)
class Outcome:
    """What the demo did, and where everything is.

    Attributes:
        dice: For each group of scans and each structure, the mean Dice; None where there is none.
        cases: How many scans each of those means is made of.
        left_out: Scans that were not segmented, and why.
        failed: How many scans failed.
        version: The version of the model that segmented them.
        model: The reference of that model.
        masks: The names that masks have in a scan's folder.
    """

    folder: Path
    parts: list[Part] = field(default_factory=list)
    dice: dict[str, dict[str, float | None]] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    failed: int = 0
    version: str = ""
    model: str = MODEL
    masks: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def places(self) -> dict[str, str]:
        """Where the results are, and how to look at them."""
        return {
            "worklist": str(self.folder / "batch" / "report.html"),
            "masks": " and ".join(str(self.folder / "batch" / "*" / name) for name in self.masks),
            "model": f"{self.model}, version {self.version} (this run's: {self.folder / 'run' / 'package'})",
            "workflow": str(self.folder / "workflow.yaml"),
            "MLflow page": page_command(tracking_uri(self.folder)),
        }

    def document(self) -> dict[str, Any]:
        """Plain values, as `demo.json` holds them."""
        return {
            "made by": "voxgraft demo",
            "caution": CAUTION,
            "dice": self.dice,
            "cases": self.cases,
            "left_out": self.left_out,
            "failed": self.failed,
            "version": self.version,
            "parts": [{"name": p.name, "seconds": round(p.seconds, 1), "cpu": round(p.cpu, 1)} for p in self.parts],
            "seconds": round(self.seconds, 1),
            "places": self.places,
        }


def run_demo(out: Path, minutes: float, catalogue: Catalogue, progress: Progress) -> Outcome:
    """Do the main job in a folder; what an earlier call did there, and would do again, is skipped.

    Args:
        minutes: How long to train; another number trains again and registers another version.

    Raises:
        UsageError: The folder holds files of the demo's names that it did not make, or the minutes are none.
        VoxGraftError: A part failed; the message says why.
    """
    from ..batch.segment import segment
    from ..packages.references import Resolver, registry
    from ..runs.engine import run_workflow
    from ..workflow.workflow import read

    if not SHORTEST <= minutes <= LONGEST:
        raise UsageError(f"--minutes {minutes:g}: train for {SHORTEST:g} to {LONGEST:g} minutes")
    folder = _claim(out)
    outcome = Outcome(folder)
    with _timed(outcome, "look for what is needed", progress):
        workflow = read(write_workflow(folder, minutes), catalogue)
        models = Resolver(catalogue, workflow.place)
        workflow.model.encoder.build().weights(models)  # complain at once where they are not installed
    with _timed(outcome, "make the data", progress):
        data = make_data(folder / "data", catalogue, progress)
    with _timed(outcome, f"train on {len(data.cases)} labelled heads, measure, register", progress):
        run = run_workflow(workflow, catalogue, folder / "run", progress=progress)
    _keep(outcome, "held-out heads", run.read("evaluate/scores.json"))
    with _timed(outcome, "segment the new patients", progress):
        store = registry(catalogue, tracking_uri(folder))
        registered = run.read("register.json")  # after so short a training it may be no champion
        outcome.model = MODEL if registered["champion"] else registered["reference"]
        outcome.version = store.version(outcome.model).version
        batch = segment(store.fetch(outcome.model), [data.dicom], folder / "batch", catalogue, progress=progress)
    outcome.failed = batch.failed
    outcome.masks = sorted(
        {path.name for scan in batch.scans for path in scan.outputs if path.name.startswith("mask.")}
    )
    outcome.left_out = [f"{scan.case}: {scan.error}" for scan in batch.scans if scan.state == "left-out"]
    with _timed(outcome, "score their masks", progress):
        scores = _score(data, batch, workflow, catalogue)
    if scores.cases:
        _keep(outcome, "new patients, from DICOM", scores.document())
    write_json(folder / RESULT, outcome.document())
    return outcome


def write_data(folder: Path, catalogue: Catalogue, progress: Progress) -> DemoData:
    """Make the demo's scans in a folder of their own, or find there what an earlier call made.

    Args:
        folder: New, empty, or made by an earlier call.
        catalogue: Whose writers are used.
        progress: Shows how far it is.

    Raises:
        UsageError: The folder holds something else.
        DataError: It cannot be written, or the template is not installed.
    """
    if folder.is_file():
        raise DataError(f"{folder}: a file has the name of the folder; choose another with --data")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MADE).is_file():
        raise UsageError(f"{folder}: holds files that the demo did not make; choose another folder with --data")
    return make_data(folder, catalogue, progress)


def tracking_uri(folder: Path) -> str:
    """Where the demo's runs and model versions are kept."""
    return f"sqlite:///{folder / 'voxgraft.db'}"


def _claim(out: Path) -> Path:
    """Make the folder, or take one that holds nothing of another maker that the demo would overwrite."""
    folder = out.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marked = (folder / RESULT).is_file()
        taken = [name for name in OURS if (folder / name).exists()]
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{out}: a file has the name of the folder; choose another with --out") from None
    except OSError as error:
        raise DataError(
            f"{out}: cannot be made or read: {error.strerror or error}; choose another with --out"
        ) from None
    if taken and not marked:
        raise UsageError(
            f"{out}: holds {', '.join(taken)}, which the demo did not make; choose another folder with --out"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{out}: this folder cannot be written to; choose another with --out")
    if not marked:
        write_json(folder / RESULT, {"made by": "voxgraft demo"})
    return folder


def write_workflow(folder: Path, minutes: float) -> Path:
    """Write the demo's workflow file; it can be run from anywhere."""
    text = files(__package__).joinpath("workflow.yaml").read_text(encoding="utf-8")
    values = {
        "labelled": folder / "data" / "labelled",
        "budget": f"{minutes:g} min",
        "tracking": tracking_uri(folder),
    }
    quoted = {name: json.dumps(str(value), ensure_ascii=False) for name, value in values.items()}
    path = folder / "workflow.yaml"
    write_text(path, Template(text).substitute(quoted))
    return path


@contextmanager
def _timed(outcome: Outcome, name: str, progress: Progress) -> Iterator[None]:
    progress.say(f"demo: {name}")
    clock, cpu = time.monotonic(), _cpu()
    yield
    outcome.parts.append(Part(name, time.monotonic() - clock, _cpu() - cpu))


def _cpu() -> float:
    """Seconds of processor time of this process and of the workers that it waited for."""
    return sum(os.times()[:4])


def table(outcome: Outcome) -> str:
    """What the demo found, for a person to read."""
    structures = sorted(
        {name for row in outcome.dice.values() for name in row}, key=lambda name: (name == "mean", name)
    )
    head = ["Dice", *structures]
    rows = [
        [f"{group} ({outcome.cases[group]})", *(_number(row.get(name)) for name in structures)]
        for group, row in outcome.dice.items()
    ]
    times = [[part.name, f"{part.seconds:.1f}", f"{part.cpu:.1f}"] for part in outcome.parts]
    times.append(["all", f"{outcome.seconds:.1f}", f"{sum(part.cpu for part in outcome.parts):.1f}"])
    blocks = [_columns([head, *rows]), _columns([["part", "seconds", "of processor time"], *times])]
    if outcome.left_out:
        blocks.append("\n".join(_wrapped(f"left out: {line}") for line in outcome.left_out))
    width = max(map(len, outcome.places))
    blocks.append("\n".join(f"{name:{width}}  {path}" for name, path in outcome.places.items()))
    return "\n\n".join([*blocks, textwrap.fill(CAUTION, WIDTH)])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    first, *others = widths
    return "\n".join(
        f"{row[0]:{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], others, strict=True))
        for row in rows
    )


def _score(data: DemoData, batch: Batch, workflow: Workflow, catalogue: Catalogue) -> Scores:
    """Compare the masks of the new scans with the truth, which only the demo knows."""
    from ..imaging.read import read
    from ..scoring.case import score_case
    from ..scoring.scores import Scores

    folders = {Path(scan.input).resolve(): scan for scan in batch.scans if scan.state in ("done", "skipped")}
    masks, patients = {}, {}
    for drawn in data.scans:
        scan = folders.get((data.folder / drawn.folder).resolve())
        if drawn.truth is not None and scan is not None:
            mask = read(batch.out / scan.case / "mask.nii.gz", catalogue)
            truth = read(data.folder / drawn.truth, catalogue)
            masks[scan.case] = score_case(mask, truth, Labels.of(LABELS), workflow.evaluation.metrics)
            patients[scan.case] = drawn.patient
    return Scores.of(masks, patients)


def _keep(outcome: Outcome, group: str, scores: Mapping[str, Any]) -> None:
    """Take the mean Dice of each structure from a document of scores."""
    dice = scores["summary"]["dice"]
    outcome.dice[group] = {name: scores["mean"] for name, scores in dice.items()}
    outcome.cases[group] = len(scores["cases"])
