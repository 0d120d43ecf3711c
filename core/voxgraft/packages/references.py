"""References to models: which store answers to one, and what a registry of versions can do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.choice import Selected, TrackingOptions
from ..errors import ModelError, NoSuchModel, PluginError, VoxGraftError
from ..support.objects import fetch, mirror_of
from ..support.texts import is_url
from .package import Package, read_package
from .store import Store, StoreSpec

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue

FOLDERS = "folder"
"""The store that answers to paths."""

REGISTRY = "mlflow"
"""The store that keeps versions, unless another is named."""

CHAMPION, CHALLENGER = "champion", "challenger"
"""The aliases that VoxGraft sets itself."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model.

    Attributes:
        hash: The identity of the model: its weights, plan and structures.
        package: The SHA-256 of its package with all that is in it, as it was when it was registered.
        metrics: Means over structures and held-out cases, by metric.
        created: When it was registered, in UTC.
    """

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    run: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    hash: str = ""
    created: str = ""
    package: str = ""

    @property
    def reference(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def document(self) -> dict[str, Any]:
        """Plain values, as `models list --json` prints them."""
        document = asdict(self)
        del document["name"]
        return {**document, "aliases": list(self.aliases), "metrics": dict(self.metrics)}


@runtime_checkable
class Registry(Store, Protocol):
    """A store that keeps versions of models under names, with aliases that move."""

    def models(self) -> Mapping[str, Sequence[Version]]:
        """Every model's versions, the newest first."""
        ...

    def version(self, reference: str) -> Version:
        """The version that a reference names.

        Raises:
            ModelError: There is none; the message names those that there are.
        """
        ...

    def register(self, package: Package, name: str) -> Version:
        """Keep a package as a new version; no alias moves. The same package again gives the version it has."""
        ...

    def promote(self, name: str, version: str, alias: str = CHAMPION) -> Version:
        """Let an alias point to a version, and remember which one was champion before.

        Args:
            name: Of the registered model.
            version: Its number, as text.
            alias: Such as `champion`.

        Raises:
            ModelError: There is no such version.
        """
        ...

    def rollback(self, name: str) -> Version:
        """Let `champion` point to the version that was champion before.

        Raises:
            ModelError: There is none.
        """
        ...

    def delete(self, name: str, version: str) -> Version:
        """Remove a version, and every alias that points to it; its number is not given again.

        Args:
            name: Of the registered model.
            version: Its number, as text.

        Returns:
            The version as it was.

        Raises:
            NoSuchModel: There is no such version.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resolver:
    """Finds the packages that references name; it is handed to whatever names a model, to worker processes too.

    Attributes:
        catalogue: What is installed, its readers with the options of the workflow.
        uri: The tracking URI at which `models:/NAME@ALIAS` is looked up; None means `MLFLOW_TRACKING_URI`, or
            `voxgraft.db` in the working directory.
    """

    catalogue: Catalogue
    uri: str | None = None

    def resolve(self, reference: str | Path) -> Package:
        """The package of a folder, of a file, or of what a store answers to, such as `models:/NAME@ALIAS`.

        Raises:
            ModelError: There is no such model, or its package is damaged.
        """
        text = str(reference)
        if is_url(text) and not any(text.startswith(scheme) for scheme in _schemes(self.catalogue)):
            try:
                text = str(fetch(text, mirror_of(text, cache_folder())))
            except VoxGraftError as error:
                raise ModelError(str(error)) from error
        return read_package(_build(_store_for(text, self.catalogue), self).fetch(text))


def registry(catalogue: Catalogue, uri: str | None = None, *, create: bool = False) -> Registry:
    """The registry at a tracking URI; by default at `MLFLOW_TRACKING_URI`, or `voxgraft.db` in this folder.

    Args:
        create: A new one is made where there is none; otherwise that is an error when it is used.
    """
    spec = catalogue.get("store", REGISTRY)
    options = {"create": create, **({"uri": uri} if uri else {})}
    store = Selected(spec, spec.options()(**options), catalogue.origin(spec).plugin).build()
    if not isinstance(store, Registry):
        raise PluginError(f"the store {spec.name!r} keeps no versions of models")
    return store


def cache_folder() -> Path:
    """Where fetched packages are kept: `VOXGRAFT_CACHE`, or `voxgraft` in the user's folder of caches."""
    if chosen := os.environ.get("VOXGRAFT_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "voxgraft"


def _schemes(catalogue: Catalogue) -> tuple[str, ...]:
    """The beginnings of references that stores answer to."""
    specs = [spec for _, spec in catalogue.of("store") if isinstance(spec, StoreSpec)]
    return tuple(scheme for spec in specs for scheme in spec.schemes)


def _store_for(reference: str, catalogue: Catalogue) -> AnySpec:
    """The store that answers to a reference: by its scheme, or the one of paths."""
    specs = [spec for _, spec in catalogue.of("store") if isinstance(spec, StoreSpec)]
    claiming = [spec for spec in specs if any(reference.startswith(scheme) for scheme in spec.schemes)]
    if len(claiming) > 1:
        raise PluginError(f"{reference}: the stores {' and '.join(spec.name for spec in claiming)} both handle it")
    if not claiming and not Path(reference).exists() and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", reference):
        known = sorted(scheme for spec in specs for scheme in spec.schemes)
        raise NoSuchModel(f"{reference}: no store handles this; known are paths, {', '.join(known) or 'nothing else'}")
    return claiming[0] if claiming else catalogue.get("store", FOLDERS)


def _build(spec: AnySpec, resolver: Resolver) -> Store:
    options = {"uri": resolver.uri} if resolver.uri and issubclass(spec.options(), TrackingOptions) else {}
    store: Store = Selected(spec, spec.options()(**options), resolver.catalogue.origin(spec).plugin).build()
    return store
