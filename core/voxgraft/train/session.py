"""One training: from prepared arrays and a workflow to a package, on one device or on several."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from ..data.coding import counted, masks_of
from ..data.plan import Plan, read_plan
from ..data.prepare import Prepared, load_prepared
from ..discovery import Catalogue, discover
from ..errors import TrainingError
from ..files import digest, write_json
from ..infer.array import segment_array
from ..infer.build import network_of
from ..infer.device import choose_device, device_count, precision_of
from ..model.network import SegmentationNetwork
from ..model.pretrained import whole_weights
from ..model.transfer import Context, Row, Stack, parameter_table
from ..model.weights import LoadReport, load_weights, load_whole
from ..sections import Training
from ..workflow import Workflow, from_document
from .batches import Batches, Unlabelled
from .crops import FixedCrops
from .loop import Job, State, fit
from .optimise import highest_rate

Report = Callable[[Mapping[str, float], int], None]
Show = Callable[[float, str], None]


def train(run_folder: Path, workflow: Workflow, catalogue: Catalogue, report: Report, show: Show) -> dict[str, Any]:
    """Train what the run's plan and prepared arrays describe; weights and curve are left in `train/`.

    Returns:
        A summary: steps, seconds, device, precision, parameters, the curve, and where the start values came from.

    Raises:
        TrainingError: It cannot start, or cannot go on.
    """
    options = workflow.training
    device = choose_device(options.device)
    devices = device_count(options.device)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    fabric = Fabric(
        accelerator=device.type,
        devices=devices if devices > 1 or device.index is None else [device.index],
        strategy=_strategy(devices, workflow),
        precision=precision_of(options.precision, device),
    )
    if devices == 1:
        _train(fabric, run_folder, workflow, catalogue, report, show)
    else:
        fabric.launch(_train_elsewhere, run_folder, workflow.document())
        for row in json.loads((run_folder / "train" / "summary.json").read_text())["curve"]:
            report({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
    summary: dict[str, Any] = json.loads((run_folder / "train" / "summary.json").read_text())
    return summary


def _strategy(devices: int, workflow: Workflow) -> Any:
    """One process, or one for each device; strategies that freeze for a while leave parameters without a gradient."""
    if devices == 1:
        return "auto"
    from lightning_fabric.strategies import DDPStrategy

    return DDPStrategy(start_method="spawn", find_unused_parameters=bool(workflow.transfer))


def _train_elsewhere(fabric: Fabric, run_folder: Path, document: dict[str, Any]) -> None:
    """In a process of its own: nothing that cannot be pickled came along."""
    catalogue = discover()
    workflow = from_document(document, catalogue)
    _train(fabric, run_folder, workflow, catalogue, lambda numbers, step: None, lambda share, note: None)


def _train(
    fabric: Fabric, run_folder: Path, workflow: Workflow, catalogue: Catalogue, report: Report, show: Show
) -> None:
    plan = read_plan(run_folder / "plan.json")
    check_loss(workflow, plan)
    split = json.loads((run_folder / "split.json").read_text())
    folders = json.loads((run_folder / "prepared.json").read_text())["folders"]
    cache = Path(folders.pop("", run_folder / "cache"))
    stack, context, weights = grafted(workflow, plan)
    network, extra = context.network, context.extra
    rows = table(network, extra, stack, context, workflow)
    modality = workflow.data.modality.build()
    training = [load_prepared(name, cache / folders[name]) for name in split["train"]]
    unlabelled = [load_prepared(name, cache / folders[name]) for name in split.get("unlabelled", ()) if name in folders]
    validation = [load_prepared(name, cache / folders[name]) for name in split["validation"]]
    validation = validation[: workflow.training.validation_cases]
    options = workflow.training
    job = Job(
        network=network,
        stack=stack,
        rows=rows,
        context=context,
        extra=extra,
        batches=_batches(training, unlabelled, plan, stack, modality.augmentation, options, fabric),
        plan=plan,
        spacing=_network_spacing(plan),
        loss=options.loss.build(),
        strengths=modality.augmentation,
        options=options,
        folder=run_folder / "train",
        identity=_identity(run_folder, workflow),
        look=lambda network: (
            validation_dice(network, validation, plan, workflow.inference.overlap) if stack.supervised else {}
        ),
        report=report if fabric.is_global_zero else lambda numbers, step: None,
        show=show if fabric.is_global_zero else lambda share, note: None,
    )
    network, state = fit(job, fabric)
    if fabric.is_global_zero:
        _leave(run_folder / "train", network, rows, weights, state, fabric, workflow)
    fabric.barrier()


def grafted(workflow: Workflow, plan: Plan) -> tuple[Stack, Context, LoadReport | None]:
    """The strategies, the network with its start values as they have prepared it, and what became of the tensors.

    Raises:
        TrainingError: A strategy lacks what it works with, or finds no part of the network to work on.
        ModelError: The weights are not for this encoder.
    """
    torch.manual_seed(workflow.training.seed)
    network, weights = start_network(workflow, plan)
    stack = Stack([chosen.build().make() for chosen in workflow.transfer])
    check_needs(stack, weights)
    context = Context(
        network=network,
        pretrained=weights.started if weights else frozenset(),
        plan=plan,
        another=lambda seed: another_network(workflow, plan, seed),
    )
    context.extra = stack.prepare(context)
    return stack, context, weights


def _batches(
    cases: Sequence[Prepared],
    unlabelled: Sequence[Prepared],
    plan: Plan,
    stack: Stack,
    strengths: Mapping[str, float],
    options: Training,
    fabric: Fabric,
) -> Batches:
    """Patches drawn without end, or a fixed number of each case where a strategy asks for it; beside each batch one of
    unlabelled patches, where a strategy needs them. Where labels are not looked at, all cases are unlabelled."""
    place = {"rank": fabric.global_rank, "world": fabric.world_size}
    if not stack.supervised:
        return Unlabelled(unlabelled, plan, seed=options.seed, **place)
    batches = _labelled(cases, plan, stack, strengths, options, place)
    if "unlabelled" in stack.needs:
        batches.beside = Unlabelled(unlabelled, plan, seed=options.seed, **place)
    return batches


def _labelled(
    cases: Sequence[Prepared],
    plan: Plan,
    stack: Stack,
    strengths: Mapping[str, float],
    options: Training,
    place: Mapping[str, int],
) -> Batches:
    if stack.crops is None:
        return Batches(cases, plan, seed=options.seed, foreground=options.foreground, **place)
    return FixedCrops(
        cases,
        plan,
        seed=options.seed,
        foreground=options.foreground,
        crops=stack.crops,
        spacing=_network_spacing(plan),
        strengths=strengths,
        strength=options.augment,
        **place,
    )


def start_network(workflow: Workflow, plan: Plan) -> tuple[SegmentationNetwork, LoadReport | None]:
    """The network with its start values, and what became of the pretrained tensors."""
    network = network_of(workflow.model, plan)
    if workflow.model.start != "none":
        return network, load_whole(network, whole_weights(workflow.model.start))
    weights = workflow.model.encoder.build().weights()
    return network, load_weights(network.encoder, weights) if weights is not None else None


def another_network(workflow: Workflow, plan: Plan, seed: int) -> SegmentationNetwork:
    """A second network with the same pretrained tensors, its new parts drawn anew; later draws are not disturbed.

    Args:
        seed: Beside that of the training: draws differ from those of the first network whatever the two are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(digest({"training": workflow.training.seed, "another": seed})[:15], 16))
        return start_network(workflow, plan)[0]


