"""The plugins that take part in a run, and whether a model is used with others than it was trained with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..component import AnySpec, StoreSpec
from ..discovery import Catalogue
from ..errors import VoxGraftError
from ..package import Package
from ..writing import choose_writer
from .code import source_hash
from .environment import version_of
from .identity import components, leaves, of_data
from .run import Run
from .state import readers_taking_part

Plugins = dict[str, dict[str, str]]
"""By its name, a plugin's `distribution`, `version`, and `sha256` of its files."""


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


def described(specs: Iterable[AnySpec], catalogue: Catalogue) -> Plugins:
    """The plugins of components, in the order of their names."""
    origins = {origin.plugin: origin for origin in map(catalogue.origin, specs)}
    return {
        name: {
            "distribution": origin.distribution,
            "version": origin.version,
            "sha256": source_hash(origin.module, origin.distribution),
        }
        for name, origin in sorted(origins.items())
    }


def other_code(package: Package, catalogue: Catalogue, used: Iterable[AnySpec]) -> list[str]:
    """What differs here from the training of a package: VoxGraft's version, and the plugins of components in use."""
    trained: Mapping[str, Any] = package.facts.get("plugins") or {}
    here = described(
        [*used, *(spec for _, spec in catalogue.of("reader") if _origin(spec, catalogue) in trained)], catalogue
    )
    found = []
    if (version := package.facts.get("voxgraft")) and version != version_of("voxgraft"):
        found.append(f"VoxGraft {version_of('voxgraft')} is used, the model was trained with {version}")
    for name, now in here.items() if trained else ():
        then = trained.get(name)
        if then is None:
            found.append(f"the plugin {name!r} {now['version']} is used, the model was trained without it")
        elif then["version"] != now["version"]:
            found.append(f"the plugin {name!r} {now['version']} is used, the model was trained with {then['version']}")
        elif then["sha256"] != now["sha256"]:
            found.append(f"the plugin {name!r} {now['version']} has other code than the model was trained with")
    return found


def _origin(spec: AnySpec, catalogue: Catalogue) -> str:
    """The plugin of a component; empty where several offer it."""
    try:
        return catalogue.origin(spec).plugin
    except ValueError:
        return ""


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
        found: Plugins = run.read("environment.json")["plugins"]
    except VoxGraftError:
        return {}
    return found
