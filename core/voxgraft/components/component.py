"""The light specs by which plugins announce what they offer, and the markers of the functions that give them.

A spec is data: it costs no import of torch, MONAI or pydantic. Two of its fields are functions that the engine
calls late: `options` when a workflow is checked, `build` when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Callable

    from click import Command  # noqa: F401  # quoted below
    from pydantic import BaseModel

PROJECT = "voxgraft"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)

C = TypeVar("C", bound="BaseModel")
T = TypeVar("T")


def late(package: str, place: str) -> Callable[[], Any]:
    """A function that gives what is at a place in a plugin, and imports it only then: for `options` of a spec.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.options:UNetOptions`; the dot stands for the plugin.
    """
    return partial(_at, package, place)


def late_call(package: str, place: str, *more: Any) -> Callable[..., Any]:
    """A function that calls what is at a place in a plugin, and imports it only then: for `build` of a spec.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.unet:UNetDecoder`; the dot stands for the plugin.
        more: What it is given after the arguments of the call.
    """
    return partial(_call, package, place, more)


def late_new(package: str, place: str, *arguments: Any) -> Callable[..., Any]:
    """The same for components without options: what is at the place is called without them.

    Args:
        package: `__name__` of the plugin.
        place: As in an entry point, such as `.reader:NiftiReader`; the dot stands for the plugin.
        arguments: All that it is given.
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
