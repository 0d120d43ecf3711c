"""What is made of the members of a run: a package in which they vote, pooled scores, and one verdict of the guard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..packages.facts import common, joined
from ..packages.model_card import model_card
from ..packages.package import amend_package, read_package, write_package
from ..preprocessing.plan import Plan
from ..reports.drawing import Picture
from ..reports.scores import about, page, worst_cases
from ..scoring.comparison import direction, read_run
from ..scoring.pair import Counts
from ..scoring.pairs import MEAN
from ..scoring.scores import Scores, is_missed, mean_of
from ..scoring.transfer_verdict import judge
from ..scoring.worth import summed_up, worthless
from ..support.files import write_text
from ..support.texts import counted, without_paths
from ..workflow.yaml import dump
from .cross_validation import Member, folder_of, members_of, merged_documents, read_member
from .run import Run
from .steps.evaluate import number_behind, pictures_of
from .steps.guard import keep_verdict
from .steps.plan import labels_of_run
from .steps.train import package_facts


def pooled(parts: Sequence[Scores], patients: Mapping[str, str]) -> Scores:
    """Scores of all cases, each once: a case that several members scored has the mean of its values, and its voxel
    counts are those of all of them together.

    Where a member's value is undefined because it missed a structure, so is the mean: the others would make it better.
    """
    missed = _missed(parts)
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    for part in parts:
        for case, metrics in part.cases.items():
            for metric, structures in metrics.items():
                for name, value in structures.items():
                    if name != "mean":
                        rows.setdefault(case, {}).setdefault(metric, {}).setdefault(name, []).append(value)
    cases = {
        case: {
            metric: {name: _mean(values, name in missed.get(case, ())) for name, values in row.items()}
            for metric, row in metrics.items()
        }
        for case, metrics in rows.items()
    }
    failed = {case: why for part in parts for case, why in part.failed.items() if case not in cases}
    counts: dict[str, dict[str, Counts]] = {}
    for part in parts:
        for case, part_counts in part.counts.items():
            for name, count in part_counts.items():
                totals = counts.setdefault(case, {})
                totals[name] = count.plus(totals[name]) if name in totals else count
    first, unsized = parts[0], {case for part in parts for case in part.unsized}
    scores = Scores.of(
        cases,
        patients,
        failed=failed,
        metrics=first.metrics,
        regions=first.regions,
        counts=counts,
        missed=missed,
    )
    return replace(scores, unsized=tuple(case for case in scores.cases if case in unsized))


def _missed(parts: Sequence[Scores]) -> dict[str, list[str]]:
    """CASE -> the structures of its reference of which some member found nothing."""
    missed: dict[str, dict[str, None]] = {}
    for part in parts:
        for case, counts in part.counts.items():
            names = [*part.missed.get(case, ()), *(name for name, count in counts.items() if is_missed(count))]
            if names:
                missed.setdefault(case, {}).update(dict.fromkeys(names))
    return {case: list(names) for case, names in missed.items()}


def spread(members: Sequence[Member], scores: Mapping[str, Scores], patients: Mapping[str, str]) -> dict[str, Any]:
    """How much the mean score differs: between draws, where there are several, each over all its folds; else between
    folds.

    Args:
        members: Folds and draws.
        scores: Member -> scores of its held-out cases.
        patients: Case -> patient.

    Returns:
        `members` with the summary of each, `over` (what is told apart) and `spread`: METRIC -> structure -> `values`,
        `mean`, `sd` (of a sample), `n` (members whose mean is defined; the others are null in `values`).
    """
    repeats = sorted({member.repeat for member in members})
    if len(repeats) > 1:
        over = "draws of labelled patients"
        parts = [pooled([scores[m.name] for m in members if m.repeat == repeat], patients) for repeat in repeats]
    else:
        over, parts = "folds", [scores[member.name] for member in members]
    return {
        "over": over,
        "members": [
            {
                "name": member.name,
                "fold": member.fold,
                "repeat": member.repeat,
                "summary": scores[member.name].document()["summary"],
            }
            for member in members
        ],
        "spread": {
            metric: {
                name: _spread([part.summary.get(metric, {}).get(name, {}).get("mean", math.nan) for part in parts])
                for name in structures
            }
            for metric, structures in _named(parts).items()
        },
    }


def _named(parts: Sequence[Scores]) -> dict[str, list[str]]:
    """METRIC -> every structure that any part has, in the order in which they are met, `mean` last."""
    named: dict[str, dict[str, None]] = {}
    for part in parts:
        for metric, structures in part.summary.items():
            named.setdefault(metric, {}).update(dict.fromkeys(structures))
    return {metric: sorted(names, key=lambda name: name == MEAN) for metric, names in named.items()}


def member_table(spreads: Mapping[str, Any]) -> list[list[str]]:
    """What `spread` gives as a table, its head first: the mean of each member, then how much they differ."""
    metrics = list(spreads["spread"])
    rows = [["Member", *metrics]]
    for member in spreads["members"]:
        rows.append([member["name"].replace("_", " "), *(_told(member["summary"].get(name, {})) for name in metrics)])
    return [*rows, [f"SD over {spreads['over']}", *(_sd(spreads["spread"][name].get(MEAN, {})) for name in metrics)]]


def _told(structures: Mapping[str, Any]) -> str:
    """A mean over cases, and of how many of how many."""
    found = structures.get(MEAN) or {"mean": None, "n": 0, "undefined": 0}
    mean = "undefined" if found["mean"] is None else f"{found['mean']:.4f}"
    return f"{mean}, {found['n']} of {counted(found['n'] + found['undefined'], 'case')}"


def _sd(found: Mapping[str, Any]) -> str:
    if found.get("sd") is None:
        return "undefined"
    return f"{found['sd']:.4f}, {found['n']} of {len(found['values'])}"


def _spread(values: Sequence[float]) -> dict[str, Any]:
    known = np.array([value for value in values if math.isfinite(value)])
    return {
        "values": [value if math.isfinite(value) else None for value in values],
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def _mean(values: Sequence[float], missed: bool) -> float:
    return math.nan if missed and not all(map(math.isfinite, values)) else mean_of(values)


FILES = ("scores.json", "scores.csv", "scores.html", "members.json")


class Vote:
    """Leaves `package/` with the networks of all members, whose probabilities are averaged."""

    def outputs(self, run: Run) -> Sequence[Path]:
        names = ("model.safetensors", "plan.json", "labels.json", "members.json")
        return [*(run.package / name for name in names), run.folder / "train" / "summary.json"]

    def do(self, run: Run) -> None:
        members = members_of(run)
        merged = merged_documents(run, members)
        run.write("fingerprint.json", {"cases": merged["cases"]})
        run.write("split.json", merged["split"])
        packages = [read_package(folder_of(run, member) / "package") for member in members]
        plans = [package.plan for package in packages]
        plan = common_plan(plans)
        run.write("plan.json", plan.model_dump(mode="json"))
        summary = _summary([read_member(run, member, "train/summary.json") for member in members])
        summary["written"] = datetime.now(UTC).isoformat()
        run.write("train/summary.json", summary)
        facts = {**package_facts(run, summary), "members": len(members)}
        write_package(
            run.package,
            tensors=_tensors([package.weights for package in packages]),
            plan=plan,
            workflow=dump(without_paths(run.workflow.document())),
            labels=labels_of_run(run),
            card=model_card(facts, plan),
            facts=facts,
            members=plans,
        )
        run.progress.say(f"train: the package holds {len(members)} networks; their probabilities are averaged")


class Pool:
    """Leaves `evaluate/`: scores of every held-out case, and `members.json` with the spread between members."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "evaluate" / name for name in FILES]

    def do(self, run: Run) -> None:
        members = members_of(run)
        scores = {member.name: read_run(folder_of(run, member)) for member in members}
        patients = {case.id: case.patient for case in run.dataset.cases}
        whole = pooled([scores[member.name] for member in members], patients)
        run.write("evaluate/scores.json", whole.document())
        whole.write_csv(run.folder / "evaluate" / "scores.csv")
        title = f"Held-out cases of {run.workflow.name}, each scored by the network that did not learn from it"
        spreads = spread(members, scores, patients)
        specs = about(whole, run.catalogue)
        shown = _pictures(run, members, worst_cases(whole, specs))
        html = page(whole, specs, title, shown, member_table(spreads))
        write_text(run.folder / "evaluate" / "scores.html", html)
        run.write("evaluate/members.json", spreads)
        package = read_package(run.package)
        facts = [read_package(folder_of(run, member) / "package").facts for member in members]
        around = [one.get("body") or {} for one in facts]
        tried = {"precision": common(facts), "body": joined(around) if all(around) else {}}
        found = {"scores": whole.document()["summary"], "spread": spreads["spread"], **tried}
        card = model_card({**package.facts, **found}, package.plan)
        amend_package(run.package, card=card, facts=found)
        self._tell(run, whole, spreads)

    def _tell(self, run: Run, whole: Scores, spreads: Mapping[str, Any]) -> None:
        run.log({f"test_{name}": value for name, value in whole.curves().items()}, 0)
        if worth := summed_up(worthless(whole)):
            run.remarks.append(worth)
        metric, structures = next(iter(whole.summary.items()))
        mean, by = structures["mean"], spreads["spread"][metric]["mean"]
        low, high = mean["ci95"]
        interval = f" (95 % interval {low:.4f} to {high:.4f})" if math.isfinite(low) else ""
        behind = f"{by['n']}" if by["n"] == len(by["values"]) else f"{by['n']} of {len(by['values'])}"
        sd = "" if by["sd"] is None else f"; {spreads['over']} differ by {by['sd']:.4f} (sd of {behind})"
        if math.isfinite(mean["mean"]):
            run.progress.say(f"evaluate: {metric} {mean['mean']:.4f}{interval}, n {number_behind(mean)}{sd}")
        else:
            run.progress.say(f"evaluate: {metric} is defined in none of {counted(len(whole.cases), 'held-out case')}")