def check_loss(workflow: Workflow, plan: Plan) -> None:
    """Refuse to start with a loss that cannot leave voxels out, where some are to be left out.

    Raises:
        TrainingError: It takes logits and target only.
    """
    takes = signature(workflow.training.loss.build().__call__).parameters.values()
    several = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in takes)
    if plan.ignored is not None and several < 3 and not any(one.kind == one.VAR_POSITIONAL for one in takes):
        raise TrainingError(
            f"training.loss: {workflow.training.loss.name!r} cannot leave voxels out, as data.ignore or data.others "
            "asks; choose another loss"
        )


def check_needs(stack: Stack, weights: LoadReport | None) -> None:
    """Refuse to start when a strategy lacks what it works with.

    Raises:
        TrainingError: A strategy needs pretrained weights and the encoder has none, or none of them fits it.
    """
    if "pretrained" in stack.needs and weights is None:
        names = ", ".join(type(one).__name__ for one in stack.strategies if "pretrained" in one.needs)
        raise TrainingError(
            f"transfer: {names} works on pretrained weights, but model.encoder.weights is none; "
            "name weights, or leave the strategy out"
        )
    if "pretrained" in stack.needs and weights is not None and not weights.pretrained:
        raise TrainingError(
            f"transfer: none of the tensors of {weights.origin} fits the encoder: nothing is pretrained"
        )


