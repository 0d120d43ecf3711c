"""`voxgraft advise`: facts, probes of every stage, a short tournament with a twin from scratch, and what follows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..compare import holm, randomisation_p
from ..data.plan import Plan
from ..data.prepare import Prepared, load_prepared
from ..discovery import Catalogue
from ..errors import DataError, VoxGraftError
from ..files import write_json, write_text
from ..guard import judge
from ..infer.build import network_of
from ..model.weights import load_weights
from ..runs.engine import run_workflow
from ..runs.run import Run
from ..scoring.scores import Scores
from ..train.session import train, validation_dice
from ..workflow import Workflow, from_document
from ..yamlfile import dump
from .candidates import encoders_at_hand, label_of, strategies_for
from .clock import Clock, TimeUp, Watched
from .page import page
from .probe import probe_dice, stage_features, views_of

VOLUMES = 8
"""Training volumes that are probed, and validation volumes that are scored, at most."""
FOR_PROBES = 0.35
"""The share of the time after which probing stops."""
ARMS = 4

Say = Callable[[str], None]


def advise(
    workflow: Workflow,
    catalogue: Catalogue,
    folder: Path,
    minutes: float,
    models: Sequence[str] = (),
    say: Say = print,
    since: float | None = None,
) -> dict[str, Any]:
    """Find out what to use, within so many minutes; leave `advice.json`, `advice.html` and `workflow.yaml` in a folder.

    Raises:
        DataError: The data set cannot be planned for.
    """
    clock = Clock(minutes * 0.85, since)  # the rest is for the step under way and for writing
    found: dict[str, Any] = {"workflow": workflow.name, "minutes": minutes, "ended": "all done"}
    found.update(facts={}, probes=[], tournament=[], verdict="no evidence", advice="")
    chosen: dict[str, Any] | None = None
    try:
        run = _planned(workflow, catalogue, folder, clock)
        found["facts"] = _facts(run)
        encoders = encoders_at_hand(workflow, catalogue, models)
        say(f"advise: {len(encoders)} pretrained encoders are at hand")
        found["probes"] = _probes(run, encoders, clock, say)
        chosen = _tournament(run, _ranked(encoders, found["probes"]), clock, found, say)
    except TimeUp:
        found["ended"] = "time was up; what is missing was not looked at"
    _conclude(found, chosen)
    found["minutes_used"] = round(clock.used / 60, 3)
    write_json(folder / "advice.json", found)
    write_text(folder / "advice.html", page(found))
    write_text(folder / "workflow.yaml", dump(_proposal(workflow, chosen)))
    return found


def _planned(workflow: Workflow, catalogue: Catalogue, folder: Path, clock: Clock) -> Run:
    """Plan and prepare the first split, as a run of its own."""
    document = workflow.document()
    split = document["data"]["split"]
    split.update(fold=0 if split["fold"] == "all" else split["fold"])
    split.update(repeat=0 if split["repeat"] == "all" else split["repeat"])
    document.update(tracking=None, registry=None, guard=None, steps=["check", "plan", "prepare"])
    checked = from_document(document, catalogue, workflow.name)
    return run_workflow(checked, catalogue, folder / "work", steps=["plan", "prepare"], progress=Watched(clock))


def _facts(run: Run) -> dict[str, Any]:
    plan, split = run.plan, run.split
    return {
        "labelled": len(split.train),
        "held_out": len(split.validation),
        "dims": plan.dims,
        "channels": list(plan.channels),
        "structures": [name for _, name in plan.labels],
        "spacing": list(plan.spacing),
        "patch": list(plan.patch),
        "batch": plan.batch,
    }


def _cases(run: Run, names: Sequence[str]) -> list[Prepared]:
    folders = dict(run.read("prepared.json")["folders"])
    cache = Path(folders.pop("", run.folder / "cache"))
    return [load_prepared(name, cache / folders[name]) for name in list(names)[:VOLUMES]]


def _probes(run: Run, encoders: Sequence[dict[str, Any]], clock: Clock, say: Say) -> list[dict[str, Any]]:
    """Every stage of every candidate, beside two random initialisations of the same network."""
    plan = run.plan
    volumes = [views_of(case, plan, number) for number, case in enumerate(_cases(run, run.split.train))]
    volumes = [views for views in volumes if views]
    classes = [np.concatenate([view[2] for view in views]) for views in volumes]
    if len(volumes) < 3:
        return []
    rows: list[dict[str, Any]] = []

    def check() -> None:
        clock.check()
        if clock.used > FOR_PROBES * clock.total:
            raise _Enough

    for document in encoders:
        try:
            rows.append(_probe(run, document, plan, volumes, classes, check))
            say(f"advise: probed {document['use']} {document['weights']}")
        except _Enough:
            break
        except (VoxGraftError, RuntimeError) as error:
            rows.append({"encoder": document, "error": str(error).splitlines()[0], "verdict": "not usable"})
    done = [row for row in rows if "p" in row]
    for row, p in zip(done, holm([row["p"] for row in done]), strict=True):
        row["p_holm"] = p
        row["verdict"] = "better than random" if p < 0.05 and row["difference"] > 0 else "no evidence"
    return rows


class _Enough(Exception):
    """Probes have had their share of the time."""


def _probe(
    run: Run,
    document: dict[str, Any],
    plan: Plan,
    volumes: Sequence[Any],
    classes: Sequence[Any],
    check: Callable[[], None],
) -> dict[str, Any]:
    tables = []
    for seed in (None, 1, 2):
        torch.manual_seed(seed or 0)
        encoder = _network(run, document, plan).encoder
        if seed is None:
            weights = _with(run, document).model.encoder.build().weights()
            assert weights is not None, "a candidate has weights"
            load_weights(encoder, weights)
        stages = stage_features(encoder, volumes, check, settle=seed is not None)
        tables.append(np.array([probe_dice(stage, classes) for stage in stages]))
    means = [np.nanmean(table, 1) for table in tables]
    best = int(means[0].argmax())
    null = max(tables[1:], key=lambda table: float(np.nanmean(table, 1).max()))
    paired = tables[0][best] - null[int(np.nanmean(null, 1).argmax())]
    paired = paired[np.isfinite(paired)]
    return {
        "encoder": document,
        "stages": means[0].tolist(),
        "random": [one.tolist() for one in means[1:]],
        "best_stage": best,
        "difference": float(paired.mean()) if len(paired) else 0.0,
        "p": randomisation_p(paired) if len(paired) else 1.0,
        "volumes": len(paired),
    }


def _with(run: Run, encoder: dict[str, Any], transfer: Sequence[dict[str, Any]] = (), **training: Any) -> Workflow:
    document = copy.deepcopy(run.workflow.document())
    document["model"]["encoder"] = dict(encoder)
    document["transfer"] = [dict(one) for one in transfer]
    document["training"].update(training)
    return from_document(document, run.catalogue, "advise")


def _network(run: Run, encoder: dict[str, Any], plan: Plan) -> Any:
    return network_of(_with(run, encoder).model, plan)


def _ranked(encoders: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The encoders by what their probes gained over random ones; those that could not be probed come last."""
    gain = {str(row["encoder"]): row.get("difference", -math.inf) for row in probes}
    usable = [one for one in encoders if not any("error" in row and row["encoder"] == one for row in probes)]
    return sorted(usable, key=lambda one: -gain.get(str(one), -math.inf))


