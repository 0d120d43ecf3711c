"""The one module that authors of plugins import: specs, options, errors, and what components are made of.

Importing it is cheap: a name is loaded when it is first used. `__all__` lists the names by what
they are for. Nothing else of the core is promised to stay as it is; `voxgraft.testing` holds the conformance checks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .components.catalogue import CommandSpec, Component, hookimpl, late, late_call, late_new
from .errors import (
    BadImage,
    DataError,
    ModelError,
    NoSuchModel,
    PluginError,
    TrainingError,
    UsageError,
    VoxGraftError,
    WorkerLost,
)

if TYPE_CHECKING:
    from .batch.task import Executor, ExecutorSpec, Outcome
    from .components.catalogue import Catalogue
    from .components.choice import ExecutorOptions, Options, StoredPath, StrategyOptions, TrackingOptions
    from .components.code import source_hash, version_of
    from .datasets.cases import Case, Dataset, Described, Layout, LayoutSpec, ReadsFolder, Split
    from .imaging.formats import (
        PaletteReader,
        Reader,
        ReaderSpec,
        ReadsImages,
        StructureReader,
        Trace,
        Writer,
        WriterSpec,
        is_archive,
        signs,
        unopened_in,
        unopened_problems,
        walk,
    )
    from .imaging.orientation import orientation_of, plane_of
    from .imaging.read import read_item, scan_files
    from .imaging.regrid import resample_onto
    from .imaging.structures import Label, Labels, Region
    from .imaging.volume import (
        Align,
        Array,
        Colour,
        ImageRef,
        Item,
        MaskRef,
        Problem,
        Volume,
        checked_affine,
        millimetres_apart,
        spacing_of,
        spans_space,
    )
    from .imaging.write import mask_values
    from .inference.predictor import Predictor
    from .labels.valid_region import FindsRegion
    from .networks.encoder_decoder import Decoder, DecoderSpec, Encoder, EncoderSpec
    from .networks.inflation import Fold, inflate, slice_axis
    from .networks.modules import (
        CONVOLUTION,
        GROUPS,
        SLOPE,
        DecoderModule,
        EncoderModule,
        InputContract,
        Norm,
        conv_norm_act,
        convolution,
        match_names,
        normalisation,
    )
    from .networks.network import Output, SegmentationNetwork
    from .networks.options import Inflation, StartValues, weights_option
    from .networks.sources import Models, check_sha256, hub_file, named_weights, packaged_file
    from .networks.stages import stages_of
    from .networks.weights import Weights, read_tensors
    from .packages.package import Package, read_package
    from .packages.references import Registry, Resolver, Version
    from .packages.store import Store, StoreSpec
    from .preprocessing.fingerprint import read_case
    from .preprocessing.modality import HOUNSFIELD_LEVELS, KnowsUnits, Modality, ModalitySpec, ShowsBody, unit_of
    from .preprocessing.plan import Plan
    from .runs.run import Run, Step, StepSpec, Tracker, TrackerSpec
    from .scoring.calibration import Binning
    from .scoring.measuring import Code, Inside, Measured, Measurement, MeasurementSpec, Quantity, measure_values
    from .scoring.metric import CalibrationMetric, Metric, MetricSpec
    from .scoring.pair import MaskPair
    from .scoring.surface import SurfaceDistances
    from .support.child import Answer, Child
    from .support.files import CELLS, atomic_write, digest, read_bytes, read_json, sha256, state_of, write_json
    from .support.lock import TEMPORARY, remove, sweep_tree
    from .support.machine import free_memory, gigabytes
    from .support.names import SIDECARS, count, fingerprint, images_in, listed, safe_ids
    from .support.progress import Progress, print_fitted, print_result
    from .support.texts import as_stored, as_written, composed, stem, write_rows
    from .support.torch_dims import CHANNELS_LAST, LINEAR
    from .support.workers import worker_processes
    from .training.loss import Loss, LossSpec
    from .transfer.spec import StrategySpec
    from .transfer.strategy import Context, Crop, Row, TransferStrategy

__all__ = [  # noqa: RUF022  # by what they are for
    # Every plugin: the hook, what is imported late, the base of options, and errors that are told as one sentence
    "hookimpl",
    "Component",
    "late",
    "late_call",
    "late_new",
    "Options",
    "VoxGraftError",
    "UsageError",
    "DataError",
    "BadImage",
    "ModelError",
    "NoSuchModel",
    "TrainingError",
    "PluginError",
    # Readers and writers of images
    "ReaderSpec",
    "WriterSpec",
    "Reader",
    "PaletteReader",
    "StructureReader",
    "Writer",
    "ReadsImages",
    "Catalogue",
    "Item",
    "Problem",
    "Volume",
    "Array",
    "Colour",
    "Label",
    "Labels",
    "Region",
    "Trace",
    "checked_affine",
    "millimetres_apart",
    "orientation_of",
    "plane_of",
    "read_item",
    "resample_onto",
    "scan_files",
    "spacing_of",
    "spans_space",
    "walk",
    # Layouts of data sets
    "LayoutSpec",
    "Layout",
    "ReadsFolder",
    "Align",
    "Case",
    "Dataset",
    "Described",
    "ImageRef",
    "MaskRef",
    "Split",
    "StoredPath",
    # Modalities
    "ModalitySpec",
    "Modality",
    "FindsRegion",
    "KnowsUnits",
    "ShowsBody",
    "HOUNSFIELD_LEVELS",
    "Plan",
    # Encoders, decoders, and the blocks that they are built of
    "EncoderSpec",
    "DecoderSpec",
    "Encoder",
    "Decoder",
    "EncoderModule",
    "DecoderModule",
    "InputContract",
    "Inflation",
    "StartValues",
    "Weights",
    "Models",
    "named_weights",
    "read_tensors",
    "weights_option",
    "CONVOLUTION",
    "Norm",
    "conv_norm_act",
    "convolution",
    "normalisation",
    "stages_of",
    # Strategies
    "StrategySpec",
    "StrategyOptions",
    "TransferStrategy",
    "Context",
    "Crop",
    "Output",
    "Row",
    "SegmentationNetwork",
    # Losses and metrics
    "LossSpec",
    "MetricSpec",
    "Loss",
    "Metric",
    "CalibrationMetric",
    "Binning",
    "MaskPair",
    "SurfaceDistances",
    # Measurements: what is measured of the scan inside a structure
    "MeasurementSpec",
    "Measurement",
    "Measured",
    "Inside",
    "Quantity",
    "Code",
    "measure_values",
    "unit_of",
    # Steps, trackers and stores
    "StepSpec",
    "TrackerSpec",
    "StoreSpec",
    "Run",
    "Step",
    "Tracker",
    "Store",
    "Registry",
    "Version",
    "TrackingOptions",
    "read_case",
    "Package",
    "Predictor",
    "Resolver",
    "read_package",
    # Executors and commands
    "ExecutorSpec",
    "CommandSpec",
    "Executor",
    "ExecutorOptions",
    "Outcome",
    "Progress",
    "print_result",
    "print_fitted",
    # Files that appear whole or not at all
    "atomic_write",
    "digest",
    "read_bytes",
    "read_json",
    "sha256",
    "write_json",
    "write_rows",
    # What the plugins that come with VoxGraft use besides, and others seldom need
    "CELLS",
    "Answer",
    "CHANNELS_LAST",
    "Child",
    "GROUPS",
    "LINEAR",
    "SIDECARS",
    "SLOPE",
    "TEMPORARY",
    "WorkerLost",
    "Fold",
    "as_stored",
    "as_written",
    "check_sha256",
    "composed",
    "count",
    "fingerprint",
    "free_memory",
    "gigabytes",
    "hub_file",
    "images_in",
    "inflate",
    "is_archive",
    "listed",
    "mask_values",
    "match_names",
    "packaged_file",
    "remove",
    "safe_ids",
    "signs",
    "slice_axis",
    "source_hash",
    "state_of",
    "stem",
    "sweep_tree",
    "unopened_in",
    "unopened_problems",
    "version_of",
    "worker_processes",
]

_NAMES = {
    "batch.task": "Executor ExecutorSpec Outcome",
    "components.catalogue": "Catalogue",
    "components.choice": "ExecutorOptions Options StoredPath StrategyOptions TrackingOptions",
    "components.code": "source_hash version_of",
    "datasets.cases": "Case Dataset Described Layout LayoutSpec ReadsFolder Split",
    "imaging.formats": (
        "PaletteReader Reader ReaderSpec ReadsImages StructureReader Trace Writer WriterSpec is_archive "
        "signs unopened_in unopened_problems walk"
    ),
    "imaging.orientation": "orientation_of plane_of",
    "imaging.read": "read_item scan_files",
    "imaging.regrid": "resample_onto",
    "imaging.structures": "Label Labels Region",
    "imaging.volume": (
        "Align Array Colour ImageRef Item MaskRef Problem Volume"
        " checked_affine millimetres_apart spacing_of spans_space"
    ),
    "imaging.write": "mask_values",
    "inference.predictor": "Predictor",
    "labels.valid_region": "FindsRegion",
    "networks.encoder_decoder": "Decoder DecoderSpec Encoder EncoderSpec",
    "networks.inflation": "Fold inflate slice_axis",
    "networks.modules": (
        "CONVOLUTION GROUPS SLOPE DecoderModule EncoderModule InputContract Norm conv_norm_act convolution match_names "
        "normalisation"
    ),
    "networks.network": "Output SegmentationNetwork",
    "networks.options": "Inflation StartValues weights_option",
    "networks.sources": "Models check_sha256 hub_file named_weights packaged_file",
    "networks.stages": "stages_of",
    "networks.weights": "Weights read_tensors",
    "packages.package": "Package read_package",
    "packages.references": "Registry Resolver Version",
    "packages.store": "Store StoreSpec",
    "preprocessing.fingerprint": "read_case",
    "preprocessing.modality": "HOUNSFIELD_LEVELS KnowsUnits Modality ModalitySpec ShowsBody unit_of",
    "preprocessing.plan": "Plan",
    "runs.run": "Run Step StepSpec Tracker TrackerSpec",
    "scoring.calibration": "Binning",
    "scoring.measuring": "Code Inside Measured Measurement MeasurementSpec Quantity measure_values",
    "scoring.metric": "CalibrationMetric Metric MetricSpec",
    "scoring.pair": "MaskPair",
    "scoring.surface": "SurfaceDistances",
    "support.child": "Answer Child",
    "support.files": "CELLS atomic_write digest read_bytes read_json sha256 state_of write_json",
    "support.lock": "TEMPORARY remove sweep_tree",
    "support.machine": "free_memory gigabytes",
    "support.names": "SIDECARS count fingerprint images_in listed safe_ids",
    "support.progress": "Progress print_fitted print_result",
    "support.texts": "as_stored as_written composed stem write_rows",
    "support.torch_dims": "CHANNELS_LAST LINEAR",
    "support.workers": "worker_processes",
    "training.loss": "Loss LossSpec",
    "transfer.spec": "StrategySpec",
    "transfer.strategy": "Context Crop Row TransferStrategy",
}
"""The modules of the core whose names are loaded when they are first used."""

_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