def table(
    network: SegmentationNetwork,
    extra: Mapping[str, torch.nn.Module],
    stack: Stack,
    context: Context,
    workflow: Workflow,
) -> list[Row]:
    """The audit record: every parameter with its learning rate, decay, whether it is trained, and its origin."""
    options = workflow.training.optimiser
    rows = parameter_table(network, highest_rate(options), options.weight_decay, context.pretrained)
    rows = stack.edit(rows, context)
    own: list[Row] = []
    for name, module in extra.items():
        decay, started, rates = 0.0, frozenset[str](), dict[str, float]()
        if isinstance(module, SegmentationNetwork):  # a second network learns at the rates of the first
            decay, started, rates = options.weight_decay, context.pretrained, {row.name: row.lr for row in rows}
        brought = parameter_table(module, highest_rate(options), decay, started)
        own += [row.but(name=f"{name}.{row.name}", lr=rates.get(row.name, row.lr)) for row in brought]
    rows += stack.edit_own(own, context)
    parameters = dict(network.named_parameters())
    for row in rows:
        if row.name in parameters:
            parameters[row.name].requires_grad_(row.train)
    return rows


def validation_dice(
    network: SegmentationNetwork, cases: Sequence[Prepared], plan: Plan, overlap: float
) -> dict[str, float]:
    """Mean Dice of the structures over validation cases, on the network's grid.

    Of a large scan a block around its structures is looked at, so that looks cost the same whatever the size of scans.
    """
    network.eval()
    scores: list[list[float]] = []
    for case in cases:
        label = case.label
        if label is None:
            continue
        block = block_to_look_at(case, plan)
        label = np.array(label[block])
        image = torch.from_numpy(np.array(case.image[(slice(None), *block)]))
        found, _ = segment_array(network, image, label.shape, plan, overlap=overlap)
        counts = counted(label, plan)
        row = []
        for index in range(1, len(plan.labels) + 1):
            mine, truth = masks_of(found, index, plan), masks_of(label, index, plan)
            if counts is not None:
                mine, truth = mine & counts, truth & counts
            both = int(mine.sum()) + int(truth.sum())
            row.append(2.0 * int((mine & truth).sum()) / both if both else float("nan"))
        scores.append(row)
    if not scores:
        return {}
    each = np.nanmean(np.array(scores), axis=0)
    named = {f"dice_{name}": float(value) for (_, name), value in zip(plan.labels, each, strict=True)}
    return {"dice": float(np.nanmean(each)), **named}


def block_to_look_at(case: Prepared, plan: Plan) -> tuple[slice, ...]:
    """At most two patches along each axis (16 slices, for a network of slices), around the middle of the structures."""
    size = [2 * n for n in plan.patch]
    if plan.dims != plan.image_dims:
        size.insert(plan.slice_axis, 16)
    middle = np.median(case.places[:, 1:], axis=0) if len(case.places) else np.array(case.shape) / 2
    block = []
    for voxels, most, centre in zip(case.shape, size, middle, strict=True):
        start = int(np.clip(round(float(centre)) - most // 2, 0, max(0, voxels - most)))
        block.append(slice(start, min(voxels, start + most)))
    return tuple(block)


def _leave(
    folder: Path,
    network: SegmentationNetwork,
    rows: list[Row],
    weights: LoadReport | None,
    state: State,
    fabric: Fabric,
    workflow: Workflow,
) -> None:
    from safetensors.torch import save_file

    from ..files import whole

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with whole(folder / "weights.safetensors") as beside:
        save_file(tensors, beside)
    write_json(folder / "parameters.json", [_row(row) for row in rows])
    peak = torch.cuda.max_memory_allocated(fabric.device) if fabric.device.type == "cuda" else None
    write_json(
        folder / "summary.json",
        {
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "device": torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "cpu",
            "devices": fabric.world_size,
            "precision": str(precision_of(workflow.training.precision, fabric.device)),
            "parameters": int(sum(parameter.numel() for parameter in network.parameters())),
            "device_memory_mb": None if peak is None else round(peak / 2**20),
            "micro_batches": state.micro,
            "curve": state.curve,
            "weights": weights.document() if weights else None,
        },
    )


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__slots__}


def _network_spacing(plan: Plan) -> tuple[float, ...]:
    if plan.dims == plan.image_dims:
        return plan.spacing
    return tuple(step for axis, step in enumerate(plan.spacing) if axis != plan.slice_axis)


def _identity(run_folder: Path, workflow: Workflow) -> str:
    """Of everything that decides the weights."""
    document = workflow.document()
    return digest(
        {
            "model": document["model"],
            "transfer": document["transfer"],
            "training": document["training"],
            "modality": document["data"]["modality"],
            **{name: json.loads((run_folder / f"{name}.json").read_text()) for name in ("plan", "split", "prepared")},
        }
    )
