"""The work on the scans of a batch: the next one is read and the last one written while one is predicted.

Reading and writing are tasks of the executor; predicting happens in the thread that asks for the results, for the
model is there once. Both kinds of task are handed over lazily, so that only a few scans are in memory at a time. What
goes wrong with a scan is a row in the ledger, and the others go on.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DataError, ModelError, OutOfTime, PluginError, VoxGraftError
from ..imaging.channels import stack_channels
from ..imaging.read import read_item
from ..inference.need import TooLarge
from ..support.files import digest, is_full, sha256
from ..support.limits import Limits, Stopped
from ..support.texts import legible
from .ledger import LedgerError
from .outputs import Found, Outputs
from .quality import Flag, flags_of_voxels
from .values import Unfit, check_memory, judge_values, refuse_unfit

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.volume import Volume
    from .corrections import Corrections
    from .entry import Entry
    from .executor import Executor


GRACE = 3.0
"""Seconds in which the stages under way may end by themselves when a batch is stopped."""

LAST_WAIT = 30.0
"""Seconds to wait for files that are being put in their places then."""


class Prediction(Protocol):
    """What a predictor says of a scan; see `voxgraft.inference.predictor.Prediction`."""

    @property
    def labels(self) -> Volume: ...

    @property
    def confidence(self) -> dict[str, float]: ...


class Predictor(Protocol):
    """A model, ready; see `voxgraft.inference.predictor.Predictor`."""

    def predict(self, volume: Volume, *, missing: Sequence[int] = ()) -> Prediction: ...


@dataclass(slots=True)
class Job:
    """A scan on its way through the stages.

    Attributes:
        ended: Nothing is left to do: it is done, or has failed.
    """

    entry: Entry
    scan: Volume | None = None
    mask: Volume | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    ended: bool = False


class Pipeline:
    """The three stages of a batch.

    Args:
        load: Makes the model ready; called once, when the first scan has been read.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        corrections: Corrections,
        outputs: Outputs,
        load: Callable[[], Predictor],
        limits: Limits | None = None,
    ) -> None:
        self._catalogue, self._outputs = catalogue, outputs
        self._corrections, self._ledger = corrections, corrections.ledger
        self._load, self._plan = load, outputs.package.plan
        self._predictor: Predictor | None = None
        self._limits = limits or Limits()
        self._under_way: set[int] = set()

    def run(self, entries: Sequence[Entry], executor: Executor) -> Iterator[Entry]:
        """Work through entries; gives each when its row is `done` or `failed`.

        Raises:
            ModelError: The model cannot be used; the scans under way wait again.
            DataError: The ledger cannot be written.
        """
        loaded = iter(executor.run(self._read, entries))
        written = iter(executor.run(self._write, self._predicted(loaded)))
        try:
            for job in written:
                yield _checked(job).entry
        except BaseException:
            self._wait(GRACE)
            self._limits.stop.set()
            raise
        finally:
            for stage in (written, loaded):  # wait for the threads of both, whatever ended the work
                if isinstance(stage, Iterator) and hasattr(stage, "close"):
                    stage.close()
            self._wait(LAST_WAIT)  # the ledger may be closed then

    def _wait(self, seconds: float) -> None:
        """Wait until no stage is under way, but not for ever."""
        end = time.monotonic() + seconds
        while self._under_way and time.monotonic() < end:
            time.sleep(0.02)

    def _predicted(self, loaded: Iterator[Any]) -> Iterator[Job]:
        for job in loaded:
            if not _checked(job).ended and self._predictor is None:
                self._predictor = self._load()
            yield self._stage(job, "predict", self._predict)

    def _read(self, entry: Entry) -> Job:
        if self._limits.stop.is_set():
            raise Stopped
        self._ledger.begin(entry.case)
        return self._stage(Job(entry), "read", self._load_scan)

    def _write(self, job: Job) -> Job:
        return self._stage(job, "write", self._save)

    def _stage(self, job: Job, name: str, work: Callable[[Job], None]) -> Job:
        if job.ended:
            return job
        start = time.monotonic()
        self._under_way.add(id(job))
        try:
            work(job)
        except LedgerError:
            raise
        except (Exception, SystemExit) as error:
            job.ended, job.scan, job.mask = True, None, None
            message = plain(error, job.entry, self._outputs.out)
            full = is_full(self._outputs.out)  # not the fault of the scan: it is tried again when there is room
            self._ledger.fail(job.entry.case, code_of(error, name), message, job.seconds, counts=not full)
        finally:
            self._under_way.discard(id(job))
        job.seconds[name] = round(time.monotonic() - start, 3)
        return job

    def _load_scan(self, job: Job) -> None:
        check_memory(job.entry, self._plan)
        seconds = self._limits.for_bytes(sum(file.stat().st_size for file in job.entry.files))
        content, job.scan, flags = self._limits.within(seconds, "reading", lambda: self._volume(job.entry))
        self._ledger.note_hash(job.entry.case, content)
        job.entry = replace(job.entry, flags=(*job.entry.flags, *flags))

    def _volume(self, entry: Entry) -> tuple[str, Volume, list[Flag]]:
        """The hash of a scan's files, its voxels, and what was seen in them."""
        content = hash_of(entry)
        volumes: list[Volume | None] = [read_item(item, self._catalogue) for item in entry.items]
        known = [problem for item in entry.items for problem in item.problems]
        seen = [problem for volume in volumes if volume and volume.item for problem in volume.item.problems]
        flags = [Flag(problem.code, problem.message) for problem in dict.fromkeys(seen) if problem not in known]
        for number in entry.missing:  # in rising order: each finds its place among those before it
            volumes.insert(number, None)
        scan = stack_channels(volumes, self._plan.align)
        known_modality = all(item.modality for item in entry.items)
        verdict = judge_values(scan, known_modality, self._plan, entry.missing)
        refuse_unfit(verdict, entry.forced)
        flags += [Flag("out-of-contract", str(verdict))] if verdict.reasons else []
        return content, scan, [*flags, *flags_of_voxels(scan)]

    def _predict(self, job: Job) -> None:
        assert self._predictor is not None and job.scan is not None
        _reset_peak()
        missing, scan, predict = job.entry.missing, job.scan, self._predictor.predict
        work: Callable[[], Prediction] = partial(predict, scan, missing=missing) if missing else partial(predict, scan)
        seconds = self._limits.seconds  # by default no limit: how long a network takes, nobody can say
        prediction = work() if seconds is None else self._limits.within(seconds, "predicting", work)
        job.peak_mb = _peak_mb()
        job.mask, job.confidence = prediction.labels, dict(prediction.confidence)
        if not all(map(math.isfinite, job.confidence.values())):
            raise ModelError("the network gave NaN or infinite values")
        if job.mask.shape != job.scan.shape:
            raise DataError(f"the model gave a mask of {job.mask.shape} voxels for a scan of {job.scan.shape}")

    def _save(self, job: Job) -> None:
        assert job.scan is not None and job.mask is not None
        start = time.monotonic()
        written = self._outputs.write(
            job.entry, job.scan, job.mask, Found(job.confidence, job.seconds), self._corrections, self._limits
        )
        self._ledger.finish(
            job.entry.case,
            outputs=written.hashes,
            structures=written.structures,
            seconds={**job.seconds, "write": round(time.monotonic() - start, 3)},
            peak_mb=job.peak_mb,
            flags=written.flags,
        )
        job.ended, job.scan, job.mask = True, None, None


