"""A network from a workflow and a plan, and what a package says about how to apply it."""

from __future__ import annotations

from math import prod
from typing import Annotated

import torch
from pydantic import ValidationError

from ..components.catalogue import Catalogue
from ..components.choice import ComponentField, Options, Selected
from ..errors import ModelError, WorkflowError
from ..networks.network import SegmentationNetwork, build_network
from ..packages.package import Package
from ..preprocessing.modality import Modality
from ..preprocessing.plan import Plan
from ..workflow.sections import Inference, Model
from ..workflow.yaml import load


class Recipe(Options):
    """The part of a workflow that prediction needs; the rest may name plugins that are not installed here."""

    modality: Annotated[Selected[Modality], ComponentField("modality")]
    model: Model
    inference: Inference


def network_of(model: Model, plan: Plan) -> SegmentationNetwork:
    """The network that a workflow names, shaped by the plan, its weights freshly drawn."""
    return build_network(
        model.encoder.build(),
        model.decoder.build(),
        dims=plan.dims,
        channels=len(plan.channels),
        classes=plan.classes,
        strides=plan.strides,
        deep_supervision=model.deep_supervision,
    )


MAPS = 6
"""Of the largest map in a network, how many are there at once: in and out of a convolution, of a norm, of a sum."""
CHANNELS = 64
"""Of the largest map of a network that cannot be followed."""


def activations_of(model: Model, plan: Plan) -> int:
    """Bytes that the network takes for one window: it is followed on torch's `meta` device, without a value.

    Args:
        model: Names its parts.
        plan: Shapes it.
    """
    sizes = [4 * CHANNELS * prod(plan.patch)]
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.inference_mode():
            network = network_of(model, plan).eval()
            found: list[int] = []
            for module in network.modules():
                module.register_forward_hook(lambda _, __, out: found.append(_bytes(out)))
            network(torch.empty(1, len(plan.channels), *plan.patch))
        sizes = found
    except Exception:  # a part that computes with values when it is made, such as weights of its own
        pass
    return MAPS * max(sizes)


def _bytes(output: object) -> int:
    return output.numel() * output.element_size() if isinstance(output, torch.Tensor) else 0


def recipe_of(package: Package, catalogue: Catalogue) -> Recipe:
    """How a package's network is built and applied.

    Raises:
        ModelError: It names a component that is not installed here; the message says which plugins it was trained with.
    """
    path = package.folder / "workflow.yaml"
    try:
        document, _ = load(path)
        needed = {"modality": document["data"]["modality"], "model": document["model"]}
        return Recipe.model_validate({**needed, "inference": document.get("inference", {})}, context=catalogue)
    except WorkflowError as error:
        raise ModelError(f"{error}; the package is damaged") from None
    except OSError as error:
        raise ModelError(f"{path}: is damaged: {error.strerror}") from None
    except (KeyError, TypeError):
        raise ModelError(f"{path}: is damaged") from None
    except ValidationError as error:
        first = error.errors()[0]
        plugins = ", ".join(sorted(package.facts.get("plugins", {}))) or "not recorded"
        raise ModelError(
            f"{path}: cannot be used here: {first['msg']}; it was trained with the plugins {plugins}"
        ) from None