def _tournament(
    run: Run, encoders: Sequence[dict[str, Any]], clock: Clock, found: dict[str, Any], say: Say
) -> dict[str, Any] | None:
    """A few pairs for a short time each, then the best of them against the twin from scratch for twice as long."""
    if not encoders:
        return None
    stacks = strategies_for(len(run.split.train), run.workflow)
    pairs = [(encoders[0], stack) for stack in stacks[:2]] + [(one, stacks[0]) for one in encoders[1:2]]
    arms: list[dict[str, Any]] = [{"encoder": encoder, "transfer": stack} for encoder, stack in pairs][: ARMS - 1]
    share = max(1.0, 0.8 * clock.left) / (len(arms) + 4)
    rows: list[dict[str, Any]] = []
    for number, arm in enumerate(arms):
        row, _ = _arm(run, arm, share, f"round1_{number}", clock)
        rows.append({"round": 1, **row})
        found["tournament"] = rows
        say(f"advise: round 1, {row['arm']}: Dice {row['dice']:.3f} after {row['steps']} steps")
    best: dict[str, Any] = max(zip(rows, arms, strict=True), key=lambda pair: pair[0]["dice"])[1]
    twin: dict[str, Any] = {"encoder": {**best["encoder"], "weights": "none"}, "transfer": []}
    row, mine = _arm(run, best, 2 * share, "round2_best", clock)
    rows.append({"round": 2, **row})
    # as many steps as the other arm did, so that the two differ in nothing but what was transferred
    row, theirs = _arm(run, twin, 2 * share, "round2_scratch", clock, steps=row["steps"])
    rows.append({"round": 2, **row})
    names = [name for _, name in run.plan.labels]
    patients = {case.id: case.patient for case in run.dataset.cases}
    verdict = judge(_scores(mine, names, patients), _scores(theirs, names, patients), "dice", True)
    found["final"] = verdict
    found["verdict"] = verdict["verdict"]
    return best if verdict["verdict"] == "helps" else twin if verdict["verdict"] == "hurts" else None