def _checked(job: Any) -> Job:
    """A job; an executor gives in its place what a stage could not put into the ledger."""
    if isinstance(job, BaseException):
        raise job
    assert isinstance(job, Job)
    return job


def stat_of(entry: Entry) -> str:
    """Names, sizes and times of an entry's files: while they are the same, so are the bytes."""
    stats = []
    for file in entry.files:
        with suppress(OSError):
            status = file.stat()
            stats.append([file.name, status.st_size, status.st_mtime_ns])
    return digest(stats)


def hash_of(entry: Entry) -> str:
    """A fingerprint of the bytes that a scan is read from."""
    hashes = []
    for file in entry.files:
        with suppress(OSError):  # a file that cannot be opened fails where it is read, with its reason
            hashes.append(sha256(file))
    return digest(hashes)


CODES = {"read": "bad-image", "predict": "prediction", "write": "cannot-write"}


def code_of(error: BaseException, stage: str) -> str:
    """A stable word for what went wrong."""
    if isinstance(error, OutOfTime):
        return "out-of-time"
    if isinstance(error, (MemoryError, TooLarge)) or type(error).__name__ == "OutOfMemoryError":
        return "out-of-memory"
    if isinstance(error, PluginError):
        return "plugin"
    if isinstance(error, Unfit):
        return "contract"
    if isinstance(error, ModelError):
        return "model"
    return CODES[stage] if isinstance(error, VoxGraftError) else "unexpected"


def plain(error: BaseException, entry: Entry, out: Path) -> str:
    """One sentence for the ledger and the report: no absolute path, no temporary name.

    Args:
        error: What went wrong.
        entry: The scan; its own paths are shortened to names.
        out: The batch's folder; paths in it become relative.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "the scan does not fit into the memory that is free"
    text = str(error) if isinstance(error, VoxGraftError) else f"{type(error).__name__}: {error}"
    text = re.sub(re.escape(f"{out}/") + r"(?:\.tmp-[0-9a-f]+-[^/]+/)*", "", text)
    paths = {path for item in entry.items for path in (*item.files, item.path)} | {entry.given, entry.root}
    for path in sorted(paths, key=lambda path: -len(str(path))):
        if path.is_absolute() and len(path.parts) > 2:
            text = text.replace(f"{path}", legible(path.name))
    return legible(" ".join(text.split()))[:1000]


def _reset_peak() -> None:
    """Let the kernel's high-water mark of this process begin anew (Linux; elsewhere it is that of the whole run)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    """The highest memory of this process since `_reset_peak`, in MB."""
    with suppress(OSError):
        match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if match:
            return round(int(match[1]) * 1024 / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows, where psutil knows the peak
        import psutil

        return round(float(getattr(psutil.Process().memory_info(), "peak_wset", 0)) / 1e6, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6, 1)
