"""VoxGraft: a plugin-based platform that grafts pretrained networks onto medical images.

Importing this package imports neither torch nor mlflow; the names below load what they need when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .batch.executor import ExecutorSpec
from .components.component import Component
from .components.markers import hookimpl
from .datasets.layout import LayoutSpec
from .errors import VoxGraftError
from .imaging.formats import ReaderSpec, WriterSpec
from .networks.encoder_decoder import DecoderSpec, EncoderSpec
from .packages.store import StoreSpec
from .preprocessing.modality import ModalitySpec
from .runs.step import StepSpec, TrackerSpec
from .scoring.metric import MetricSpec
from .training.loss import LossSpec
from .transfer.spec import StrategySpec

if TYPE_CHECKING:
    from .api import catalogue, evaluate, read, run, segment
    from .imaging.volume import Item, Problem, Volume
    from .inference.sliding import sliding_window

__all__ = [
    "Component",
    "DecoderSpec",
    "EncoderSpec",
    "ExecutorSpec",
    "Item",
    "LayoutSpec",
    "LossSpec",
    "MetricSpec",
    "ModalitySpec",
    "Problem",
    "ReaderSpec",
    "StepSpec",
    "StoreSpec",
    "StrategySpec",
    "TrackerSpec",
    "Volume",
    "VoxGraftError",
    "WriterSpec",
    "catalogue",
    "evaluate",
    "hookimpl",
    "read",
    "run",
    "segment",
    "sliding_window",
]

_LATE = {
    "Item": "imaging.volume",
    "Problem": "imaging.volume",
    "Volume": "imaging.volume",
    "catalogue": "api",
    "evaluate": "api",
    "read": "api",
    "run": "api",
    "segment": "api",
    "sliding_window": "inference.sliding",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
