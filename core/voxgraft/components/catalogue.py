"""What plugins offer: the light specs by which they announce it, the markers of the functions that give them, and the
catalogue of what is installed, by kind and name, with where each component comes from, and where its code differs from
that of a training.

A spec is data: it costs no import of torch, MONAI or pydantic. Two of its fields are functions that the engine
calls late: `options` when a workflow is checked, `build` when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pluggy import HookimplMarker, HookspecMarker

from ..errors import ComponentConflict, UnknownComponent
from .code import source_hash, version_of

if TYPE_CHECKING:
    from click import Command  # noqa: F401  # quoted below
    from pydantic import BaseModel

    from ..support.contents import Kept

PROJECT = "voxgraft"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)

C = TypeVar("C", bound="BaseModel")
T = TypeVar("T")


def late(package: str, place: str) -> Callable[[], Any]:
    """A function that imports an object of a plugin when it is called, and returns it: for `options` of a spec.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.options:UNetOptions`; the dot stands for the plugin.
    """
    return partial(_at, package, place)


def late_call(package: str, place: str, *more: Any) -> Callable[..., Any]:
    """A function that imports a function or class of a plugin when it is called, and calls it: for `build` of a spec.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.unet:UNetDecoder`; the dot stands for the plugin.
        more: Further arguments, after those of the call.
    """
    return partial(_call, package, place, more)


def late_new(package: str, place: str, *arguments: Any) -> Callable[..., Any]:
    """The same for components without options: the function or class is called without them.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.reader:NiftiReader`; the dot stands for the plugin.
        arguments: All of its arguments.
    """
    return partial(_new, package, place, arguments)


def _at(package: str, place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module, package), name)


def _call(package: str, place: str, more: tuple[Any, ...], *arguments: Any) -> Any:
    return _at(package, place)(*arguments, *more)


def _new(package: str, place: str, arguments: tuple[Any, ...], *_: Any) -> Any:
    return _at(package, place)(*arguments)


def no_options() -> type[Any]:
    """The model of a component that has no options."""
    from .choice import Options

    return Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Generic[C, T]):
    """One thing a workflow can name.

    Attributes:
        name: What a workflow file writes after `use:`.
        summary: One line for `voxgraft plugins list`.
        options: Gives the model of the options, where there are some; may import pydantic, never torch.
        build: Makes the component from its options; may import anything.
    """

    kind: ClassVar[str]

    name: str
    summary: str
    options: Callable[[], type[C]] = no_options
    build: Callable[[C], T]


AnySpec = Component[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec(Component[C, "Command"]):
    """A command: `voxgraft NAME`. Its summary is the line of the help; `build` imports and gives the click command."""

    kind = "command"


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


def _nothing_more(kind: str | None) -> None:
    """Offer no more than what was added."""


@dataclass(slots=True)
class Catalogue:
    """Every component on offer, by kind and name.

    Attributes:
        options: What takes the place of a component's own defaults wherever it is chosen, by kind and name.
        kept: What readers read in this call, where it is kept for the next step.
        ask: Adds what plugins offer of a kind, or of all kinds (None); called before each look, and adds it once.
        found_by: Finds the same offers in another process; None where only this process knows them.
    """

    _offers: dict[tuple[str, str], dict[str, AnySpec]] = field(default_factory=dict)
    _origins: dict[str, Origin] = field(default_factory=dict)
    _failures: list[Failure] = field(default_factory=list)
    options: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    kept: Kept | None = None
    ask: Callable[[str | None], None] = _nothing_more
    found_by: Callable[[], Catalogue] | None = None
    _codes: dict[Origin, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        self.ask(None)
        return Catalogue, (self._offers, self._origins, self._failures, self.options)

    def with_options(self, kind: str, options: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """The same offers, with other defaults for the components of one kind that are named; they must fit."""
        named = {(kind, name): dict(given) for name, given in options.items()}
        return replace(self, options={**self.options, **named}, kept=None)

    def keeping(self, kept: Kept) -> Catalogue:
        """The same, whose readers read no file twice while there is room; nobody may write into what they give."""
        return replace(self, kept=kept)

    def add(self, plugin: str, spec: AnySpec) -> None:
        self._offers.setdefault((spec.kind, spec.name), {})[plugin] = spec

    def add_origin(self, origin: Origin) -> None:
        self._origins[origin.plugin] = origin

    def add_failure(self, failure: Failure) -> None:
        self._failures.append(failure)

    def get(self, kind: str, name: str) -> AnySpec:
        """Return the one component of that kind and name.

        Raises:
            UnknownComponent: No plugin offers it.
            ComponentConflict: Several plugins do.
        """
        self.ask(kind)
        offers = self._offers.get((kind, name))
        if not offers:
            raise UnknownComponent(kind, name, (s.name for _, s in self.of(kind)), map(str, self.failures))
        if len(offers) > 1:
            raise ComponentConflict(kind, name, offers)
        return next(iter(offers.values()))

    def of(self, kind: str) -> Iterator[tuple[str, AnySpec]]:
        """Iterate over (plugin, component) of one kind, in the order of their names."""
        self.ask(kind)
        for (k, _), offers in sorted(self._offers.items(), key=lambda item: item[0]):
            if k == kind:
                yield from offers.items()

    def origin(self, spec: AnySpec) -> Origin:
        """Where a component comes from."""
        (plugin,) = self._offers[spec.kind, spec.name]
        return self._origins[plugin]

    def origin_of(self, plugin: str) -> Origin:
        """Where a plugin comes from that offers a component."""
        return self._origins[plugin]

    def code_of(self, origin: Origin) -> str:
        """The fingerprint of a plugin's source code as it was when this was first asked for; see `source_hash`."""
        if origin not in self._codes:
            self._codes[origin] = source_hash(origin.module, origin.distribution)
        return self._codes[origin]

    def fingerprint(self, kind: str) -> str:
        """A fingerprint of all components of one kind, with their code and options: what they made before is theirs
        while it is the same."""
        from ..support.files import digest

        offers = [(plugin, spec.name) for plugin, spec in self.of(kind)]
        return digest(
            [[name, self.code_of(self._origins[plugin]), self.options.get((kind, name), {})] for plugin, name in offers]
        )

    @property
    def origins(self) -> dict[str, Origin]:
        """Where every plugin comes from that could be loaded, by its name; loads them all."""
        self.ask(None)
        return self._origins

    @property
    def failures(self) -> list[Failure]:
        """The plugins that were set aside; loads them all."""
        self.ask(None)
        return self._failures

    def conflicts(self, kind: str | None = None) -> list[ComponentConflict]:
        """Names that several plugins offer, of one kind or of all."""
        self.ask(kind)
        return [
            ComponentConflict(k, n, offers)
            for (k, n), offers in self._offers.items()
            if len(offers) > 1 and kind in (k, None)
        ]


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


def other_code(facts: Mapping[str, Any], catalogue: Catalogue, used: Iterable[AnySpec]) -> list[str]:
    """What differs here from the training of a package: VoxGraft's version, and the plugins of components in use.

    Args:
        facts: Of the package: they say with which versions it was trained.
        catalogue: Knows where components come from here.
        used: The specs of the components that are in use.
    """
    from ..support.texts import counted

    trained: Mapping[str, Any] = facts.get("plugins") or {}
    here = described(
        [*used, *(spec for _, spec in catalogue.of("reader") if _plugin_of(spec, catalogue) in trained)], catalogue
    )
    differences = []
    if (version := facts.get("voxgraft")) and version != version_of("voxgraft"):
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


def _plugin_of(spec: AnySpec, catalogue: Catalogue) -> str:
    """The plugin of a component; empty where several offer it."""
    try:
        return catalogue.origin(spec).plugin
    except ValueError:
        return ""
