"""The one module that authors of plugins import: specs, options, errors, and what components are made of.

Importing it is cheap: only specs are loaded, everything else when it is first used. Nothing else of the core is
promised to stay as it is; `voxgraft.testing` holds the conformance checks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .batch.executor import ExecutorSpec
from .components.command import CommandSpec
from .components.component import Component
from .components.markers import hookimpl
from .datasets.layout import LayoutSpec
from .errors import BadImage, DataError, ModelError, PluginError, TrainingError, UsageError, VoxGraftError
from .imaging.formats import ReaderSpec, WriterSpec
from .networks.encoder_decoder import DecoderSpec, EncoderSpec
from .packages.store import StoreSpec
from .preprocessing.modality import ModalitySpec
from .runs.step import StepSpec, TrackerSpec
from .scoring.metric import MetricSpec
from .training.loss import LossSpec
from .transfer.spec import StrategySpec

if TYPE_CHECKING:
    from .batch.executor import Executor
    from .components.catalogue import Catalogue
    from .components.code import source_hash, version_of
    from .components.options import Options, TrackingOptions
    from .datasets.cases import Case, Dataset, Described, Split
    from .datasets.layout import Layout
    from .imaging.align import Align
    from .imaging.archives import is_archive, told
    from .imaging.formats import Reader, StructureReader, Writer
    from .imaging.orientation import orientation_of, plane_of
    from .imaging.read import archives_in, read_item, scan_files, walk
    from .imaging.reference import ImageRef, MaskRef
    from .imaging.regrid import resample_onto
    from .imaging.structures import Label, Labels, Region
    from .imaging.traces import Trace, signs
    from .imaging.volume import (
        Array,
        Colour,
        Item,
        Problem,
        Volume,
        checked_affine,
        millimetres_apart,
        spacing_of,
        spans_space,
    )
    from .inference.predictor import Predictor
    from .networks.blocks import GROUPS, SLOPE, Norm, conv_norm_act, convolution, normalisation
    from .networks.encoder_decoder import Decoder, Encoder
    from .networks.inflation import Fold, inflate, slice_axis
    from .networks.modules import DecoderModule, EncoderModule, InputContract
    from .networks.names import match_names
    from .networks.network import CONVOLUTION, Output, SegmentationNetwork
    from .networks.options import Inflation, StartValues, weights_option
    from .networks.sources import Models, check_sha256, hub_file, named_weights, packaged_file
    from .networks.stages import stages_of
    from .networks.weights import Weights, read_tensors
    from .packages.package import Package, read_package
    from .packages.references import Resolver
    from .packages.store import Store
    from .preprocessing.modality import Modality
    from .preprocessing.plan import Plan
    from .runs.run import Run
    from .runs.step import Step, Tracker
    from .scoring.calibration import Binning
    from .scoring.metric import CalibrationMetric, Metric
    from .scoring.pair import MaskPair
    from .scoring.surface import SurfaceDistances
    from .support.files import (
        CELLS,
        TEMPORARY,
        atomic_write,
        digest,
        read_bytes,
        read_json,
        remove,
        sha256,
        sweep_tree,
        write_json,
    )
    from .support.memory import free_memory, gigabytes
    from .support.output import print_result
    from .support.progress import Progress
    from .support.spelling import StoredPath, as_stored, composed
    from .support.stopping import ending_gently
    from .support.texts import as_written, write_rows
    from .support.torch_dims import CHANNELS_LAST, LINEAR
    from .support.workers import worker_processes
    from .training.loss import Loss
    from .transfer.options import StrategyOptions
    from .transfer.parameters import Row
    from .transfer.strategy import Context, Crop, TransferStrategy

_HOME = {
    "CalibrationMetric": "scoring.metric",
    "TrackingOptions": "components.options",
    "StrategyOptions": "transfer.options",
    "DecoderModule": "networks.modules",
    "EncoderModule": "networks.modules",
    # What plugins offer
    "Catalogue": "components.catalogue",
    "source_hash": "components.code",
    "version_of": "components.code",
    "Options": "components.options",
    # Images
    "Align": "imaging.align",
    "is_archive": "imaging.archives",
    "told": "imaging.archives",
    "Reader": "imaging.formats",
    "StructureReader": "imaging.formats",
    "Writer": "imaging.formats",
    "orientation_of": "imaging.orientation",
    "plane_of": "imaging.orientation",
    "archives_in": "imaging.read",
    "read_item": "imaging.read",
    "scan_files": "imaging.read",
    "walk": "imaging.read",
    "ImageRef": "imaging.reference",
    "MaskRef": "imaging.reference",
    "resample_onto": "imaging.regrid",
    "Label": "imaging.structures",
    "Labels": "imaging.structures",
    "Region": "imaging.structures",
    "Array": "imaging.volume",
    "Colour": "imaging.volume",
    "Item": "imaging.volume",
    "Problem": "imaging.volume",
    "Volume": "imaging.volume",
    "checked_affine": "imaging.volume",
    "millimetres_apart": "imaging.volume",
    "spacing_of": "imaging.volume",
    "spans_space": "imaging.volume",
    "Trace": "imaging.traces",
    "signs": "imaging.traces",
    # Data sets
    "Case": "datasets.cases",
    "Dataset": "datasets.cases",
    "Described": "datasets.cases",
    "Split": "datasets.cases",
    "Layout": "datasets.layout",
    # Preparation
    "Modality": "preprocessing.modality",
    "Plan": "preprocessing.plan",
    # Networks and their weights
    "GROUPS": "networks.blocks",
    "Norm": "networks.blocks",
    "SLOPE": "networks.blocks",
    "conv_norm_act": "networks.blocks",
    "convolution": "networks.blocks",
    "normalisation": "networks.blocks",
    "Decoder": "networks.encoder_decoder",
    "Encoder": "networks.encoder_decoder",
    "Fold": "networks.inflation",
    "Inflation": "networks.options",
    "inflate": "networks.inflation",
    "slice_axis": "networks.inflation",
    "match_names": "networks.names",
    "CONVOLUTION": "networks.network",
    "Output": "networks.network",
    "SegmentationNetwork": "networks.network",
    "StartValues": "networks.options",
    "weights_option": "networks.options",
    "check_sha256": "networks.sources",
    "Models": "networks.sources",
    "hub_file": "networks.sources",
    "named_weights": "networks.sources",
    "packaged_file": "networks.sources",
    "stages_of": "networks.stages",
    "InputContract": "networks.modules",
    "Weights": "networks.weights",
    "read_tensors": "networks.weights",
    # Transfer
    "Row": "transfer.parameters",
    "Context": "transfer.strategy",
    "Crop": "transfer.strategy",
    "TransferStrategy": "transfer.strategy",
    # Training
    "Loss": "training.loss",
    # Prediction
    "Predictor": "inference.predictor",
    # Scores
    "Binning": "scoring.calibration",
    "Metric": "scoring.metric",
    "MaskPair": "scoring.pair",
    "SurfaceDistances": "scoring.surface",
    # Model packages
    "Package": "packages.package",
    "read_package": "packages.package",
    "Resolver": "packages.references",
    "Store": "packages.store",
    # Batches
    "Executor": "batch.executor",
    # Runs
    "Run": "runs.run",
    "Step": "runs.step",
    "Tracker": "runs.step",
    # Files and progress
    "CELLS": "support.files",
    "TEMPORARY": "support.files",
    "atomic_write": "support.files",
    "digest": "support.files",
    "read_bytes": "support.files",
    "read_json": "support.files",
    "remove": "support.files",
    "sha256": "support.files",
    "sweep_tree": "support.files",
    "write_json": "support.files",
    "free_memory": "support.memory",
    "gigabytes": "support.memory",
    "print_result": "support.output",
    "Progress": "support.progress",
    "StoredPath": "support.spelling",
    "as_stored": "support.spelling",
    "composed": "support.spelling",
    "ending_gently": "support.stopping",
    "as_written": "support.texts",
    "write_rows": "support.texts",
    "CHANNELS_LAST": "support.torch_dims",
    "LINEAR": "support.torch_dims",
    "worker_processes": "support.workers",
}
"""The module of the core that holds each name which is loaded when it is first used."""

__all__ = [
    "CELLS",
    "CHANNELS_LAST",
    "CONVOLUTION",
    "GROUPS",
    "LINEAR",
    "SLOPE",
    "TEMPORARY",
    "Align",
    "Array",
    "BadImage",
    "Binning",
    "CalibrationMetric",
    "Case",
    "Catalogue",
    "Colour",
    "CommandSpec",
    "Component",
    "Context",
    "Crop",
    "DataError",
    "Dataset",
    "Decoder",
    "DecoderModule",
    "DecoderSpec",
    "Described",
    "Encoder",
    "EncoderModule",
    "EncoderSpec",
    "Executor",
    "ExecutorSpec",
    "Fold",
    "ImageRef",
    "Inflation",
    "InputContract",
    "Item",
    "Label",
    "Labels",
    "Layout",
    "LayoutSpec",
    "Loss",
    "LossSpec",
    "MaskPair",
    "MaskRef",
    "Metric",
    "MetricSpec",
    "Modality",
    "ModalitySpec",
    "ModelError",
    "Models",
    "Norm",
    "Options",
    "Output",
    "Package",
    "Plan",
    "PluginError",
    "Predictor",
    "Problem",
    "Progress",
    "Reader",
    "ReaderSpec",
    "Region",
    "Resolver",
    "Row",
    "Run",
    "SegmentationNetwork",
    "Split",
    "StartValues",
    "Step",
    "StepSpec",
    "Store",
    "StoreSpec",
    "StoredPath",
    "StrategyOptions",
    "StrategySpec",
    "StructureReader",
    "SurfaceDistances",
    "Trace",
    "Tracker",
    "TrackerSpec",
    "TrackingOptions",
    "TrainingError",
    "TransferStrategy",
    "UsageError",
    "Volume",
    "VoxGraftError",
    "Weights",
    "Writer",
    "WriterSpec",
    "archives_in",
    "as_stored",
    "as_written",
    "atomic_write",
    "check_sha256",
    "checked_affine",
    "composed",
    "conv_norm_act",
    "convolution",
    "digest",
    "ending_gently",
    "free_memory",
    "gigabytes",
    "hookimpl",
    "hub_file",
    "inflate",
    "is_archive",
    "match_names",
    "millimetres_apart",
    "named_weights",
    "normalisation",
    "orientation_of",
    "packaged_file",
    "plane_of",
    "print_result",
    "read_bytes",
    "read_item",
    "read_json",
    "read_package",
    "read_tensors",
    "remove",
    "resample_onto",
    "scan_files",
    "sha256",
    "signs",
    "slice_axis",
    "source_hash",
    "spacing_of",
    "spans_space",
    "stages_of",
    "sweep_tree",
    "told",
    "version_of",
    "walk",
    "weights_option",
    "worker_processes",
    "write_json",
    "write_rows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
