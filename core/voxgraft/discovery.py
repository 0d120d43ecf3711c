"""Find plugins, and hold what they offer.

Built-in and third-party plugins come the same way, as entry points. One of the group `voxgraft` may offer anything; one
of a group that is named after a hook, such as `voxgraft.readers`, offers that kind, and is imported only for it.
A plugin that fails, or offers what its groups do not say, is set aside with its reason, and the rest carry on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint, entry_points
from threading import RLock
from typing import TypeVar

from pluggy import PluginManager

from .components.catalogue import PROJECT, AnySpec, Catalogue, Failure, Origin
from .errors import OutOfTime, PluginError
from .hookspecs import KINDS, Hooks, spec_class
from .support.limits import Limits

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that the import of a plugin, or one of its hooks, may take."""

GROUPS = {hook.replace("_", ".", 1): kind for kind, hook in KINDS.items()}
"""The kind of component that plugins of a group offer: `voxgraft.readers` for readers."""


def discover(entries: Iterable[EntryPoint] | None = None, *, without: Iterable[str] | None = None) -> Catalogue:
    """Find the plugins; each is loaded when a kind is asked for that it may offer.

    Args:
        entries: The entry points to load; by default those installed in this environment.
        without: Plugins to leave out, as `distribution:entry`; by default those named in `VOXGRAFT_WITHOUT`.
    """
    left_out = set(os.environ.get("VOXGRAFT_WITHOUT", "").split() if without is None else without)
    catalogue = Catalogue(found_by=discover if entries is None and without is None else None)
    plugins = _Plugins(catalogue)
    for entry in _installed() if entries is None else entries:
        plugins.add(entry, left_out)
    catalogue.ask = plugins.collect
    return catalogue


def _installed() -> Iterator[EntryPoint]:
    found = entry_points()
    for group in (PROJECT, *GROUPS):
        yield from found.select(group=group)


class _Plugins:
    """The plugins that are installed, those of them that are loaded, and the kinds that they were asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._manager = PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._waiting: dict[tuple[str, str], tuple[EntryPoint, set[str]]] = {}
        self._to_ask = dict(KINDS)
        self._lock = RLock()
        self._project = cache(_project)

    def add(self, entry: EntryPoint, left_out: Container[str]) -> None:
        """Note a plugin, or one more group of it, unless it is to be left out."""
        name = self._name(entry)
        if name not in left_out:
            self._waiting.setdefault((name, entry.value), (entry, set()))[1].add(entry.group)

    def _name(self, entry: EntryPoint) -> str:
        return f"{self._project(entry.dist)[0]}:{entry.name}" if entry.dist else entry.name

    def collect(self, kind: str | None) -> None:
        """Put what is offered of a kind into the catalogue, or of all kinds; what was collected before stays."""
        with self._lock, redirect_stdout(sys.stderr):  # what a plugin prints is not part of any result
            for each in list(self._to_ask) if kind is None else [kind]:
                if hook := self._to_ask.pop(each, None):
                    self._load(each)
                    self._ask(each, hook)

    def _load(self, kind: str) -> None:
        for key, (entry, groups) in list(self._waiting.items()):
            if PROJECT in groups or kind in {GROUPS[group] for group in groups}:
                del self._waiting[key]
                self._import(entry, groups)

    def _import(self, entry: EntryPoint, groups: set[str]) -> None:
        name = self._name(entry)
        try:
            self._manager.register(_in_time(f"importing {entry.value}", entry.load), name=name)
            self._manager.check_pending()
            self._check_groups(name, groups)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self._set_aside(name, error)
        else:
            distribution, version = self._project(entry.dist) if entry.dist else ("", "")
            self._catalogue.add_origin(Origin(name, entry.module, distribution, version))

    def _check_groups(self, name: str, groups: set[str]) -> None:
        """Refuse a plugin whose groups and hooks differ: what it offers would depend on what was asked for before."""
        if PROJECT in groups:
            return
        callers = self._manager.get_hookcallers(self._manager.get_plugin(name)) or []
        hooks = {caller.name.replace("_", ".", 1) for caller in callers}
        for group in sorted(hooks ^ groups):
            hook = group.replace(".", "_", 1)
            lacks = f"no entry point of the group {group}" if group in hooks else f"no hook {hook}"
            has = f"the hook {hook}" if group in hooks else f"an entry point of the group {group}"
            raise PluginError(f"it has {has}, and {lacks}")

    def _ask(self, kind: str, hook: str) -> None:
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                specs = _in_time(hook, partial(_answer, impl.function))
                for spec in specs:
                    if not isinstance(spec, spec_class(kind)):
                        raise PluginError(f"{hook} gave {spec!r}, which is no {kind}")
            except (Exception, SystemExit) as error:  # a plugin may fail in any way
                self._set_aside(impl.plugin_name, error)
            else:
                for spec in specs:
                    self._catalogue.add(impl.plugin_name, spec)

    def _set_aside(self, plugin: str, error: BaseException) -> None:
        self._catalogue.add_failure(Failure(plugin, f"{type(error).__name__}: {error}"))


def _in_time(doing: str, work: Callable[[], T]) -> T:
    """What a plugin gives; one that hangs is given up.

    Raises:
        PluginError: It took longer than `PATIENCE`.
    """
    try:
        return Limits().within(PATIENCE, doing, work)
    except OutOfTime:
        raise PluginError(f"{doing} did not end within {PATIENCE:g} s") from None


def _answer(hook: Callable[[], Iterable[AnySpec]]) -> list[AnySpec]:
    return list(hook())


def _project(distribution: Distribution) -> tuple[str, str]:
    """Name and version of what was installed; each call reads and parses all its metadata, README included."""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]
