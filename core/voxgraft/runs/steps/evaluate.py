"""The step `evaluate`: segment the held-out scans as `voxgraft segment` does, and score them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cases import Case
from ...errors import ModelError
from ...imaging.channels import missing_in, stack_channels
from ...imaging.orientation import reoriented
from ...imaging.read import read
from ...imaging.structures import Labels
from ...imaging.volume import Volume
from ...imaging.write import write
from ...inference.array import See
from ...inference.predictor import Prediction, predictor_of
from ...packages.facts import said, said_around
from ...packages.model_card import model_card
from ...packages.package import amend_package, read_package
from ...preprocessing.fingerprint import read_label
from ...preprocessing.plan import Plan
from ...reports.drawing import Picture
from ...reports.pictures import names_of, worst_slice
from ...reports.scores import about, page, worst_cases
from ...scoring.bootstrap import POOLED
from ...scoring.calibration import Watch
from ...scoring.case import Measured, measure_case, watch_case
from ...scoring.masks import comparable
from ...scoring.pairs import Structure
from ...scoring.scores import Scores, gathered
from ...scoring.worth import summed_up, worthless
from ...support.files import write_text
from ...support.texts import counted
from ..run import Run
from ..shortcuts import try_shortcuts

PICTURES = 4
"""Validation cases whose pictures go to the tracker."""
FILES = ("scores.json", "scores.csv", "scores.html")


class Evaluate:
    """Leaves `evaluate/scores.json`, `.csv` and `.html`, the masks, and a package whose card names its scores."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "evaluate" / name for name in FILES]

    def do(self, run: Run) -> None:
        package = read_package(run.package)
        cases = {case.id: case for case in run.dataset.cases}
        held_out = [cases[name] for name in run.split.validation]
        labels = run.dataset.labels or package.labels
        tried = try_shortcuts(
            run, package, labels, lambda name: (*read_held_out(cases[name], run), missing_in(cases[name].images))
        )
        package = replace(package, facts={**package.facts, **tried})
        predictor = predictor_of(package, run.catalogue, device=run.workflow.inference.device)
        half = said(package.facts) if predictor.precision == "32" else []
        around = [] if predictor.body else said_around(package.facts)
        for note in (*predictor.notes, *half, *around):
            run.progress.say(f"evaluate: {note}")
        measured: dict[str, Measured] = {}
        for case, show in _shown_in_turn(held_out, run):
            scan, reference = read_held_out(case, run)
            watch = watch_case(reoriented(reference)[0], labels, run.workflow.evaluation.metrics)
            see = None if watch is None else _shown(watch, labels, package.plan)
            try:
                prediction = predictor.predict(scan, show, missing_in(case.images), see)
            except ModelError as error:
                raise ModelError(f"{case.id}: {error}") from None
            mask = _mask(run, case.id)
            write(prediction.labels, mask, run.catalogue, labels=package.labels, facts={"model": package.name})
            metrics = run.workflow.evaluation.metrics
            measured[case.id] = measure_case(prediction.labels, reference, labels, metrics, watch=watch)
            if len(measured) <= PICTURES:
                _picture(run, case, scan, prediction, labels)
        facts_of = {case.id: case.facts for case in held_out}
        patients = {case.id: case.patient for case in held_out}
        scores = gathered(measured, run.workflow.evaluation.metrics, facts_of, patients)
        run.write("evaluate/scores.json", scores.document())
        scores.write_csv(run.folder / "evaluate" / "scores.csv")
        _write_page(run, scores, labels)
        facts = {**package.facts, "scores": scores.document()["summary"]}
        amend_package(run.package, card=model_card(facts, package.plan), facts={"scores": facts["scores"], **tried})
        self._tell(run, scores)

    def _tell(self, run: Run, scores: Scores) -> None:
        numbers = {f"test_{name}": value for name, value in scores.curves().items()}
        for metric, structures in scores.micro.items():
            single = len(structures) == 2 and POOLED in structures
            shown = {POOLED: structures[POOLED]} if single else structures
            numbers.update({f"test_micro_{metric}_{name}": float(found["value"]) for name, found in shown.items()})
        run.log(numbers, 0)
        if run.tracker is not None:
            for name in FILES:
                run.tracker.file(run.folder / "evaluate" / name, "evaluate")
        if worth := summed_up(worthless(scores)):
            run.remarks.append(worth)
        if scores.note:
            run.progress.say(f"evaluate: {scores.note}")
        metric, structures = next(iter(scores.document()["summary"].items()))
        mean = structures["mean"]
        if mean["mean"] is not None:
            low, high = mean["ci95"]
            interval = "" if low is None else f" (95 % interval {low:.4f} to {high:.4f})"
            run.progress.say(f"evaluate: {metric} {mean['mean']:.4f}{interval}, n {number_behind(mean)}")
        else:
            run.progress.say(f"evaluate: {metric} is defined in none of {counted(len(scores.cases), 'held-out case')}")


