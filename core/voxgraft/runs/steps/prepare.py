"""The step `prepare`: make the arrays that training reads, once for each case and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.beside import cases_by_key, labels_together, other_sets
from ...data.prepare import prepare, prepared_folder
from ...files import sweep
from ..run import Run
from ..threads import in_threads


class Prepare:
    """Leaves `prepared.json`: the folder of each case in the cache."""

    def inputs(self, run: Run) -> Mapping[str, Any]:
        cache = run.workflow.data.cache
        measured = run.read("fingerprint.json")["cases"]
        labels = labels_together(run.dataset, other_sets(run.workflow, run.catalogue))
        return {
            "plan": run.read("plan.json"),
            "split": run.read("split.json"),
            "cache": str(cache or ""),
            "cases": {name: case["hash"] for name, case in measured.items()},
            "labels": asdict(labels) if labels else None,
        }

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "prepared.json"]

    def do(self, run: Run) -> None:
        plan, split = run.plan, run.split
        if any(step.name == "train" for step in run.workflow.steps):
            from ...train.begin import begin

            begin(run.workflow, plan, run.models)  # arrays take long: what training cannot start from is said before
        cache = run.workflow.data.cache or run.folder / "cache"
        sweep(cache)
        measured = run.read("fingerprint.json")["cases"]
        modality = run.workflow.data.modality.build()
        others = other_sets(run.workflow, run.catalogue)
        labels = labels_together(run.dataset, others)
        cases = cases_by_key(run.dataset, others, split)
        folders = {
            name: prepared_folder(cache, measured[name]["hash"], plan, None if name in split.unlabelled else labels)
            for name in cases
        }

        def work(name: str) -> bool:
            return prepare(cases[name], folders[name], plan, modality, run.catalogue, labels)

        made = in_threads(work, list(cases), run.progress, f"preparing {len(cases)} cases")
        where = {"": str(cache.resolve())} if run.workflow.data.cache else {}
        names = {name: folder.name for name, folder in folders.items()}
        run.write("prepared.json", {"folders": {**where, **names}})
        run.progress.say(f"prepare: {sum(made)} cases made, {len(made) - sum(made)} were in the cache")
