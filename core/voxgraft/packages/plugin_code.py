"""The code of the plugins that a model was trained with, beside what is installed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..components.code import version_of
from ..support.texts import counted

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue
    from .package import Package

Plugins = dict[str, dict[str, str]]
"""By its name, a plugin's `distribution`, `version`, and `sha256` of its files."""


def described(specs: Iterable[AnySpec], catalogue: Catalogue) -> Plugins:
    """The plugins of components, in the order of their names."""
    origins = {origin.plugin: origin for origin in map(catalogue.origin, specs)}
    return {
        name: {
            "distribution": origin.distribution,
            "version": origin.version,
            "sha256": catalogue.code_of(origin),
        }
        for name, origin in sorted(origins.items())
    }


def other_code(package: Package, catalogue: Catalogue, used: Iterable[AnySpec]) -> list[str]:
    """What differs here from the training of a package: VoxGraft's version, and the plugins of components in use.

    Args:
        package: Knows the versions it was trained with.
        catalogue: Knows where components come from here.
        used: The specs of the components that are in use.
    """
    trained: Mapping[str, Any] = package.facts.get("plugins") or {}
    here = described(
        [*used, *(spec for _, spec in catalogue.of("reader") if _origin(spec, catalogue) in trained)], catalogue
    )
    differences = []
    if (version := package.facts.get("voxgraft")) and version != version_of("voxgraft"):
        differences.append(f"VoxGraft {version_of('voxgraft')} is used, the model was trained with {version}")
    without, versions, code = [], [], []
    for name, now in here.items() if trained else ():
        then = trained.get(name)
        if then is None:
            without.append(f"{name!r} {now['version']}")
        elif then["version"] != now["version"]:
            versions.append(f"{name!r} {now['version']} instead of {then['version']}")
        elif then["sha256"] != now["sha256"]:
            code.append(f"{name!r} {now['version']}")
    for names, what in (
        (without, "not used in the training of the model"),
        (versions, "of another version than in the training of the model"),
        (code, "with code that differs from the training of the model"),
    ):
        if names:
            differences.append(f"{counted(len(names), 'plugin')} {what}: {', '.join(names)}")
    return differences


def _origin(spec: AnySpec, catalogue: Catalogue) -> str:
    """The plugin of a component; empty where several offer it."""
    try:
        return catalogue.origin(spec).plugin
    except ValueError:
        return ""