def _pictures(run: Run, members: Sequence[Member], names: Sequence[str]) -> dict[str, Picture]:
    """The worst slices of cases, each from the mask of the first member that held it out."""
    held = {case: member for member in reversed(members) for case in member.split.validation}
    labels = run.dataset.labels or read_package(run.package).labels

    def mask_of(case: str) -> Path:
        return folder_of(run, held[case]) / "evaluate" / "masks" / f"{case}.nii.gz"

    there = [name for name in names if name in held and mask_of(name).is_file()]
    return pictures_of(run, there, labels, mask_of)


class PoolGuard:
    """Leaves `guard.json`: the verdict of all members' held-out cases against those of their twins."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "guard.json"]

    def do(self, run: Run) -> None:
        assert run.workflow.guard is not None, "a workflow with this step has the section `guard`"
        members = members_of(run)
        patients = {case.id: case.patient for case in run.dataset.cases}
        transferred = pooled([read_run(folder_of(run, member)) for member in members], patients)
        twin = pooled([read_run(folder_of(run, member) / "twin") for member in members], patients)
        metric = run.workflow.guard.metric or run.workflow.evaluation.metrics[0].name
        higher = direction({"run": transferred}, metric, run.catalogue)
        steps = min(int(read_member(run, member, "train/summary.json")["steps"]) for member in members)
        verdict = judge(transferred, twin, metric, higher, steps)
        verdict["members"] = {member.name: read_member(run, member, "guard.json")["verdict"] for member in members}
        keep_verdict(run, verdict)


def common_plan(plans: Sequence[Plan]) -> Plan:
    """The first plan, with the ranges of all: a scan is expected where any member has seen its like."""
    contract = dict(plans[0].contract)
    for name, first in contract.items():
        if _is_ranges(first) and all(_is_ranges(plan.contract.get(name)) for plan in plans):
            ranges = np.array([plan.contract[name] for plan in plans], dtype=float)
            contract[name] = np.stack([ranges[..., 0].min(0), ranges[..., 1].max(0)], -1).tolist()
    mirrored = tuple(axis for axis in plans[0].mirrored if all(axis in plan.mirrored for plan in plans))
    return plans[0].model_copy(update={"contract": contract, "mirrored": mirrored})


def _is_ranges(value: Any) -> bool:
    """Whether it is a list of pairs of numbers."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(
            isinstance(bound, (list, tuple)) and len(bound) == 2 and all(isinstance(end, (int, float)) for end in bound)
            for bound in value
        )
    )


def _summary(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all trainings: steps and seconds added up, curves kept by the members themselves."""
    first = summaries[0]
    return {
        **{name: first[name] for name in ("device", "devices", "precision", "parameters", "weights")},
        "steps": sum(int(summary["steps"]) for summary in summaries),
        "seconds": round(sum(float(summary["seconds"]) for summary in summaries), 1),
        "parameters": sum(int(summary["parameters"]) for summary in summaries),
        "curve": [],
    }


def _tensors(files: Sequence[Path]) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {f"{number}.{name}": tensor for number, file in enumerate(files) for name, tensor in load_file(file).items()}