def number_behind(found: Mapping[str, Any]) -> str:
    """How many cases are behind a mean, and of how many where some have no value."""
    number, undefined = found["n"], found["undefined"]
    return f"{number} of {number + undefined}" if undefined else f"{number}"


def read_held_out(case: Case, run: Run) -> tuple[Volume, Volume]:
    """The scan of a held-out case, its channels on one grid, and its reference.

    Raises:
        DataError: One of them cannot be read.
    """
    volumes = [None if ref is None else read(ref, run.catalogue) for ref in case.images]
    scan = stack_channels(volumes, case.align)
    return scan, read_label(case, scan, run.dataset.labels, run.catalogue)


def _mask(run: Run, case: str) -> Path:
    return run.folder / "evaluate" / "masks" / f"{case}.nii.gz"


def _shown_in_turn(held_out: Sequence[Case], run: Run) -> Iterator[tuple[Case, Callable[[float], None]]]:
    """Each case, and what shows how much of it is predicted: a single one may take minutes."""
    with run.progress.bar(f"evaluating {counted(len(held_out), 'held-out case')}", len(held_out)) as bar:
        for case in held_out:
            yield case, partial(bar.within, note=case.id)
            bar.advance()


def _shown(watch: Watch, labels: Labels, plan: Plan) -> See:
    """What a watch sees of the network's outputs: those of a structure's values, or of the region that it is."""
    indices: dict[tuple[int, ...], list[int]] = {(value,): [index] for index, value in enumerate(plan.values)}
    if labels.regions:
        indices = {tuple(sorted(set(region.members))): [index] for index, region in enumerate(labels.regions)}

    def see(part: tuple[slice, ...], outputs: NDArray[np.float32]) -> None:
        def probability(structure: Structure) -> NDArray[Any]:
            channels = indices.get(structure.values) or [
                index for value in structure.values for index in indices.get((value,), [])
            ]
            return np.asarray(outputs[channels[0]] if len(channels) == 1 else outputs[channels].sum(0))

        watch.see(part, probability)

    return see


def _write_page(run: Run, scores: Scores, labels: Labels) -> None:
    """The scores to look at, with the worst cases as they were written."""
    specs = about(scores, run.catalogue)
    pictures = pictures_of(run, worst_cases(scores, specs), labels, lambda case: _mask(run, case))
    title = f"Held-out cases of {run.workflow.name}"
    write_text(run.folder / "evaluate" / "scores.html", page(scores, specs, title, pictures))


def pictures_of(run: Run, names: Sequence[str], labels: Labels, mask_of: Callable[[str], Path]) -> dict[str, Picture]:
    """The worst slices of held-out cases, from the masks as they were written.

    Args:
        run: Whose data set holds the cases.
        names: Of the cases.
        labels: What the values of their masks stand for.
        mask_of: Where the mask of a case was written.
    """
    cases = {case.id: case for case in run.dataset.cases}
    modality = run.workflow.data.modality.build()
    pictures = {}
    for name in names:
        scan, reference = read_held_out(cases[name], run)
        masks = comparable(read(mask_of(name), run.catalogue), reference, labels)
        pictures[name] = worst_slice(*masks, scan, modality, labels)
    return pictures


def _picture(run: Run, case: Case, scan: Volume, prediction: Prediction, labels: Labels) -> None:
    from ...reports.preview import preview

    target = run.folder / "evaluate" / "pictures" / f"{case.id}.png"
    preview(scan, prediction.labels, run.workflow.data.modality.build(), target, names_of(labels, prediction.labels))
    if run.tracker is not None:
        run.tracker.file(target, "pictures")
