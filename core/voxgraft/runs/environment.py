"""What a run was made with: Python, packages, device, and every plugin with its version and a hash of its files."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..discovery import Catalogue
from ..slot import Chosen
from ..workflow import Workflow
from .code import source_hash

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
            "sha256": source_hash(origin.module, origin.distribution),
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


def version_of(name: str) -> str:
    """The installed version of a distribution, or that it is not installed."""
    if name == "python":
        return sys.version.split()[0]
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
