"""A network from a workflow and a plan, and what a package says about how to apply it."""

from __future__ import annotations

from typing import Annotated

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
