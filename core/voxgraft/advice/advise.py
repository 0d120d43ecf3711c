"""`voxgraft advise`: facts, probes of every stage, a short tournament with a twin from scratch, and what follows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..components.catalogue import Catalogue
from ..errors import DataError, TrainingError, VoxGraftError
from ..inference.recipe import network_of
from ..networks.weights import load_weights
from ..preprocessing.plan import Plan
from ..preprocessing.prepare import Prepared, load_prepared
from ..runs.engine import run_workflow
from ..runs.run import Run
from ..scoring.comparison import holm, randomisation_p
from ..scoring.scores import mean_of
from ..support.files import write_json, write_text
from ..support.texts import counted
from ..workflow.workflow import Workflow, from_document
from ..workflow.yaml import dump
from .candidates import Document, encoders_at_hand
from .clock import Clock, TimeUp, Watched
from .conclusion import DONE, NOWHERE, STOPPED, conclude
from .page import page
from .probe import probe_dice, stage_features, views_of
from .shape_verdict import sentence
from .shapes import MINUTES, compare_shapes, not_compared
from .tournament import Arm, Tournament

VOLUMES = 8
"""Training volumes that are probed, and validation volumes that are scored, at most."""
PICTURES = 40
"""2D validation images that are scored at most: they take little time, and eight show large gains only."""
FOR_PROBES = 0.35
"""The share of the time after which probing stops."""

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

    Args:
        workflow: Whose data and network are looked at.
        catalogue: Offers encoders and strategies.
        folder: For what is found, and for short trainings.
        minutes: Time limit.
        models: References to packages whose encoders are tried as well.
        say: Is told how far it is, a line at a time.
        since: When the time began, by `time.monotonic`; by default now.

    Raises:
        DataError: The data set cannot be planned for.
        KeyboardInterrupt: It was stopped by hand; what was found until then is left all the same.
    """
    clock = Clock(minutes * 0.85, since)  # the rest is for the step under way and for writing
    result: dict[str, Any] = {"workflow": workflow.name, "minutes": minutes, "ended": DONE}
    result.update(facts={}, shapes=[], probes=[], tournament=[], verdict="no evidence", advice="", shape="")
    result["basis"] = NOWHERE
    chosen: Arm | None = None
    best = _Best(workflow)
    stopped: KeyboardInterrupt | None = None
    try:
        with clock.alarm():
            chosen = _look(best, catalogue, folder, clock, models, result, say)
    except TimeUp:
        result["ended"] = "time was up; the rest was not tried"
    except KeyboardInterrupt as error:
        result["ended"], stopped = STOPPED, error
    chosen = conclude(result, chosen, best.workflow, best.encoders)
    result["minutes_used"] = round(clock.used / 60, 3)
    write_json(folder / "advice.json", result)
    write_text(folder / "advice.html", page(result))
    write_text(folder / "workflow.yaml", dump(_proposal(best.workflow, chosen)))
    if stopped is not None:
        raise stopped
    return result


@dataclass
class _Best:
    """The workflow that is advised on, the one that was given or a better shape of it, and the encoders available."""

    workflow: Workflow
    encoders: Sequence[Document] = ()


def _look(
    best: _Best,
    catalogue: Catalogue,
    folder: Path,
    clock: Clock,
    models: Sequence[str],
    result: dict[str, Any],
    say: Say,
) -> Arm | None:
    """Fill in what is found, one thing after the other; what the evidence is for.

    Raises:
        TimeUp: Before all was done.
    """
    say(f"advise: reading and preparing the cases; {clock.said}")
    run = _planned(best.workflow, catalogue, folder, clock)
    result["facts"] = _facts(run)
    if run.plan.image_dims == 3 and clock.total < 0.85 * 60 * MINUTES:
        result["shape"] = not_compared(run.plan.dims)
    elif run.plan.image_dims == 3:
        shape = compare_shapes(best.workflow, run, clock, folder / "work", result["shapes"], say)
        result["shape"] = sentence(result["shapes"], shape)
        if shape is not None:
            best.workflow = shape.workflow(best.workflow, run)
            run = _planned(best.workflow, catalogue, folder, clock)
            result["facts"] = _facts(run)
    encoders, result["probes"] = encoders_at_hand(best.workflow, run.models, models)
    best.encoders = encoders
    say(f"advise: {counted(len(encoders), 'pretrained encoder')} available; {clock.said}")
    for row in result["probes"]:
        say(f"advise: {row['encoder']['use']} {row['encoder']['weights']} is not usable: {row['error']}")
    _probe_all(run, encoders, clock, result["probes"], say)
    ranked = _ranked(encoders, result["probes"])
    if not ranked:
        return None
    held_out = _cases(run, run.split.validation, PICTURES if run.plan.image_dims == 2 else VOLUMES)
    return Tournament(run, held_out, clock, _with, say).play(ranked, result)


def _planned(workflow: Workflow, catalogue: Catalogue, folder: Path, clock: Clock) -> Run:
    """Plan and prepare the first split, as a run of its own; pretraining without labels is no way to use them."""
    document = workflow.document()
    document["transfer"] = document["transfer"] if workflow.supervised else []
    split = document["data"]["split"]
    split.update(fold=0 if split["fold"] == "all" else split["fold"])
    split.update(repeat=0 if split["repeat"] == "all" else split["repeat"])
    document.update(tracking=None, registry=None, guard=None, steps=["check", "plan", "prepare"])
    checked = from_document(document, catalogue, workflow.name)
    steps, folder = ["plan", "prepare"], folder / "work"
    return run_workflow(checked, catalogue, folder, steps=steps, progress=Watched(clock), registry=workflow.place)


