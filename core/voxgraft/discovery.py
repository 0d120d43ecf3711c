"""Find plugins, and hold what they offer.

Built-in and third-party plugins come the same way: entry points of the group `voxgraft`.
A plugin that fails is set aside with its reason, and the rest carry on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import TypeVar

from pluggy import PluginManager

from . import hookspecs
from .components.catalogue import Catalogue, Failure, Origin
from .components.component import AnySpec
from .components.markers import PROJECT
from .errors import OutOfTime, PluginError
from .hookspecs import KINDS, SPECS
from .support.limits import Limits

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that the import of a plugin, or one of its hooks, may take."""


def discover(entries: Iterable[EntryPoint] | None = None, *, without: Iterable[str] | None = None) -> Catalogue:
    """Load the plugins and collect their specs.

    Args:
        entries: The entry points to load; by default those installed in this environment.
        without: Plugins to leave out, as `distribution:entry`; by default those named in `VOXGRAFT_WITHOUT`.
    """
    left_out = set(os.environ.get("VOXGRAFT_WITHOUT", "").split() if without is None else without)
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs.Hooks)
    catalogue = Catalogue()
    about = cache(_about)
    with redirect_stdout(sys.stderr):  # what a plugin prints is no part of any result
        for entry in entry_points(group=PROJECT) if entries is None else entries:
            origin = _origin(entry, about)
            if origin.plugin not in left_out:
                _load(manager, entry, origin, catalogue)
        for kind, hook in KINDS.items():
            _collect(manager, kind, hook, catalogue)
    return catalogue


def _in_time(doing: str, work: Callable[[], T]) -> T:
    """What a plugin gives; one that hangs is given up.

    Raises:
        PluginError: It took longer than `PATIENCE`.
    """
    try:
        return Limits().within(PATIENCE, doing, work)
    except OutOfTime:
        raise PluginError(f"{doing} did not end within {PATIENCE:g} s") from None


def _load(manager: PluginManager, entry: EntryPoint, origin: Origin, catalogue: Catalogue) -> None:
    name = origin.plugin
    try:
        manager.register(_in_time(f"importing {entry.value}", entry.load), name=name)
        manager.check_pending()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        if manager.has_plugin(name):
            manager.unregister(name=name)
        catalogue.failures.append(Failure(name, f"{type(error).__name__}: {error}"))
    else:
        catalogue.origins[name] = origin


def _collect(manager: PluginManager, kind: str, hook: str, catalogue: Catalogue) -> None:
    set_aside = {failure.plugin for failure in catalogue.failures}
    for impl in getattr(manager.hook, hook).get_hookimpls():
        if impl.plugin_name in set_aside:
            continue
        try:
            specs = _in_time(hook, partial(_answer, impl.function))
            for spec in specs:
                if not isinstance(spec, SPECS[kind]):
                    raise PluginError(f"{hook} gave {spec!r}, which is no {kind}")
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            catalogue.failures.append(Failure(impl.plugin_name, f"{type(error).__name__}: {error}"))
        else:
            for spec in specs:
                catalogue.add(impl.plugin_name, spec)


def _answer(hook: Callable[[], Iterable[AnySpec]]) -> list[AnySpec]:
    return list(hook())


def _origin(entry: EntryPoint, about: Callable[[Distribution], tuple[str, str]]) -> Origin:
    distribution, version = about(entry.dist) if entry.dist else ("", "")
    name = f"{distribution}:{entry.name}" if entry.dist else entry.name
    return Origin(name, entry.module, distribution, version)


def _about(distribution: Distribution) -> tuple[str, str]:
    """Its name and version; each of them is read from the whole of its metadata."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]
