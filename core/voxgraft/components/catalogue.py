"""What the installed plugins offer, by kind and name, and where each component comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ComponentConflict, UnknownComponent
from .component import AnySpec


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that was set aside, and why."""

    plugin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.plugin!r} was set aside: {self.reason}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin comes from: its entry point, and the distribution that installed it."""

    plugin: str
    module: str
    distribution: str
    version: str


@dataclass(slots=True)
class Catalogue:
    """Every component on offer, by kind and name.

    Attributes:
        options: What takes the place of a component's own defaults wherever it is chosen, by kind and name.
    """

    _offers: dict[tuple[str, str], dict[str, AnySpec]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    options: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def with_options(self, kind: str, options: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """The same offers, with other defaults for the components of one kind that are named; they must fit."""
        named = {(kind, name): dict(given) for name, given in options.items()}
        return replace(self, options={**self.options, **named})

    def add(self, plugin: str, spec: AnySpec) -> None:
        self._offers.setdefault((spec.kind, spec.name), {})[plugin] = spec

    def get(self, kind: str, name: str) -> AnySpec:
        """Return the one component of that kind and name.

        Raises:
            UnknownComponent: No plugin offers it.
            ComponentConflict: Several plugins do.
        """
        offers = self._offers.get((kind, name))
        if not offers:
            raise UnknownComponent(kind, name, (s.name for _, s in self.of(kind)), map(str, self.failures))
        if len(offers) > 1:
            raise ComponentConflict(kind, name, offers)
        return next(iter(offers.values()))

    def of(self, kind: str) -> Iterator[tuple[str, AnySpec]]:
        """Iterate over (plugin, component) of one kind, in the order of their names."""
        for (k, _), offers in sorted(self._offers.items(), key=lambda item: item[0]):
            if k == kind:
                yield from offers.items()

    def origin(self, spec: AnySpec) -> Origin:
        """Where a component comes from."""
        (plugin,) = self._offers[spec.kind, spec.name]
        return self.origins[plugin]

    @property
    def conflicts(self) -> list[ComponentConflict]:
        return [ComponentConflict(k, n, offers) for (k, n), offers in self._offers.items() if len(offers) > 1]
