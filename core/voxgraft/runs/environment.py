"""What a run was made with: Python, packages, device, and every plugin with its version and a hash of its files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from ..components.code import version_of

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
