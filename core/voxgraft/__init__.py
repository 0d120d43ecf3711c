"""VoxGraft: a plugin-based platform that grafts pretrained networks onto medical images.

Importing this package imports neither torch nor mlflow; the names below load what they need when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .components.catalogue import Component, hookimpl
from .errors import VoxGraftError

if TYPE_CHECKING:
    from .api import (
        advise,
        catalogue,
        check,
        compare,
        convert,
        evaluate,
        inspect,
        models,
        new,
        read,
        run,
        segment,
        write,
    )
    from .batch.task import ExecutorSpec
    from .datasets.cases import LayoutSpec
    from .imaging.formats import ReaderSpec, WriterSpec
    from .imaging.volume import Item, Problem, Volume
    from .inference.sliding import sliding_window
    from .networks.encoder_decoder import DecoderSpec, EncoderSpec
    from .packages.store import StoreSpec
    from .preprocessing.modality import ModalitySpec
    from .runs.run import StepSpec, TrackerSpec
    from .scoring.metric import MetricSpec
    from .training.loss import LossSpec
    from .transfer.spec import StrategySpec

    __version__: str

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
    "advise",
    "catalogue",
    "check",
    "compare",
    "convert",
    "evaluate",
    "hookimpl",
    "inspect",
    "models",
    "new",
    "read",
    "run",
    "segment",
    "sliding_window",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("voxgraft")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = "inference.sliding" if name == "sliding_window" else "api" if name.islower() else "plugin"  # has the classes
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
