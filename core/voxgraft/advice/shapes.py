"""The shape of a training: slices or volumes, and how coarse.

On the left atrium this mattered more than any pretrained weights did (docs/transfer.md). Each shape is trained for the
same time from what is usual for it, and scored on the held-out scans in their own grid, so that coarse and fine ones
are compared by what a reader gets. Only a shape that does better than the workflow's own, by the paired tests, takes
its place; and volumes in place of slices where too few patients are held out to tell and they led, as they did
elsewhere.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ..components.choice import choose
from ..errors import VoxGraftError
from ..imaging.channels import missing_in
from ..inference.predictor import predictor_of
from ..packages.package import read_package
from ..preprocessing.planning import affordable_spacing
from ..runs.engine import run_workflow
from ..runs.run import Run
from ..runs.steps.evaluate import read_held_out
from ..scoring.case import Measured, measure_case
from ..scoring.pairs import MEAN
from ..scoring.scores import Scores, gathered
from ..support.lock import remove
from ..transfer.prior import prior, volumes
from ..workflow.workflow import Workflow, from_document
from .candidates import Document, encoders_at_hand
from .clock import Clock, TimeUp, Watched
from .shape_verdict import Shape, better_of

MINUTES = 6.0
"""With fewer, no shape would learn enough to be compared."""
SHARE, TRAINING = 0.5, 0.5
"""Of the time that is left, for all shapes together; and of that, what trains: the rest prepares and evaluates."""
LEAST = 40.0
"""Seconds that a shape is trained for; where time is shorter, fewer shapes are compared."""
HELD_OUT, FEW = 8, 3
"""So many held-out cases are scored, at most, and at least, however long they take."""


def shapes_of(own: Workflow, run: Run) -> list[Shape]:
    """The workflow's own shape first, then what else comes into question, what a CPU can afford before what is fine;
    nothing else where the images are 2D.

    Args:
        own: The workflow.
        run: Where it was planned.
    """
    plan = run.plan
    mine = Shape(plan.dims, plan.spacing, own.model.encoder.document(), (), own=True)
    if plan.image_dims == 2:
        return [mine]
    cases = run.read("fingerprint.json")["cases"]
    trained = [cases[name] for name in run.split.train if name in cases]
    shape = [round(median(case["shape"][axis] for case in trained)) for axis in range(3)]
    spacing = tuple(float(median(case["spacing"][axis] for case in trained)) for axis in range(3))
    coarse = affordable_spacing(shape, spacing)
    found = [mine]
    if coarse is not None and not _is_taken(found, 3, coarse):
        found.append(_volumes(coarse))
    if plan.dims == 3:
        found.append(_slices(own, run, coarse or spacing))
    if not _is_taken(found, 3, spacing):
        found.append(_volumes(spacing))
    return found


def _volumes(spacing: tuple[float, ...]) -> Shape:
    return Shape(3, spacing, {"use": "residual", "weights": "none"}, ())


def _is_taken(found: Sequence[Shape], dims: int, spacing: Sequence[float]) -> bool:
    """Whether there is such a shape already, with voxels that are no more than a tenth longer or shorter."""
    return any(
        shape.dims == dims and all(abs(math.log(a / b)) < 0.1 for a, b in zip(shape.spacing, spacing, strict=True))
        for shape in found
    )


def _slices(own: Workflow, run: Run, spacing: tuple[float, ...]) -> Shape:
    """Slices from the first pretrained encoder at hand, or from scratch."""
    document = copy.deepcopy(own.document())
    scratch: Document = {"use": "residual", "weights": "none"}
    document["model"].update(dims=2, encoder=scratch, start="none")
    document["transfer"], document["training"]["patch"] = [], "auto"
    encoders, _ = encoders_at_hand(from_document(document, run.catalogue, own.name), run.models)
    if not encoders:
        return Shape(2, spacing, scratch, ())
    return Shape(2, spacing, encoders[0], tuple(dict(strategy) for strategy in prior(2).transfer))


def compare_shapes(
    own: Workflow, run: Run, clock: Clock, folder: Path, rows: list[dict[str, Any]], say: Callable[[str], None]
) -> Shape | None:
    """Train each shape for the same time; the one that does better than the workflow's own, or None.

    Args:
        own: The workflow.
        run: Where it was planned.
        clock: Whose time is shared.
        folder: For the runs; they are removed.
        rows: A row is added for each shape: `shape`, `dice`, `steps`, `seconds`, or `error`, and the comparison.
        say: Is told how far it is.

    Raises:
        TimeUp: All of the clock's time is up, not only the share of it that is for shapes.
    """
    shapes = shapes_of(own, run)
    if len(shapes) < 2:
        return None
    stage = clock.part(SHARE)
    shapes = shapes[: max(2, int(TRAINING * stage.left / LEAST))]
    seconds = TRAINING * stage.left / len(shapes)
    scores: dict[str, Scores] = {}
    for number, shape in enumerate(shapes, 1):
        until = stage.part(1 / (len(shapes) - number + 1))
        row: dict[str, Any] = {"shape": shape.label, "own": shape.own}
        place = folder / f"shape_{number}"
        try:
            told, scores[shape.label] = _trained(shape, own, run, place, seconds, stage, until)
            row |= told
            said = f"Dice {row['dice']:.3f} after {row['steps']} steps"
        except VoxGraftError as error:
            row["error"] = said = str(error).splitlines()[0]
        except TimeUp:
            clock.check()
            row["error"] = said = "the time for comparing shapes was up"
        finally:
            remove(place)
        rows.append(row)
        say(f"advise: shape {number} of {len(shapes)}, {shape.label}: {said}")
    return better_of(shapes, scores, rows)


def _trained(
    shape: Shape, own: Workflow, run: Run, folder: Path, seconds: float, stage: Clock, until: Clock
) -> tuple[dict[str, Any], Scores]:
    """Train one shape and score it; its row and its scores."""
    stage.check()
    document = own.document()
    split = copy.deepcopy(document["data"]["split"])
    split.update({key: 0 for key in ("fold", "repeat") if split[key] == "all"})
    changes = {
        "data": {**document["data"], "split": split, "cache": run.cache.as_posix()},
        "training": {**document["training"], "budget": f"{seconds / 60:.4f} min", "validate_every": 1.0},
        "steps": ["plan", "prepare", "train"],
        **dict.fromkeys(("tracking", "registry", "guard")),
    }
    workflow = shape.workflow(own, run, **changes)
    remove(folder)  # of an advice that was killed
    done = run_workflow(workflow, run.catalogue, folder, progress=Watched(stage), registry=own.place)
    scores = _scored(done, stage, until)
    summary = done.read("train/summary.json")
    mean = scores.summary["dice"][MEAN]
    row = {"dice": float(mean["mean"]), "volumes": len(scores.cases), "defined": mean["n"]}
    return {**row, "steps": summary["steps"], "seconds": summary["seconds"]}, scores


def _scored(run: Run, stage: Clock, until: Clock) -> Scores:
    """Dice of the first held-out scans, in their own grid; of a few where each takes long."""
    predictor = predictor_of(read_package(run.package), run.catalogue, device=run.workflow.inference.device)
    metrics = [choose(run.catalogue, "metric", {"use": "dice"})]
    cases = {case.id: case for case in run.dataset.cases}
    labels = run.dataset.labels or predictor.package.labels
    measured: dict[str, Measured] = {}
    for name in run.split.validation[:HELD_OUT]:
        if len(measured) >= FEW and until.left <= 0:
            break
        stage.check()
        scan, reference = read_held_out(cases[name], run)
        prediction = predictor.predict(scan, missing=missing_in(cases[name].images))
        measured[name] = measure_case(prediction.labels, reference, labels, metrics)
    return gathered(measured, metrics, {}, {name: cases[name].patient for name in measured})


def not_compared(dims: int) -> str:
    """What is said where there are too few minutes.

    Args:
        dims: Of the workflow's network, on volumes.
    """
    said = f"slices and volumes were not compared, which takes {MINUTES:g} minutes or more"
    return f"{said}; {volumes().said()}" if dims == 2 else said