def _facts(run: Run) -> dict[str, Any]:
    plan, split = run.plan, run.split
    learnt = set(split.train)
    return {
        "labelled": len(split.train),
        "patients": len({case.patient for case in run.dataset.cases if case.id in learnt}),
        "held_out": len(split.validation),
        "dims": plan.dims,
        "channels": list(plan.channels),
        "structures": [name for _, name in plan.labels],
        "spacing": list(plan.spacing),
        "patch": list(plan.patch),
        "batch": plan.batch,
    }


def _cases(run: Run, names: Sequence[str], most: int = VOLUMES) -> list[Prepared]:
    folders = run.read("prepared.json")["folders"]
    return [load_prepared(name, run.cache / folders[name]) for name in list(names)[:most]]


def _probe_all(run: Run, encoders: Sequence[Document], clock: Clock, rows: list[dict[str, Any]], say: Say) -> None:
    """Every stage of every candidate, beside two random initialisations of the same network; the rows are added."""
    plan = run.plan
    volumes = [views_of(case, plan, number) for number, case in enumerate(_cases(run, run.split.train))]
    volumes = [views for views in volumes if views]
    classes = [np.concatenate([view[2] for view in views]) for views in volumes]
    if len(volumes) < 3:
        return

    def check() -> None:
        clock.check()
        if clock.used > FOR_PROBES * clock.total:
            raise _Enough

    for number, document in enumerate(encoders, start=1):
        name = f"{document['use']} {document['weights']}"
        say(f"advise: probing {name}, {number} of {len(encoders)}; {clock.said}")
        try:
            rows.append(_probe(run, document, plan, volumes, classes, check))
        except _Enough:
            break
        except (VoxGraftError, RuntimeError) as error:
            rows.append({"encoder": document, "error": str(error).splitlines()[0], "verdict": "not usable"})
        _judge(rows)


def _judge(rows: Sequence[dict[str, Any]]) -> None:
    """Correct the p-values of all probes so far for being looked at together."""
    done = [row for row in rows if "p" in row]
    for row, p in zip(done, holm([row["p"] for row in done]), strict=True):
        row["p_holm"] = p
        row["verdict"] = "better than random" if p < 0.05 and row["difference"] > 0 else "no evidence"


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
            weights = _with(run, document).model.encoder.build().weights(run.models)
            assert weights is not None, "a candidate has weights"
            load_weights(encoder, weights)
        stages = stage_features(encoder, volumes, check, settle=seed is not None)
        tables.append(np.array([probe_dice(stage, classes) for stage in stages]))
    means = [np.array([mean_of(stage) for stage in table.tolist()]) for table in tables]
    if not all(np.isfinite(series).any() for series in means):
        raise TrainingError("no volume contains a structure that could be probed")
    best = int(np.nanargmax(means[0]))
    null = max((1, 2), key=lambda number: float(np.nanmax(means[number])))
    paired = tables[0][best] - tables[null][int(np.nanargmax(means[null]))]
    paired = paired[np.isfinite(paired)]
    return {
        "encoder": document,
        "stages": means[0].tolist(),
        "random": [series.tolist() for series in means[1:]],
        "best_stage": best,
        "difference": float(paired.mean()) if len(paired) else 0.0,
        "p": randomisation_p(paired) if len(paired) else 1.0,
        "volumes": len(paired),
        "looked_at": len(volumes),
    }


def _with(run: Run, encoder: dict[str, Any], transfer: Sequence[dict[str, Any]] = (), **training: Any) -> Workflow:
    document = copy.deepcopy(run.workflow.document())
    document["model"]["encoder"], document["model"]["start"] = dict(encoder), "none"
    document["transfer"] = [dict(strategy) for strategy in transfer]
    document["data"]["cache"] = run.cache.as_posix()
    document["training"].update(training)
    return from_document(document, run.catalogue, "advise")


def _network(run: Run, encoder: dict[str, Any], plan: Plan) -> Any:
    return network_of(_with(run, encoder).model, plan)


def _ranked(encoders: Sequence[Document], probes: Sequence[dict[str, Any]]) -> list[Document]:
    """The encoders by what their probes gained over random ones; those that could not be probed come last."""
    gain = {str(row["encoder"]): row.get("difference", -math.inf) for row in probes}
    usable = [
        encoder for encoder in encoders if not any("error" in row and row["encoder"] == encoder for row in probes)
    ]
    return sorted(usable, key=lambda encoder: -gain.get(str(encoder), -math.inf))


def _proposal(workflow: Workflow, chosen: Arm | None) -> dict[str, Any]:
    """The workflow with what was chosen, and a guard wherever something is transferred."""
    document = workflow.document()
    if chosen is not None:
        document["model"]["encoder"], document["transfer"] = chosen.encoder, chosen.transfer
        document["model"]["start"] = "none"
    transfers = document["model"]["encoder"].get("weights", "none") != "none" or bool(document["transfer"])
    document["guard"] = {"use": "twin"} if transfers else None
    document["steps"] = [step for step in document["steps"] if step["use"] != "guard"]
    if not document["steps"]:
        raise DataError("the workflow has no steps besides its guard")
    return document
