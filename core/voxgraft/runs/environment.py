"""What a run was made with: Python, packages, device, and every plugin with its version and a hash of its files."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..discovery import Catalogue
from ..slot import Chosen
from ..workflow import Workflow

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


def environment(workflow: Workflow, catalogue: Catalogue) -> dict[str, Any]:
    """A JSON document; it names no user, no host and no absolute path."""
    return {
        "voxgraft": version_of("voxgraft"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version_of(name) for name in PACKAGES},
        "plugins": plugins_of(workflow, catalogue),
    }


def plugins_of(workflow: Workflow, catalogue: Catalogue) -> dict[str, dict[str, str]]:
    """Every plugin that a workflow uses: the distribution, its version, and a hash of the plugin's files."""
    found = {}
    for chosen in components_of(workflow):
        origin = catalogue.origin(chosen.component)
        found[origin.plugin] = {
            "distribution": origin.distribution,
            "version": origin.version,
            "sha256": source_hash(origin.module),
        }
    return dict(sorted(found.items()))


def components_of(workflow: Workflow) -> Iterable[Chosen[Any]]:
    """Every component that a workflow names."""
    yield from (workflow.data.layout, workflow.data.modality, workflow.model.encoder, workflow.model.decoder)
    yield from workflow.data.readers.values()
    yield from workflow.transfer
    yield from workflow.evaluation.metrics
    yield from workflow.steps
    yield workflow.training.loss
    if workflow.tracking is not None:
        yield workflow.tracking


def source_hash(module: str) -> str:
    """SHA-256 over the names and bytes of the source files of a module and of its package, in the order of names."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    root = Path(spec.origin)
    packaged = root.name == "__init__.py" or "." in module
    files = sorted(root.parent.rglob("*.py")) if packaged else [root]
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(root.parent).as_posix().encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def version_of(name: str) -> str:
    """The installed version of a distribution, or that it is not installed."""
    if name == "python":
        return sys.version.split()[0]
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
