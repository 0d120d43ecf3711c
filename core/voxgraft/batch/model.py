"""The model of a batch as a worker holds it: loaded at its first use, used by one scan at a time, watched by limits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UsageError
from ..packages.package import Package, read_package
from ..support.files import sha256
from ..support.limits import Limits, Stopped
from ..support.texts import is_url
from .outputs import Outputs
from .task import ScanTask

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.volume import Volume
    from ..inference.predictor import Applied, Prediction

WORKFLOW = "workflow"
"""Where the facts of a package that is applied hold the SHA-256 of its workflow, which says how it is applied."""

_LOOK = 0.1
"""Seconds between two looks at whether everything is to end."""


class Turns:
    """Lets so many threads in at once, in the order in which they came."""

    def __init__(self, places: int, stop: threading.Event) -> None:
        self._free, self._stop = places, stop
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and hold it.

        Raises:
            Stopped: Everything is to end.
        """
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                while not (self._free and self._waiting[0] is me):
                    self._changed.wait(_LOOK)
                    if self._stop.is_set():
                        raise Stopped
                self._free -= 1
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class How:
    """How a package is to be applied; the values are those of `voxgraft segment`."""

    device: str = "auto"
    overlap: float | None = None
    mirror: bool | None = None
    precision: str = "32"
    body: str = "off"


@dataclass(slots=True)
class Model:
    """A package, and what applies it; sent to another process, it is loaded anew there.

    Attributes:
        ready: Makes a predictor of the package; by default `voxgraft.inference.predictor.predictor_of`.
        readers: Threads that may read scans at once.
        timeout: Seconds for each stage of a scan; None for the usual ones.
        notes: What a user should know of how the model is applied here; none before it is loaded.
        within: Is shown what share of a scan is predicted; stays in this process.
    """

    package: Package
    catalogue: Catalogue
    how: How = How()
    ready: Callable[[Package], Applied] | None = None
    readers: int = 1
    timeout: float | None = None
    notes: tuple[str, ...] = field(init=False, default=())
    within: Callable[[float], None] | None = field(init=False, default=None)
    limits: Limits = field(init=False)
    reading: Turns = field(init=False)
    predicting: Turns = field(init=False)
    _predictor: Applied | None = field(init=False, default=None)
    _outputs: dict[tuple[Path, tuple[str, ...] | None], Outputs] = field(init=False, default_factory=dict)
    _error: Exception | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.limits = Limits(self.timeout)
        self.reading, self.predicting = Turns(self.readers, self.limits.stop), Turns(1, self.limits.stop)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.catalogue.found_by is None:
            raise UsageError(
                "these plugins exist in this process only, and no other process can find them: use `--executor threads`"
            )
        found = self.catalogue.found_by, dict(self.catalogue.options)
        return _elsewhere, (found, self.package, self.how, self.ready, self.readers, self.timeout)

    def outputs(self, task: ScanTask) -> Outputs:
        """What writes the results of a task, made once for each folder."""
        key = task.out, task.writers
        if key not in self._outputs:
            self._outputs[key] = Outputs(task.out, self.package, self.catalogue, task.writers)
        return self._outputs[key]

    def predictor(self) -> Applied:
        """What applies the model, loaded by the first who asks; to be called within a turn of `predicting`.

        Raises:
            ModelError: The model cannot be used; this is told to all who ask.
        """
        if self._error is not None:
            raise self._error
        if self._predictor is None:
            try:
                self._predictor = self._load()
            except Exception as error:
                self._error = error
                raise
        return self._predictor

    def predict(self, scan: Volume, missing: Sequence[int]) -> Prediction:
        """What the model finds in a scan; shows the share that is done, since a large network takes its time."""
        more: dict[str, Any] = {"missing": missing} if missing else {}
        if self.ready is None and self.within is not None:
            more["progress"] = self.within
        return self.predictor().predict(scan, **more)

    def _load(self) -> Applied:
        if self.ready is not None:
            return self.ready(self.package)
        from ..inference.predictor import predictor_of

        ready = predictor_of(self.package, self.catalogue, **asdict(self.how))
        check_unchanged(self.package)
        self.notes = ready.notes
        return ready


def check_unchanged(package: Package) -> None:
    """See that what was loaded is what the batch began with: a package is opened when the batch begins, and loaded when
    the first scan has been read, and by a worker that replaces another one hours later.

    Raises:
        ModelError: The package was replaced.
    """
    now = [read_package(package.folder).hash, sha256(package.folder / "workflow.yaml")]
    if now != [package.hash, package.facts.get(WORKFLOW, now[1])]:
        raise ModelError(f"{package.folder}: was replaced while it was in use; the same call does what is missing")


def _elsewhere(found: tuple[Callable[[], Catalogue], Mapping[Any, Any]], package: Package, *rest: Any) -> Model:
    """The model in another process, which finds the plugins itself."""
    make, options = found
    catalogue, reference = replace(make(), options=options), str(package.facts.get("reference", ""))
    if is_url(reference) and not package.folder.is_dir():  # the parent has fetched it to its own disk
        from ..packages.references import Resolver

        package = replace(package, folder=Resolver(catalogue).resolve(reference).folder)
    return Model(package, catalogue, *rest)
