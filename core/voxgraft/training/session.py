"""One training: from prepared arrays and a workflow to a package, on one device or on several."""

from __future__ import annotations

import json
import logging
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from ..errors import TrainingError, UsageError
from ..networks.network import SegmentationNetwork
from ..networks.weights import LoadReport
from ..packages.references import Resolver
from ..preprocessing.plan import read_plan
from ..preprocessing.prepare import load_prepared
from ..support.files import atomic_write, write_json
from ..support.machine import choose_device, device_count, precision_of
from ..support.workers import end_with_parent, none_left
from ..transfer.strategy import Row
from ..workflow.workflow import Workflow, from_document
from .arithmetic import Arithmetic, choose_arithmetic
from .batches import batches_of, network_spacing
from .checkpoint import arithmetic_of
from .job import Job, State
from .loop import fit
from .setup import TrainingSetup, set_up
from .team import Team, send, team_of
from .validation import validation_dice

Report = Callable[[Mapping[str, float], int], None]
Show = Callable[[float, str], None]
Say = Callable[[str], None]


def train(
    run_folder: Path,
    workflow: Workflow,
    models: Resolver,
    report: Report,
    show: Show,
    *,
    identity: str = "",
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Train what the run's plan and prepared arrays describe; weights and curve are left in `train/`.

    Args:
        identity: A fingerprint of everything that decides the weights; a checkpoint of another one is not gone on from.

    Returns:
        A summary: steps, seconds, device, precision, parameters, the curve, and where the initial weights came from.

    Raises:
        TrainingError: It cannot start, or cannot go on.
    """
    options, team = workflow.training, team_of()
    devices = device_count(options.device)
    plan = read_plan(run_folder / "plan.json")
    setup = set_up(workflow, plan, models) if devices == 1 or team is not None else None
    arithmetic = arithmetic_of(run_folder / "train", identity)
    device = choose_device(options.device)
    if arithmetic is None and setup is not None:
        arithmetic = choose_arithmetic(setup.context.network, plan, options, device, devices if team is None else 2)
    arithmetic = arithmetic or Arithmetic(precision_of(options.precision, device))
    fabric = _fabric(workflow, team, arithmetic)
    if team is not None:
        send((run_folder.resolve(), workflow.document(), _packed(models), arithmetic, identity))
        fabric.launch()
    if setup is not None:
        _train(fabric, run_folder, workflow, setup, arithmetic, report, show, identity, say)
    else:
        numbers = arithmetic.document()  # plain: Fabric walks through what it sends, and sets fields of dataclasses
        with none_left():
            fabric.launch(_train_elsewhere, run_folder, workflow.document(), _packed(models), numbers, identity)
        for row in json.loads((run_folder / "train" / "summary.json").read_text())["curve"]:
            report({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
    summary: dict[str, Any] = json.loads((run_folder / "train" / "summary.json").read_text())
    return summary


def train_beside(
    run_folder: Path,
    document: dict[str, Any],
    packed: bytes,
    arithmetic: Arithmetic,
    identity: str,
    fabric: Fabric | None = None,
) -> None:
    """Take part in a training of the first process of a team; see `voxgraft.training.team`.

    Args:
        run_folder: Of the run, on storage that all share.
        document: The workflow.
        packed: Catalogue and registry of the first process.
        arithmetic: What the first process has chosen.
        identity: As for `train`.
        fabric: Where it was launched already.

    Raises:
        TrainingError: It cannot start, or cannot go on.
    """
    if not (run_folder / "plan.json").is_file():
        raise TrainingError(
            f"{run_folder}: this process does not see the run's folder; it has to lie on shared storage"
        )
    models: Resolver = pickle.loads(packed)
    workflow = from_document(document, models.catalogue)
    setup, quiet = set_up(workflow, read_plan(run_folder / "plan.json"), models), lambda *_: None
    if fabric is None:
        fabric = _fabric(workflow, team_of(), arithmetic)
        fabric.launch()
    _train(fabric, run_folder, workflow, setup, arithmetic, quiet, quiet, identity, quiet)


def _fabric(workflow: Workflow, team: Team | None, arithmetic: Arithmetic) -> Fabric:
    """One process, one for each device that it starts itself, or those of a team."""
    options = workflow.training
    device, devices = choose_device(options.device), device_count(options.device)
    if team is not None and (devices > 1 or device.index is not None):
        raise UsageError(
            f"training.device: {options.device} names devices, but {team.launcher} has started {team.world} processes, "
            f"each for one; write {device.type}"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    count = team.world // team.nodes if team is not None else devices
    return Fabric(
        accelerator=device.type,
        devices=count if count > 1 or device.index is None else [device.index],
        num_nodes=1 if team is None else team.nodes,
        strategy=_strategy(devices, team, workflow),
        precision=arithmetic.precision,
        plugins=LightningEnvironment() if team is None else team.environment(),  # not what a job's variables look like
    )


def _strategy(devices: int, team: Team | None, workflow: Workflow) -> Any:
    """One process or several; strategies that freeze for a while leave parameters without a gradient."""
    if devices == 1 and team is None:
        return "auto"
    from lightning_fabric.strategies import DDPStrategy

    start = "popen" if team is not None else "spawn"
    return DDPStrategy(start_method=start, find_unused_parameters=bool(workflow.transfer))


def _packed(models: Resolver) -> bytes:
    """The very catalogue and registry of this process, for those of other devices.

    Raises:
        TrainingError: A plugin made a spec of something that cannot be sent to another process.
    """
    import cloudpickle  # plain pickle takes no function that was made within another, as many specs hold

    try:
        packed: bytes = cloudpickle.dumps(models)
    except Exception as error:  # whatever a plugin put into its spec
        raise TrainingError(
            f"training.device: what the plugins offer cannot be sent to the processes of several devices: {error}"
        ) from error
    return packed


def _train_elsewhere(
    fabric: Fabric, run_folder: Path, document: dict[str, Any], packed: bytes, numbers: dict[str, Any], identity: str
) -> None:
    """In a process of its own, with what came along from the first."""
    end_with_parent()
    train_beside(run_folder, document, packed, Arithmetic(**numbers), identity, fabric)


def _train(
    fabric: Fabric,
    run_folder: Path,
    workflow: Workflow,
    setup: TrainingSetup,
    arithmetic: Arithmetic,
    report: Report,
    show: Show,
    identity: str,
    say: Say,
) -> None:
    plan = read_plan(run_folder / "plan.json")
    split = json.loads((run_folder / "split.json").read_text())
    folders = json.loads((run_folder / "prepared.json").read_text())["folders"]
    cache = workflow.data.cache or run_folder / "cache"
    stack = setup.stack
    modality = workflow.data.modality.build()
    training = [load_prepared(name, cache / folders[name]) for name in split["train"]]
    unlabelled = [load_prepared(name, cache / folders[name]) for name in split.get("unlabelled", ()) if name in folders]
    validation = [load_prepared(name, cache / folders[name]) for name in split["validation"]]
    validation = validation[: workflow.training.validation_cases]
    options = workflow.training
    job = Job(
        network=setup.context.network,
        stack=stack,
        rows=setup.rows,
        context=setup.context,
        extra=setup.context.extra,
        batches=batches_of(
            training, unlabelled, plan, stack, modality.augmentation, options, fabric.global_rank, fabric.world_size
        ),
        plan=plan,
        spacing=network_spacing(plan),
        loss=options.loss.build(),
        strengths=modality.augmentation,
        options=options,
        arithmetic=arithmetic,
        folder=run_folder / "train",
        identity=identity,
        look=lambda network: (
            validation_dice(network, validation, plan, workflow.inference.overlap) if stack.supervised else {}
        ),
        report=report if fabric.is_global_zero else lambda numbers, step: None,
        show=show if fabric.is_global_zero else lambda share, note: None,
        say=say,
    )
    network, state = fit(job, fabric)
    if fabric.is_global_zero:
        _leave(run_folder / "train", network, setup.rows, setup.weights, state, fabric, arithmetic)
    fabric.barrier()


def _leave(
    folder: Path,
    network: SegmentationNetwork,
    rows: list[Row],
    weights: LoadReport | None,
    state: State,
    fabric: Fabric,
    arithmetic: Arithmetic,
) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(folder / "weights.safetensors") as temporary:
        save_file(tensors, temporary)
    write_json(folder / "parameters.json", [asdict(row) for row in rows])
    peak = torch.cuda.max_memory_allocated(fabric.device) if fabric.device.type == "cuda" else None
    write_json(
        folder / "summary.json",
        {
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "device": torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "cpu",
            "devices": fabric.world_size,
            "arithmetic": arithmetic.document(),
            "precision": arithmetic.precision,
            "parameters": int(sum(parameter.numel() for parameter in network.parameters())),
            "device_memory_mb": None if peak is None else round(peak / 2**20),
            "micro_batches": state.micro,
            "curve": state.curve,
            "weights": weights.document() if weights else None,
        },
    )
