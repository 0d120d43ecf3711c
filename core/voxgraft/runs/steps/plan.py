"""The step `plan`: measure the cases, split them by patient, and decide every number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...checks.learnable import Marked, empty_masks, judge_learnable
from ...checks.problem import CaseProblem
from ...datasets.cases import NAME as TRACE
from ...datasets.cases import Case, Split, is_traced, write_trace
from ...datasets.companions import assign_roles, cases_by_key, common_labels
from ...datasets.dataset import split_of
from ...datasets.labelling import network_labels
from ...datasets.split import draw
from ...errors import DataError
from ...imaging.structures import Label, Labels
from ...preprocessing.fingerprint import measure, summarise
from ...preprocessing.plan import Plan
from ...preprocessing.planning import derive_plan
from ...support.machine import device_kind
from ...support.texts import counted, listed
from ...support.workers import in_threads
from ...workflow.requirements import roles_of
from ..run import Run


class PlanStep:
    """Leaves `fingerprint.json`, `split.json` and `plan.json`."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / name for name in ("fingerprint.json", "split.json", "plan.json")]

    def do(self, run: Run) -> None:
        dataset, options = run.dataset, run.workflow.data
        others = run.others
        split = assign_roles(roles_of(run.workflow), dataset, others, self._split(run))
        cases = cases_by_key(dataset, others, split)
        labels = common_labels(dataset, others)
        reading, hashed = run.reading, run.shared.contents.of
        measured = dict(
            zip(
                cases,
                in_threads(
                    lambda case: measure(case, reading, labels, hashed),
                    list(cases.values()),
                    run.progress,
                    f"measuring {len(cases)} cases",
                ),
                strict=True,
            )
        )
        learnt = split.train or split.unlabelled
        seen = {name: measured[name] for name in (*learnt, *split.validation)}
        labels = labels or (_found(seen) if run.workflow.supervised else Labels())
        fingerprint = summarise(seen, learnt)
        device = device_kind(run.workflow.training.device)
        modality = options.modality.build()
        plan = derive_plan(
            fingerprint,
            dataset,
            labels,
            options,
            modality,
            device,
            dims=run.workflow.model.dims,
            patch=run.workflow.training.patch,
            batch=run.workflow.training.batch,
        )
        checked = any(step.name == "check" for step in run.workflow.steps)
        for problem in doubts_of(fingerprint, plan, split, labels):
            if not checked or problem.code == "lost-structure":  # `check` knows the spacing only roughly
                run.progress.say(f"plan: {problem.severity}: {problem.message}")
        unlabelled = {name: measured[name] for name in split.unlabelled}
        _complain_of_axes(unlabelled, plan)
        fingerprint["cases"] |= summarise(unlabelled, split.unlabelled)["cases"] if unlabelled else {}
        run.write("fingerprint.json", fingerprint)
        run.write("split.json", split.document())
        if is_traced(dataset):
            write_trace(run.folder / TRACE, dataset, split)
            run.progress.say(f"plan: {run.folder / TRACE} lists the path of each case; only you can read it")
        run.write("plan.json", plan.model_dump(mode="json"))
        size = "x".join(map(str, plan.patch))
        remark = f"{len(split.unlabelled)} without labels, " if split.unlabelled else ""
        run.progress.say(
            f"plan: {counted(len(split.train), 'case')} to train on, {remark}{len(split.validation)} held out; "
            f"spacing {'x'.join(f'{v:g}' for v in plan.spacing)} mm, patch {size}, batch {plan.batch}, "
            f"{len(plan.strides)} levels"
        )

    def _split(self, run: Run) -> Split:
        """The layout's labelled cases in their parts; none where labels are not looked at and there are too few."""
        dataset, options = run.dataset, run.workflow.data
        labelled = [case for case in dataset.cases if case.label is not None]
        if len(labelled) < 2:
            if not run.workflow.supervised:
                return Split((), ())
            raise DataError(f"{len(labelled)} of {len(dataset.cases)} cases have a label; training needs at least two")
        split = split_of(dataset, labelled, options.split)
        return limited(split, labelled, options.limit, options.split.seed)


def doubts_of(fingerprint: Mapping[str, Any], plan: Plan, split: Split, labels: Labels | None) -> Iterator[CaseProblem]:
    """What of the masks should be known before hours of training: see `voxgraft.checks.learnable`.

    Args:
        fingerprint: What was measured of each case.
        plan: Gives spacing and the ignored value.
        split: Only its training and validation cases are looked at.
        labels: The structures.
    """
    names = {*split.train, *split.validation}
    cases = {
        name: Marked(
            {int(value): n for value, n in case["labels"].items() if n and int(value) not in (0, plan.ignored)},
            tuple(case["spacing"]),
        )
        for name, case in fingerprint["cases"].items()
        if name in names and case["labels"]
    }
    yield from judge_learnable(labels, cases, split, plan.spacing)
    if empty := empty_masks(cases):
        have = f"{counted(len(empty), 'case')} ({listed(empty)}) have" if len(empty) > 1 else f"{empty[0]} has"
        yield CaseProblem("empty-label", "warning", None, f"{have} an empty mask")


def _complain_of_axes(unlabelled: Mapping[str, Mapping[str, Any]], plan: Plan) -> None:
    for name, case in unlabelled.items():
        if len(case["shape"]) != plan.image_dims:
            raise DataError(
                f"the unlabelled case {name!r} has {len(case['shape'])} axes, labelled images have {plan.image_dims}"
            )


def limited(split: Split, cases: Sequence[Case], limit: int | None, seed: int) -> Split:
    """The same validation cases, and only so many training cases, whole patients in the order of the draw.

    Args:
        split: Whose training cases are fewer afterwards.
        cases: Give the patient of each case.
        limit: At most so many training cases; None takes all.
        seed: Orders the patients.

    Raises:
        DataError: There are fewer training cases than the limit.
    """
    if limit is None:
        return split
    if limit > len(split.train):
        raise DataError(f"data.limit is {limit}, but the split leaves {len(split.train)} cases to train on")
    patients = {case.id: case.patient for case in cases}
    drawn = sorted(split.train, key=lambda name: (draw(seed, patients[name]), name))[:limit]
    return Split(tuple(name for name in split.train if name in set(drawn)), split.validation)


def labels_of_run(run: Run) -> Labels:
    """The structures of predictions, with the coded terms that the data set gives them."""
    if run.plan.regions and run.dataset.labels is not None:
        return network_labels(run.dataset.labels)
    known = run.dataset.labels or Labels()
    codes = {label.value: label.code for label in known.items}
    return Labels(tuple(Label(value, name, codes.get(value)) for value, name in run.plan.labels))


def _found(cases: Mapping[str, Mapping[str, Any]]) -> Labels:
    """Where nobody names the structures, they are named after their values."""
    values = sorted({int(value) for case in cases.values() for value in case["labels"]} - {0})
    if not values:
        raise DataError("every label is empty: there is nothing to learn")
    return Labels.of({f"label {value}": value for value in values})
