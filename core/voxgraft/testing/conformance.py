"""What a conformance check is, what it is run on, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..components.choice import Selected
    from ..imaging.volume import Volume

Sample = Callable[[Path, "Volume"], Path]
"""Writes a volume into an empty folder by means other than the component under test, and gives the path to scan.

It raises `NotApplicable` for a volume that the format cannot hold.
"""


Run = Callable[["Subject", Path], None]


class NotApplicable(Exception):
    """A check does not concern this component, or cannot be run here; the text says why."""


@dataclass(frozen=True)
class Subject:
    """The component on which checks are run.

    Attributes:
        chosen: The component with its options.
        sample: For readers: how files of known content come about. By default a writer that answers to one of the
            reader's suffixes.
        keep: For stores: keeps the package of a folder, and gives its reference.
        sections: For steps and trackers: sections of the workflow in which they are tried.
        files: For readers: real files on which the checks of damage are run as well.
    """

    chosen: Selected[Any]
    catalogue: Catalogue
    sample: Sample | None = None
    files: tuple[Path, ...] = ()
    keep: Callable[[Path], str] | None = None
    sections: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        *,
        options: Mapping[str, Any] | None = None,
        catalogue: Catalogue | None = None,
        sample: Sample | None = None,
        files: tuple[Path, ...] = (),
        keep: Callable[[Path], str] | None = None,
        sections: Mapping[str, Any] | None = None,
    ) -> Subject:
        """The installed component of that kind and name.

        Args:
            kind: Such as `encoder` or `writer`.
            name: As a workflow names it.
            options: Of the component.
            catalogue: By default all that is installed.
            sample: For readers: how files of known content come about.
            files: For readers: real files to try damage on.

        Raises:
            UnknownComponent: There is none.
        """
        from ..components.choice import choose
        from ..discovery import discover

        catalogue = catalogue or discover()
        given = dict(options or {})
        if kind == "layout" and "path" in catalogue.get(kind, name).options().model_fields:
            given.setdefault("path", "no-data-set-was-given")
        return cls(choose(catalogue, kind, {"use": name, **given}), catalogue, sample, files, keep, sections or {})

    @property
    def spec(self) -> Any:
        return self.chosen.component

    def build(self) -> Any:
        return self.chosen.build()


@dataclass(frozen=True, slots=True)
class ConformanceCheck:
    """One thing that every component of a kind does.

    Attributes:
        text: What it does, as a sentence.
        run: Tries it, with an empty folder to write to; raises AssertionError where the component fails.
    """

    text: str
    run: Run = field(repr=False)

    def __str__(self) -> str:
        return self.text


CHECKS: dict[str, list[ConformanceCheck]] = {}
"""By kind, those of the modules that have been imported; `spec` for the checks of every kind."""


def check(kind: str, text: str) -> Callable[[Run], Run]:
    """Make a function one of the checks of a kind.

    Args:
        kind: Of component.
        text: What every such component does, as a sentence.
    """

    def add(run: Run) -> Run:
        CHECKS.setdefault(kind, []).append(ConformanceCheck(text, run))
        return run

    return add


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of running a check."""

    check: str
    state: Literal["passed", "failed", "skipped"]
    reason: str = ""


def require(holds: Any, message: str) -> None:
    """Raise where something does not hold; unlike `assert`, in optimised Python too."""
    if not holds:
        raise AssertionError(message)
