"""The step `prepare`: make the arrays that training reads, once for each case and plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.cases import Case
from ...datasets.companions import cases_by_key, common_labels
from ...imaging.orientation import shape_at
from ...imaging.structures import Labels
from ...preprocessing.prepare import prepare, prepared_folder
from ...preprocessing.state import DataState
from ...support.files import digest
from ...support.lock import sweep
from ...support.texts import counted
from ...support.workers import in_threads
from ..identity import decisive, facts_of
from ..run import Run
from .independent import ARRAYS, CASE, PLAN_OF_ARRAYS


class ArrayIdentity:
    """Of all cases of a run: what they have in common is looked at once."""

    def __init__(self, run: Run) -> None:
        plan = run.plan.model_dump(mode="json")
        facts = decisive(facts_of(run, ARRAYS), ARRAYS)
        self._state = DataState(run.catalogue, run.shared.contents)
        self._common = {
            "plan": {name: value for name, value in plan.items() if name not in PLAN_OF_ARRAYS},
            "made from": {fact.name: fact.value for fact in facts},
        }

    def of(self, case: Case, labels: Labels | None) -> dict[str, Any]:
        """Plain values that decide the arrays of a case.

        Args:
            labels: How its mask is read; None where it has none.
        """
        state = {name: value for name, value in self._state.of_case(case).items() if name not in CASE}
        return {**self._common, "case": state, "labels": digest(asdict(labels)) if labels is not None else None}


if TYPE_CHECKING:
    from ...preprocessing.plan import Plan


class Prepare:
    """Leaves `prepared.json`: the folder of each case in the cache."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "prepared.json"]

    def do(self, run: Run) -> None:
        plan, split = run.plan, run.split
        if _may_not_start(run):  # arrays take long: what training cannot start from is said before
            from ...training.setup import set_up

            set_up(run.workflow, plan, run.models)
        cache = run.cache
        sweep(cache)
        modality = run.workflow.data.modality.build()
        others = run.others
        labels = common_labels(run.dataset, others)
        cases = cases_by_key(run.dataset, others, split)
        identity, unlabelled = ArrayIdentity(run), set(split.unlabelled)
        folders = {
            name: prepared_folder(cache, identity.of(case, None if name in unlabelled else labels))
            for name, case in cases.items()
        }
        remade, reading = run.shared.remade, run.reading

        def work(name: str) -> bool:
            again = remade is not None and folders[name].name not in remade
            return prepare(cases[name], folders[name], plan, modality, reading, labels, again=again)

        measured = run.read("fingerprint.json")["cases"].values()
        each = max((_memory(case, plan) for case in measured), default=0)
        is_new = in_threads(work, list(cases), run.progress, f"preparing {len(cases)} cases", each=each)
        run.shared.kept.clear()
        names = {name: folder.name for name, folder in folders.items()}
        if remade is not None:
            remade.update(names.values())
        run.write("prepared.json", {"folders": names})
        run.progress.say(
            f"prepare: {counted(sum(is_new), 'case')} made, {len(is_new) - sum(is_new)} taken from the cache"
        )


def _may_not_start(run: Run) -> bool:
    """Whether the network is made before arrays are: where training follows at once, or weights or strategies may not
    fit; otherwise making it would take longer than it could save."""
    flow = run.workflow
    return "train" in run.doing or (
        any(step.name == "train" for step in flow.steps) and (flow.model.pretrained or bool(flow.transfer))
    )


def _memory(case: Mapping[str, Any], plan: Plan) -> int:
    """Bytes that preparing a case takes: the scan in float32 as it was and normalised, twice as the network sees it."""
    shape = shape_at(case["shape"], case["spacing"], plan.spacing)
    return 8 * len(plan.channels) * (math.prod(map(int, case["shape"])) + math.prod(shape))
