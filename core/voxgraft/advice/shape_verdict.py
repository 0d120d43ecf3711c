"""Which shape of a training a short trial speaks for: by the paired tests, by what other data sets showed, or none.

A short trial favours what learns fast. Slices from pretrained weights do so, and on the left atrium volumes overtook
them later: slices do not take the place of volumes by a trial that was shorter than that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..runs.run import Run
from ..scoring.comparison import TOO_FEW, compare_all
from ..scoring.scores import Scores
from ..scoring.transfer_verdict import FEWEST_STEPS, TOO_EARLY
from ..scoring.worth import learnt_nothing
from ..support.texts import counted
from ..transfer.prior import volumes
from ..workflow.workflow import Workflow, from_document
from .candidates import Document


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to look at the scans.

    Attributes:
        dims: 2 for slices, 3 for volumes.
        spacing: Millimetres between voxels, in RAS order.
        encoder, transfer: With what it is trained.
        own: It is the workflow's own.
    """

    dims: int
    spacing: tuple[float, ...]
    encoder: Document
    transfer: tuple[Document, ...]
    own: bool = False

    @property
    def label(self) -> str:
        """How it is called in tables."""
        kind = "slices" if self.dims == 2 else "volumes"
        weights = self.encoder.get("weights", "none")
        start = "scratch" if weights == "none" else weights
        return f"{kind} at {' x '.join(f'{step:g}' for step in self.spacing)} mm, {self.encoder['use']} {start}"

    def workflow(self, own: Workflow, run: Run, **changes: Any) -> Workflow:
        """The workflow in this shape.

        Args:
            own: What is changed.
            run: Its catalogue and its cache of prepared arrays are used.
            changes: Sections of the document that are replaced.
        """
        document = copy.deepcopy(own.document())
        document.update(changes)
        if not self.own:
            document["data"]["spacing"] = list(self.spacing)
            document["model"].update(dims=self.dims, encoder=dict(self.encoder), start="none")
            document["transfer"] = [dict(strategy) for strategy in self.transfer]
            document["training"]["patch"] = "auto"
        return from_document(document, run.catalogue, own.name)


def better_of(shapes: Sequence[Shape], scores: dict[str, Scores], rows: Sequence[dict[str, Any]]) -> Shape | None:
    """The best of the shapes that the paired tests, corrected by Holm, call better than the workflow's own; where these
    cannot tell, volumes that led.

    Args:
        shapes: The workflow's own first.
        scores: Of those that could be trained, by their labels.
        rows: A row of each, with `steps` and `seconds`; the comparison is added.
    """
    own = shapes[0].label
    early = [row for row in rows if row["shape"] in scores and _is_early(row, scores[row["shape"]])]
    for row in early:
        row["evidence"] = TOO_EARLY
    learnt = {label: found for label, found in scores.items() if not any(row["shape"] == label for row in early)}
    if own not in learnt or len(learnt) < 2:
        return None
    ordered = {own: learnt[own], **{label: found for label, found in learnt.items() if label != own}}
    better: dict[str, float] = {}
    for comparison in compare_all(ordered, {"dice": True}):
        row = next(row for row in rows if row["shape"] == comparison.run)
        row.update(evidence=comparison.verdict, against_own=comparison.document())
        if comparison.verdict == "better":
            better[comparison.run] = comparison.difference
    if not better:
        return _led_as_elsewhere(shapes, rows)
    best = max(better, key=lambda label: better[label])
    found = next(shape for shape in shapes if shape.label == best)
    return None if _only_faster(found, shapes[0], rows) else found


def _is_early(row: Mapping[str, Any], scores: Scores) -> bool:
    """Whether a shape had too short a training to be evidence of anything."""
    return row["steps"] < FEWEST_STEPS or learnt_nothing(scores)


def _only_faster(found: Shape, own: Shape, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether slices did better than volumes in less time than volumes took to overtake them elsewhere."""
    row = next(row for row in rows if row["shape"] == found.label)
    return found.dims == 2 and own.dims == 3 and row["seconds"] < volumes().seconds


def _led_as_elsewhere(shapes: Sequence[Shape], rows: Sequence[dict[str, Any]]) -> Shape | None:
    """The best shape of volumes in place of slices, where too few patients can tell and it led, as it did elsewhere."""
    if shapes[0].dims == 3:
        return None
    led = {row["shape"]: row["against_own"]["difference"] for row in rows if row.get("evidence") == TOO_FEW}
    ahead = [shape for shape in shapes if shape.dims == 3 and led.get(shape.label, 0.0) > 0]
    return max(ahead, key=lambda shape: led[shape.label], default=None)


def _none_better(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why the workflow's own shape stays, and what a short trial cannot see."""
    faster = next((row["shape"] for row in rows if row.get("evidence") == "better"), None)
    if faster is not None:
        return (
            f"{faster} did better than the workflow's volumes after so short a time, for slices learn faster; "
            f"{volumes().said()}. The workflow's own shape stays: try both with your budget"
        )
    early = [row["shape"] for row in rows if row.get("evidence") == TOO_EARLY]
    if early:
        which = ", ".join(early)
        return f"too early to tell whether another shape does better: {which} learnt too little; {volumes().said()}"
    return "no evidence that another shape does better than the workflow's own"


def sentence(rows: Sequence[dict[str, Any]], better: Shape | None) -> str:
    """What follows from the rows; empty where there was nothing to compare."""
    if not rows:
        return ""
    if better is None:
        return _none_better(rows)
    row = next(row for row in rows if row["shape"] == better.label)
    found = row["against_own"]
    if row["evidence"] == TOO_FEW:
        return (
            f"{counted(found['patients'], 'held-out patient')} cannot tell, but {better.label} led by "
            f"{found['difference']:+.3f} Dice, and {volumes().said()}: for both it takes the workflow's place"
        )
    low, high = found["ci95"]
    return (
        f"{better.label} does better than the workflow's own shape after the same short time: difference in Dice "
        f"{found['difference']:+.3f} ({low:+.3f} to {high:+.3f}), {found['patients']} held-out patients"
    )
