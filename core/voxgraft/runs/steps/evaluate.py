"""The step `evaluate`: segment the held-out scans as `voxgraft segment` does, and score them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.cases import Case
from ...data.channels import missing_in, stack_channels
from ...errors import DataError
from ...infer.predictor import Prediction, Predictor
from ...masks import read_mask
from ...package import amend_package, read_package
from ...reading import read
from ...scoring.case import named_metrics, score_case
from ...scoring.scores import Scores
from ...volume import Volume
from ...writing import write
from ..card import model_card
from ..run import Run

PICTURES = 4
"""Validation cases whose pictures go to the tracker."""


class Evaluate:
    """Leaves `evaluate/scores.json`, `evaluate/scores.csv`, the masks, and a package whose card names its scores."""

    def inputs(self, run: Run) -> Mapping[str, Any]:
        document = run.workflow.document()
        return {
            "model": read_package(run.package).hash,
            "evaluation": document["evaluation"],
            "inference": document["inference"],
            "split": run.read("split.json"),
            "prepared": run.read("prepared.json"),
        }

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "evaluate" / name for name in ("scores.json", "scores.csv")]

    def do(self, run: Run) -> None:
        package = read_package(run.package)
        predictor = Predictor(package, run.catalogue, device=run.workflow.inference.device)
        cases = {case.id: case for case in run.dataset.cases}
        held_out = [cases[name] for name in run.split.validation]
        found: dict[str, Any] = {}
        for case in run.progress.track(held_out, f"evaluating {len(held_out)} held-out cases"):
            scan, prediction, reference = _segment(case, predictor, run)
            mask = run.folder / "evaluate" / "masks" / f"{case.id}.nii.gz"
            write(prediction.labels, mask, run.catalogue, labels=package.labels, facts={"model": package.name})
            labels = run.dataset.labels or package.labels
            found[case.id] = score_case(prediction.labels, reference, labels, run.workflow.evaluation.metrics)
            if len(found) <= PICTURES:
                _picture(run, case, scan, prediction)
        patients = {case.id: case.patient for case in held_out}
        options = {name: one.document() for name, one in named_metrics(run.workflow.evaluation.metrics).items()}
        scores = Scores.of(found, patients, metrics=options)
        run.write("evaluate/scores.json", scores.document())
        scores.write_csv(run.folder / "evaluate" / "scores.csv")
        facts = {**package.facts, "scores": scores.document()["summary"]}
        amend_package(run.package, card=model_card(facts, package.plan), facts={"scores": facts["scores"]})
        self._tell(run, scores)

    def _tell(self, run: Run, scores: Scores) -> None:
        numbers = {}
        for metric, structures in scores.document()["summary"].items():
            for name, one in structures.items():
                if one["mean"] is not None and math.isfinite(one["mean"]):
                    numbers[f"test_{metric}_{name}".replace(" ", "_")] = float(one["mean"])
        run.log(numbers, 0)
        if run.tracker is not None:
            for name in ("scores.json", "scores.csv"):
                run.tracker.file(run.folder / "evaluate" / name, "evaluate")
        metric, structures = next(iter(scores.document()["summary"].items()))
        mean = structures["mean"]
        if mean["mean"] is not None:
            low, high = mean["ci95"]
            interval = "" if low is None else f" (95 % interval {low:.4f} to {high:.4f})"
            run.progress.say(f"evaluate: {metric} {mean['mean']:.4f}{interval}, n {mean['n']}")


def _segment(case: Case, predictor: Predictor, run: Run) -> tuple[Volume, Prediction, Volume]:
    volumes = [None if ref is None else read(ref, run.catalogue) for ref in case.images]
    scan = stack_channels(volumes, case.align)
    if case.label is None:
        raise DataError(f"case {case.id} has no label to compare with")
    prediction = predictor.predict(scan, missing=missing_in(case.images))
    return scan, prediction, read_mask(case.label, scan, run.dataset.labels, run.catalogue)


def _picture(run: Run, case: Case, scan: Volume, prediction: Prediction) -> None:
    from ...batch.preview import preview

    target = run.folder / "evaluate" / "pictures" / f"{case.id}.png"
    preview(scan, prediction.labels, run.workflow.data.modality.build(), target)
    if run.tracker is not None:
        run.tracker.file(target, "pictures")
