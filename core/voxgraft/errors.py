"""The errors a user can cause or fix; the command line prints each as one sentence.

VoxGraftError                  exit code 1
├── UsageError                 exit code 2: the call or the workflow file is wrong, nothing was started
│   ├── WorkflowError          a workflow file does not fit its schema
│   ├── UnknownComponent       no plugin offers the name
│   ├── NoSuchModel            there is no model of that name (a ModelError too)
│   └── NoSuchRegistry         there is no registry at that place (a TrackingError too)
├── PluginError                a plugin could not be loaded, or answered a hook wrongly
│   ├── BrokenPlugin           the code of a plugin failed where the engine called it
│   └── ComponentConflict      two plugins offer one name
├── DataError                  a data set cannot be used as it is
│   ├── BadImage               one image cannot be read, or must not be trusted
│   └── OutOfTime              some work took longer than it may
├── ModelError                 a package or a reference to a model is no good
├── WorkerLost                 a process that worked on something died, or was ended for its limits
├── TrackingError              the tracking server or registry does not answer, or refuses
└── TrainingError              training cannot start or go on
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VoxGraftError(Exception):
    """Base class of every error a user can fix; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(VoxGraftError):
    """The call or the workflow file is wrong; nothing was started."""

    exit_code = 2


class WorkflowError(UsageError):
    """A workflow file does not fit its schema."""


class UnknownComponent(UsageError):
    """No plugin offers the component that is asked for."""

    def __init__(self, kind: str, name: str, known: Iterable[str], failed: Iterable[str] = ()) -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
        lost = "".join(f"\n  note: plugin {line}" for line in failed)
        super().__init__(f"no {kind} is called {name!r}{hint}{lost}")


class PluginError(VoxGraftError):
    """A plugin could not be loaded, or answered a hook wrongly."""


class BrokenPlugin(PluginError):
    """The code of a plugin failed where the engine called it."""

    def __init__(self, plugin: str, doing: str, error: BaseException) -> None:
        super().__init__(f"plugin {plugin!r} failed while {doing}: {type(error).__name__}: {error}")


class ComponentConflict(PluginError):
    """Two plugins offer a component of the same kind under the same name."""

    def __init__(self, kind: str, name: str, plugins: Iterable[str]) -> None:
        self.kind, self.name, self.plugins = kind, name, tuple(plugins)
        super().__init__(f"{kind} {name!r} is offered by {' and '.join(self.plugins)}; leave one of them out")


class DataError(VoxGraftError):
    """A data set cannot be used as it is."""


class BadImage(DataError):
    """One image cannot be read, or its geometry must not be trusted."""

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class OutOfTime(DataError):
    """Some work took longer than it may."""


class WorkerLost(VoxGraftError):
    """A worker died or was ended while it was at a task, at the second try too; the message says how."""


class ModelError(VoxGraftError):
    """A package, or a reference to a model, is no good."""


class NoSuchModel(UsageError, ModelError):
    """What should name a model names none: no such path, package, name, alias or version."""


class TrackingError(VoxGraftError):
    """The tracking server or the registry does not answer, or refuses."""


class NoSuchRegistry(UsageError, TrackingError):
    """There is no registry where one should be."""


class TrainingError(VoxGraftError):
    """Training cannot start or go on."""
