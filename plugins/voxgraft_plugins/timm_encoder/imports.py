"""Import timm where torchvision's compiled operators do not fit the installed torch.

timm imports torchvision. The torchvision wheel of the public index is built for CUDA; beside a CPU-only torch its
import stops at "operator torchvision::nms does not exist". Backbones use none of its operators, so it is enough to
declare the two that its import looks up. Where torchvision is whole, nothing is declared.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch

LOOKED_UP = ("nms", "qnms")


def import_timm() -> ModuleType:
    """The module timm."""
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
    except ImportError:
        pass  # timm says what it misses
    return import_module("timm")


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in LOOKED_UP:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported
    torchvision = import_module("torchvision")
    torchvision._declared_operators = library  # type: ignore[attr-defined]  # they live as long as the library does
