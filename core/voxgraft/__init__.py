"""VoxGraft: a plugin-based platform that grafts pretrained networks onto medical images.

Importing this package imports neither torch nor mlflow; the names below load what they need when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .component import (
    Component,
    DecoderSpec,
    EncoderSpec,
    ExecutorSpec,
    LayoutSpec,
    LossSpec,
    MetricSpec,
    ModalitySpec,
    ReaderSpec,
    StepSpec,
    StoreSpec,
    StrategySpec,
    TrackerSpec,
    WriterSpec,
)
from .errors import VoxGraftError
from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .api import catalogue, evaluate, read, run, segment
    from .infer.sliding import sliding_window
    from .volume import Item, Problem, Volume

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
    "Item": "volume",
    "Problem": "volume",
    "Volume": "volume",
    "catalogue": "api",
    "evaluate": "api",
    "read": "api",
    "run": "api",
    "segment": "api",
    "sliding_window": "infer.sliding",
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
