"""What a training starts from besides its cases: the network with initial weights, strategies, and parameter table.

It is made before arrays are prepared too, so that what cannot work is said before you spend hours training.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature

import torch

from ..errors import TrainingError
from ..inference.recipe import network_of
from ..networks.network import SegmentationNetwork
from ..networks.sources import registered_weights
from ..networks.weights import LoadReport, load_network, load_weights
from ..packages.references import Resolver
from ..preprocessing.plan import Plan
from ..support.files import digest
from ..transfer.stack import Stack
from ..transfer.strategy import Context, Row, parameter_table, title
from ..workflow.sections import Optimiser
from ..workflow.workflow import Workflow
from .memory import Need, check_memory, need_of
from .optimiser import highest_rate


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A training before its first step.

    Attributes:
        context: Of the strategies; the network is in it, and the modules that they brought.
        weights: What became of the pretrained tensors; None from scratch.
        rows: The table of parameters, those of the strategies' modules among them.
        need: What the training takes of memory.
    """

    stack: Stack
    context: Context
    weights: LoadReport | None
    rows: list[Row]
    need: Need


def set_up(workflow: Workflow, plan: Plan, models: Resolver) -> TrainingSetup:
    """Make all of it from the workflow's seed.

    Args:
        workflow: Names network, strategies, loss and optimiser.
        plan: Derived from the data.
        models: Looks up registered models, such as initial weights or teachers.

    Raises:
        ModelError: The initial weights are not there, are damaged, or are for another encoder.
        TrainingError: The strategies or the loss cannot work with this network and plan, or a batch does not fit into
            memory.
    """
    check_loss(workflow, plan)
    torch.manual_seed(workflow.training.seed)
    network, weights = start_network(workflow, plan, models)
    stack = Stack([chosen.build() for chosen in workflow.transfer])
    check_needs(stack, weights)
    context = Context(
        network=network,
        pretrained=weights.started if weights else frozenset(),
        plan=plan,
        another=lambda seed: another_network(workflow, plan, seed, models),
        models=models,
    )
    context.extra = stack.prepare(context)
    rows = table(stack, context, workflow.training.optimiser)
    need = need_of(network, plan, context.extra.values())
    check_memory(need, plan, workflow.training.device)
    return TrainingSetup(stack, context, weights, rows, need)


def start_network(workflow: Workflow, plan: Plan, models: Resolver) -> tuple[SegmentationNetwork, LoadReport | None]:
    """The network with its initial weights, and what became of the pretrained tensors.

    Args:
        workflow: Names encoder, decoder and where weights come from.
        plan: Gives axes, channels, classes and levels.
        models: Looks up registered models.
    """
    network = network_of(workflow.model, plan)
    if workflow.model.start != "none":
        return network, load_network(network, registered_weights(workflow.model.start, models))
    weights = workflow.model.encoder.build().weights(models) if workflow.model.pretrained else None
    return network, load_weights(network.encoder, weights) if weights is not None else None


def another_network(workflow: Workflow, plan: Plan, seed: int, models: Resolver) -> SegmentationNetwork:
    """A second network with the same pretrained tensors, its new parts drawn anew; later draws are not disturbed.

    Args:
        seed: Beside that of the training: draws differ from those of the first network whatever the two are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(digest({"training": workflow.training.seed, "another": seed})[:15], 16))
        return start_network(workflow, plan, models)[0]


def check_loss(workflow: Workflow, plan: Plan) -> None:
    """Refuse to start with a loss that cannot leave voxels out, where some are to be left out.

    Raises:
        TrainingError: It takes logits and target only.
    """
    takes = signature(workflow.training.loss.build().__call__).parameters.values()
    several = sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in takes)
    if (
        plan.ignored is not None
        and several < 3
        and not any(parameter.kind == parameter.VAR_POSITIONAL for parameter in takes)
    ):
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
        names = ", ".join(title(strategy) for strategy in stack.strategies if "pretrained" in strategy.needs)
        raise TrainingError(
            f"transfer: {names} works on pretrained weights, but model.encoder.weights is none; "
            "name weights, or leave the strategy out"
        )
    if "pretrained" in stack.needs and weights is not None and not weights.pretrained:
        raise TrainingError(
            f"transfer: none of the tensors of {weights.origin} fits the encoder: nothing is pretrained"
        )


def table(stack: Stack, context: Context, options: Optimiser) -> list[Row]:
    """The audit record: every parameter with its learning rate, decay, whether it is trained, and its origin.

    Args:
        stack: The strategies, which edit the table in their order.
        context: The network, what in it is pretrained, and what strategies brought.
        options: Learning rate and weight decay.
    """
    rows = parameter_table(context.network, highest_rate(options), options.weight_decay, context.pretrained)
    rows = stack.edit(rows, context)
    own: list[Row] = []
    for name, module in context.extra.items():
        decay, started, rates = 0.0, frozenset[str](), dict[str, float]()
        if isinstance(module, SegmentationNetwork):  # a second network learns at the rates of the first
            decay, started, rates = options.weight_decay, context.pretrained, {row.name: row.lr for row in rows}
        brought = parameter_table(module, highest_rate(options), decay, started)
        own += [row.but(name=f"{name}.{row.name}", lr=rates.get(row.name, row.lr)) for row in brought]
    rows += stack.edit_own(own, context)
    parameters = dict(context.network.named_parameters())
    for row in rows:
        if row.name in parameters:
            parameters[row.name].requires_grad_(row.train)
    return rows