def _arm(
    run: Run, arm: dict[str, Any], seconds: float, name: str, clock: Clock, steps: int | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Train one pair, and score it on the held-out volumes."""
    clock.check()
    seconds = min(seconds, 0.8 * clock.left)
    budget = f"{max(seconds, 1.0) / 60:.6f} min" if steps is None else f"{max(1, steps)} steps"
    workflow = _with(run, arm["encoder"], arm["transfer"], budget=budget, validate_every=1.0, validation_cases=1)
    folder = run.folder / name
    for document in ("plan.json", "split.json"):
        write_json(folder / document, run.read(document))
    folders = run.read("prepared.json")["folders"]
    write_json(folder / "prepared.json", {"folders": {"": str((run.folder / "cache").resolve()), **folders}})
    summary = train(folder, workflow, run.catalogue, lambda numbers, step: clock.check(), lambda share, note: None)
    from safetensors.torch import load_file

    plan = run.plan
    network = network_of(workflow.model, plan)
    network.load_state_dict(load_file(folder / "train" / "weights.safetensors"))
    scores: dict[str, dict[str, float]] = {}
    for case in _cases(run, run.split.validation):
        clock.check()
        scores[case.case] = validation_dice(network, [case], plan, 0.25)
    dice = float(np.nanmean([one["dice"] for one in scores.values()]))
    label = label_of(arm["encoder"], arm["transfer"])
    return {"arm": label, "dice": dice, "steps": summary["steps"], "seconds": summary["seconds"]}, scores


def _scores(rows: dict[str, dict[str, float]], names: Sequence[str], patients: dict[str, str]) -> Scores:
    cases = {case: {"dice": {name: row[f"dice_{name}"] for name in names}} for case, row in rows.items()}
    return Scores.of(cases, patients)


def _conclude(found: dict[str, Any], chosen: dict[str, Any] | None) -> None:
    """One sentence, with the words "no evidence" where that is the truth."""
    if found["verdict"] == "no evidence" or chosen is None:
        found["advice"] = (
            "no evidence that any pretrained encoder helps here; the workflow stays as it is. Few held-out patients "
            "or a short time show large differences only: try more minutes, or run it with guard: twin"
        )
        return
    final = found["final"]
    low, high = final["ci95"]
    word = "helps" if found["verdict"] == "helps" else "hurts: train from scratch"
    found["advice"] = (
        f"{label_of(chosen['encoder'], chosen['transfer'])}: transfer {word} (difference {final['difference']:+.3f}, "
        f"95 % interval {low:+.3f} to {high:+.3f}, {final['patients']} held-out patients); at this short budget"
    )


def _proposal(workflow: Workflow, chosen: dict[str, Any] | None) -> dict[str, Any]:
    """The workflow with what was chosen, and a guard wherever something is transferred."""
    document = workflow.document()
    if chosen is not None:
        document["model"]["encoder"], document["transfer"] = chosen["encoder"], chosen["transfer"]
    transfers = document["model"]["encoder"].get("weights", "none") != "none" or bool(document["transfer"])
    document["guard"] = {"use": "twin"} if transfers else None
    document["steps"] = [step for step in document["steps"] if step["use"] != "guard"]
    if not document["steps"]:
        raise DataError("the workflow has no steps but its guard")
    return document
