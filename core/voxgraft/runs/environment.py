"""What a run was made with: Python, packages, device, and every plugin with its version and a hash of its files."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "torch",
    "monai",
    "timm",
    "numpy",
    "nibabel",
    "pydicom",
    "SimpleITK",
    "highdicom",
    "lightning-fabric",
    "mlflow",
)


def environment(plugins: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """A JSON document; it names no user, no host and no absolute path."""
    return {
        "voxgraft": version_of("voxgraft"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version_of(name) for name in PACKAGES},
        "plugins": {name: dict(plugin) for name, plugin in plugins.items()},
    }


def version_of(name: str) -> str:
    """The installed version of a distribution, or that it is not installed."""
    if name == "python":
        return sys.version.split()[0]
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
