"""What a run was made with: Python, packages, device, and every plugin with its version and a hash of its files."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..components.catalogue import AnySpec, Plugins, described
from ..components.code import version_of
from ..errors import VoxGraftError
from ..imaging.write import choose_writer
from ..packages.store import StoreSpec
from ..preprocessing.state import readers_taking_part
from .identity import components, leaves, of_data
from .run import Run

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
    "mlflow-skinny",
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


def plugins_of(run: Run) -> Plugins:
    """Every plugin that takes part.

    They are those of the components that the workflow names, wherever they stand in it, of the readers of the files of
    all its data sets, of the writer of masks, and of the stores of the models that it starts from.
    """
    specs = [chosen.component for _, chosen in components(run.workflow)]
    specs += [*_stores(run), choose_writer(Path("mask.nii.gz"), run.catalogue)]
    try:
        specs += _readers(run)
    except VoxGraftError:  # the data are not there: the step that needs them says so
        return {**_recorded(run), **described(specs, run.catalogue)}
    return described(specs, run.catalogue)


def _readers(run: Run) -> list[AnySpec]:
    of_data(run)
    return list(readers_taking_part(run.readers, run.catalogue))


def _stores(run: Run) -> Iterator[AnySpec]:
    named = [value for _, value in leaves(run.workflow.document()) if isinstance(value, str)]
    for _, spec in run.catalogue.of("store"):
        if isinstance(spec, StoreSpec) and any(value.startswith(spec.schemes or ("\0",)) for value in named):
            yield spec


def _recorded(run: Run) -> Plugins:
    try:
        plugins: Plugins = run.read("environment.json")["plugins"]
    except VoxGraftError:
        return {}
    return plugins
