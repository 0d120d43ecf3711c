"""The work on one scan: read, predict, write into a staged folder. What goes wrong with it is its result.

Nothing here knows of a ledger, of other scans, or of whether this is a thread, a process or another machine.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, ModelError, OutOfTime, PluginError, VoxGraftError
from ..imaging.read import read_item
from ..inference.need import TooLarge
from ..support.files import is_full
from ..support.limits import Stopped
from ..support.texts import legible
from .contract import Unfit, check_memory, judge_values, refuse_unfit
from .entry import hash_of
from .outputs import Found, Staged
from .quality import Flag, flags_of_voxels
from .task import ScanResult, ScanTask

if TYPE_CHECKING:
    from ..imaging.volume import Align, Volume
    from .entry import Entry
    from .model import Model


class Segmenter:
    """The work of a batch on one scan, with the model that it needs; what executors hand to their workers."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._under_way: set[int] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return Segmenter, (self._model,)

    def __call__(self, task: ScanTask) -> ScanResult:
        """See `segment_scan`."""
        if self._model.limits.stop.is_set():
            raise Stopped
        self._under_way.add(id(task))
        try:
            return segment_scan(task, self._model)
        finally:
            self._under_way.discard(id(task))

    def stop(self, seconds: float) -> None:
        """End what is under way in this process, and wait for it, but not for ever."""
        self._model.limits.stop.set()
        end = time.monotonic() + seconds
        while self._under_way and time.monotonic() < end:
            time.sleep(0.02)


@dataclass(slots=True)
class _Scan:
    """A scan on its way through the stages."""

    entry: Entry
    voxels: Volume | None = None
    mask: Volume | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    searched: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: float | None = None
    input_hash: str = ""
    staged: Staged | None = None
    failed: ScanResult | None = None


def segment_scan(task: ScanTask, model: Model) -> ScanResult:
    """Segment one scan; whatever is wrong with it is told in the result.

    Args:
        task: The scan, and where its results go.
        model: What is applied; it may be at work on other scans of this process, and lets them in one by one.

    Raises:
        ModelError: The model cannot be used here: no scan could be segmented.
        Stopped: Everything is to end.
    """
    assert task.model == model.package.hash
    scan = _Scan(task.entry)
    with model.reading.turn():
        _stage(scan, "read", task, lambda: _read(scan, task, model))
    if scan.failed is None:
        with model.predicting.turn():
            model.predictor()
            _stage(scan, "predict", task, lambda: _predict(scan, model))
    if scan.failed is None:
        _stage(scan, "write", task, lambda: _write(scan, task, model))
    if scan.failed is not None:
        return scan.failed
    assert scan.staged is not None
    return ScanResult(
        task.entry.case,
        "done",
        scan.staged.folder,
        scan.staged.hashes,
        scan.staged.structures,
        scan.staged.flags,
        scan.seconds,
        scan.peak_mb,
        scan.input_hash,
        notes=model.notes,
    )


def _stage(scan: _Scan, name: str, task: ScanTask, work: Callable[[], None]) -> None:
    start = time.monotonic()
    try:
        work()
    except (Exception, SystemExit) as error:
        scan.voxels, scan.mask = None, None
        scan.failed = ScanResult(
            task.entry.case,
            "failed",
            seconds=scan.seconds,
            input_hash=scan.input_hash,
            code=code_of(error, name),
            error=plain(error, scan.entry, task.out),
            counts=not is_full(task.out),  # not the fault of the scan: it is tried again when there is room
        )
    scan.seconds[name] = round(time.monotonic() - start, 3)


def _read(scan: _Scan, task: ScanTask, model: Model) -> None:
    if task.remote is not None:
        task.remote.fetch(file for item in scan.entry.items for file in (item.files or (item.path,)))
    check_memory(scan.entry, model.package.plan)
    seconds = model.limits.for_bytes(sum(file.stat().st_size for file in scan.entry.files))
    found = model.limits.within(seconds, "reading", lambda: _voxels(scan.entry, model))
    scan.input_hash, scan.voxels, flags = found
    scan.entry = replace(scan.entry, flags=(*scan.entry.flags, *flags))


def _voxels(entry: Entry, model: Model) -> tuple[str, Volume, list[Flag]]:
    """The hash of a scan's files, its voxels, and what was seen in them."""
    plan = model.package.plan
    content = hash_of(entry)
    volumes: list[Volume | None] = [read_item(item, model.catalogue) for item in entry.items]
    known = [problem for item in entry.items for problem in item.problems]
    seen = [problem for volume in volumes if volume and volume.item for problem in volume.item.problems]
    flags = [Flag(problem.code, problem.message) for problem in dict.fromkeys(seen) if problem not in known]
    for number in entry.missing:  # in rising order: each finds its place among those before it
        volumes.insert(number, None)
    scan = _joined(volumes, plan.align)
    known_modality = all(item.modality for item in entry.items)
    verdict = judge_values(scan, known_modality, plan, entry.missing)
    refuse_unfit(verdict, entry.forced)
    flags += [Flag("out-of-contract", str(verdict))] if verdict.reasons else []
    return content, scan, [*flags, *flags_of_voxels(scan)]


def _joined(volumes: Sequence[Volume | None], align: Align | None) -> Volume:
    if len(volumes) == 1 and volumes[0] is not None:
        return volumes[0]
    from ..imaging.channels import stack_channels

    return stack_channels(volumes, align)


def _predict(scan: _Scan, model: Model) -> None:
    assert scan.voxels is not None
    _reset_peak()
    voxels = scan.voxels
    work = partial(model.predict, voxels, scan.entry.missing)
    # By default without a limit: how long a network takes, nobody can say. A thread of its own can be left behind.
    prediction = model.limits.within(model.limits.seconds, "predicting", work)
    scan.peak_mb = _peak_mb()
    scan.mask, scan.confidence = prediction.labels, dict(prediction.confidence)
    scan.searched = getattr(prediction, "searched", "")
    if not all(map(math.isfinite, scan.confidence.values())):
        raise ModelError("the network gave NaN or infinite values")
    if scan.mask.shape != voxels.shape:
        raise DataError(f"the model gave a mask of {scan.mask.shape} voxels for a scan of {voxels.shape}")


def _write(scan: _Scan, task: ScanTask, model: Model) -> None:
    assert scan.voxels is not None and scan.mask is not None
    found = Found(scan.confidence, scan.seconds, scan.searched)
    scan.staged = model.outputs(task).stage(scan.entry, scan.voxels, scan.mask, found, model.limits)
    if task.remote is not None:
        task.remote.hand_over(task.out / scan.staged.folder)


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
