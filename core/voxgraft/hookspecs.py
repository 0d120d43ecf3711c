"""The hooks a plugin may implement.

Each returns specs (see `voxgraft.components.catalogue`), which must be cheap: a plugin module is imported whenever
plugins are listed or a kind is asked for that it may offer, so it must not import torch, MONAI, MLflow or pydantic at
its top. What the engine then asks of the component that a spec builds is written beside the class of the spec.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from .components.catalogue import Component, hookspec

if TYPE_CHECKING:
    from .batch.task import ExecutorSpec
    from .components.catalogue import CommandSpec
    from .datasets.cases import LayoutSpec
    from .imaging.formats import ReaderSpec, WriterSpec
    from .networks.encoder_decoder import DecoderSpec, EncoderSpec
    from .packages.store import StoreSpec
    from .preprocessing.modality import ModalitySpec
    from .runs.run import StepSpec, TrackerSpec
    from .scoring.measuring import MeasurementSpec
    from .scoring.metric import MetricSpec
    from .training.loss import LossSpec
    from .transfer.spec import StrategySpec

KINDS = {
    "reader": "voxgraft_readers",
    "writer": "voxgraft_writers",
    "layout": "voxgraft_layouts",
    "modality": "voxgraft_modalities",
    "encoder": "voxgraft_encoders",
    "decoder": "voxgraft_decoders",
    "strategy": "voxgraft_strategies",
    "loss": "voxgraft_losses",
    "metric": "voxgraft_metrics",
    "measurement": "voxgraft_measurements",
    "step": "voxgraft_steps",
    "tracker": "voxgraft_trackers",
    "store": "voxgraft_stores",
    "executor": "voxgraft_executors",
    "command": "voxgraft_commands",
}
"""Each kind of component, and the hook that offers it."""

_HOMES = {
    "reader": "imaging.formats",
    "writer": "imaging.formats",
    "layout": "datasets.cases",
    "modality": "preprocessing.modality",
    "encoder": "networks.encoder_decoder",
    "decoder": "networks.encoder_decoder",
    "strategy": "transfer.spec",
    "loss": "training.loss",
    "metric": "scoring.metric",
    "measurement": "scoring.measuring",
    "step": "runs.run",
    "tracker": "runs.run",
    "store": "packages.store",
    "executor": "batch.task",
    "command": "components.catalogue",
}
"""The module that holds the class of the specs of a kind; it is imported when the kind is asked for."""


def spec_class(kind: str) -> type[Component[Any, Any]]:
    """The class of the specs of a kind; the engine reads its fields, and takes nothing else for a spec."""
    module = import_module(f".{_HOMES[kind]}", __package__)
    spec: type[Component[Any, Any]] = getattr(module, f"{kind.capitalize()}Spec")
    return spec


class Hooks(Protocol):
    """What a plugin module may define. Every hook is optional."""

    @hookspec
    def voxgraft_readers(self) -> Iterable[ReaderSpec[Any]]:
        """Offer readers of image files."""
        ...

    @hookspec
    def voxgraft_writers(self) -> Iterable[WriterSpec[Any]]:
        """Offer writers of images and masks."""
        ...

    @hookspec
    def voxgraft_layouts(self) -> Iterable[LayoutSpec[Any]]:
        """Offer ways in which data sets lie on disk."""
        ...

    @hookspec
    def voxgraft_modalities(self) -> Iterable[ModalitySpec[Any]]:
        """Offer kinds of images: normalisation, augmentation, display window."""
        ...

    @hookspec
    def voxgraft_encoders(self) -> Iterable[EncoderSpec[Any]]:
        """Offer encoders, pretrained or new."""
        ...

    @hookspec
    def voxgraft_decoders(self) -> Iterable[DecoderSpec[Any]]:
        """Offer decoders."""
        ...

    @hookspec
    def voxgraft_strategies(self) -> Iterable[StrategySpec[Any]]:
        """Offer transfer strategies."""
        ...

    @hookspec
    def voxgraft_losses(self) -> Iterable[LossSpec[Any]]:
        """Offer losses."""
        ...

    @hookspec
    def voxgraft_metrics(self) -> Iterable[MetricSpec[Any]]:
        """Offer metrics."""
        ...

    @hookspec
    def voxgraft_measurements(self) -> Iterable[MeasurementSpec[Any]]:
        """Offer measurements of the scan's values inside structures."""
        ...

    @hookspec
    def voxgraft_steps(self) -> Iterable[StepSpec[Any]]:
        """Offer steps of a workflow."""
        ...

    @hookspec
    def voxgraft_trackers(self) -> Iterable[TrackerSpec[Any]]:
        """Offer places that keep a run's events."""
        ...

    @hookspec
    def voxgraft_stores(self) -> Iterable[StoreSpec[Any]]:
        """Offer places that keep model packages."""
        ...

    @hookspec
    def voxgraft_executors(self) -> Iterable[ExecutorSpec[Any]]:
        """Offer ways of spreading a batch's scans over workers."""
        ...

    @hookspec
    def voxgraft_commands(self) -> Iterable[CommandSpec[Any]]:
        """Offer commands of the command line."""
        ...
