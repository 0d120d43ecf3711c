"""From what the caller named to the scans of a batch: files, series folders, DICOM trees, CSV worklists.

Each scan that is taken, left out or refused becomes one entry with a case id of its own. Images that belong together,
the series of one study, are chosen among by the model's contract (see `contract`); files of other formats stand each
for itself. A model of several channels gets them from one file, from the columns of a CSV worklist, or from files and
series whose names hold the names of its channels (see `channels`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutOfTime, UsageError, VoxGraftError
from ..imaging.formats import choose_reader, is_archive, unopened_in, walk
from ..imaging.read import scan, scan_files
from ..imaging.volume import Item
from ..preprocessing.plan import Plan
from ..support.files import digest
from ..support.limits import Limits
from ..support.texts import escaped, legible
from .contract import Level, Selection, Verdict, is_called, select
from .entry import REVIEW, Entry
from .outputs import REPORT
from .quality import Flag

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .entry import Listed


PER_HEADER = 0.2
"""Seconds that looking at the header of one more file may take."""

NO_SERIES = "no-series"
"""The code of a study that does not hold the series that a person named."""


def check_inputs(inputs: Sequence[Path], plan: Plan, out: Path) -> None:
    """See whether a call makes sense, before anything is begun.

    Args:
        inputs: Files, folders or CSV worklists to segment.
        plan: Of the model; a worklist has to name its channels.
        out: The folder of the batch.

    Raises:
        UsageError: An input is not there, or a CSV worklist cannot be understood.
    """
    from .entry import read_worklist

    if not inputs:
        raise UsageError("no input is named; name the scans to segment")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; the results need a folder")
    for path in inputs:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        if _is_worklist(path):
            read_worklist(path, plan.channels, plan.optional)


@dataclass(frozen=True, slots=True)
class Finder:
    """Turns inputs into entries.

    Attributes:
        wanted: The series a person named.
        force: Take scans that do not fit the contract too.
        ours: Names of folders in `out` that hold results: nothing in them is a scan.
    """

    catalogue: Catalogue
    plan: Plan
    out: Path
    wanted: str | None = None
    force: bool = False
    ours: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

    def find(self, inputs: Sequence[Path], say: Callable[[str], None] = lambda _: None) -> list[Entry]:
        """Every scan of the inputs, once, in their order; the ids are still to be given.

        Raises:
            UsageError: No input holds a scan, or none holds the series that was named.
        """
        entries: list[Entry] = []
        loose: list[tuple[Item, Path]] = []
        for path in inputs:
            if path.is_dir():
                say(f"looking at {path}")
            if _is_worklist(path):
                entries += self._from_csv(path)
            else:
                items, failed = self._looked_at(path)
                items = self._without_results(items, path, say)
                loose += [(item, path) for item in items if item.kind == "image"]
                entries += [*failed, *(self._structures(item, path) for item in items if item.kind != "image")]
                entries += [] if failed else self._unopened(path)
        once: dict[tuple[str, str], Entry] = {}
        for entry in (*entries, *self._grouped(loose)):
            once.setdefault(entry.key, entry)
        if not once:
            raise UsageError(f"{', '.join(map(str, inputs))}: there is no scan to segment")
        return list(once.values()) if self.wanted is None else self._heeded(list(once.values()))

    def _without_results(self, items: list[Item], root: Path, say: Callable[[str], None]) -> list[Item]:
        """The images of an input but for what this batch, or another one whose folder lies in it, left of its scans.

        What a person names as a file is taken for what it is.
        """
        items = [item for item in items if not self._is_ours(item.path)]
        if not root.is_dir():
            return items
        batches = {item.path: batch for item in items if (batch := _batch_of(item.path)) is not None}
        for folder in sorted(set(batches.values())):
            say(f"{folder}: holds results of another batch; they are not scans and are not segmented")
        return [item for item in items if item.path not in batches]

    def _looked_at(self, path: Path) -> tuple[list[Item], list[Entry]]:
        """The images of an input by their headers, and an entry for each part of it that cannot be looked at."""
        try:
            return self._scan(path), []
        except OutOfTime as error:
            return self._apart(path) if path.is_dir() else ([], [self._failed(path, path, "out-of-time", str(error))])
        except VoxGraftError as error:
            return [], [self._failed(path, path, "bad-input", str(error))]

    def _apart(self, folder: Path) -> tuple[list[Item], list[Entry]]:
        """The images of a folder in which some file takes too long: each reader by itself, the slow one file by file.

        A series is never put together out of single files: without the slow one it would be another volume.
        """
        by_reader: dict[str, list[Path]] = {}
        for file in walk(folder):
            if spec := choose_reader(file, self.catalogue):
                by_reader.setdefault(spec.name, []).append(file)
        images: list[Item] = []
        failed: list[Entry] = []
        for files in by_reader.values():
            try:
                images += self._within(len(files), partial(scan_files, files, self.catalogue))
            except OutOfTime as error:
                for file in files:
                    items, entries = self._looked_at(file)
                    images += [item for item in items if item.series is None]
                    failed += [replace(entry, root=folder) for entry in entries]
                    if any(item.series is not None for item in items):
                        failed.append(self._failed(folder, folder, "out-of-time", str(error)))
            except VoxGraftError as error:
                failed.append(self._failed(folder, folder, "bad-input", str(error)))
        return images, failed

    def _scan(self, path: Path, series: str | None = None) -> list[Item]:
        number = sum(1 for _ in walk(path)) if path.is_dir() else 1
        return self._within(number, lambda: scan(path, self.catalogue, series))

    def _within(self, number: int, work: Callable[[], list[Item]]) -> list[Item]:
        """What some work on the headers of so many files gives, in the time that these may take."""
        return self.limits.within(self.limits.for_bytes(0) + PER_HEADER * number, "looking at its header", work)

    def _grouped(self, loose: Sequence[tuple[Item, Path]]) -> Iterator[Entry]:
        roots = {id(item): root for item, root in loose}
        whole: dict[object, list[Item]] = {}
        single: dict[object, list[Item]] = {}
        for item, _ in loose:
            by_channel = len(self.plan.channels) > 1 and item.channels == 1 and not (item.errors and not item.shape)
            groups = single if by_channel else whole
            unit = item.path.parent if by_channel and item.series is None else unit_of(item)
            groups.setdefault((roots[id(item)], unit), []).append(item)
        for items in whole.values():
            yield from self._selected(select(items, self.plan, wanted=self.wanted, force=self.force), items, roots)
        for items in single.values():
            yield from self._combined(items, roots)

    def _selected(self, selection: Selection, items: Sequence[Item], roots: dict[int, Path]) -> Iterator[Entry]:
        root = roots[id(items[0])]
        if selection.refused:
            entry = self._refused(items, root, selection.refused)
            yield replace(entry, state="left-out", code=NO_SERIES) if selection.absent else entry
        several = len(selection.taken) > 1 and self.wanted is None and not self.force
        for item, verdict in selection.taken:
            flags = list(_flags(verdict, [item]))
            flags += _damaged_beside(selection, verdict)
            if several:
                flags.append(Flag("several-series", f"{len(selection.taken)} series of this study fit the model"))
            yield self._entry((item,), root, flags=tuple(flags))
        for item, reason in selection.left_out:
            yield self._entry((item,), root, state="left-out", code="left-out", reason=reason)

    def _combined(self, items: Sequence[Item], roots: dict[int, Path]) -> Iterator[Entry]:
        """Scans whose channels lie in files or series of their own."""
        from . import channels

        root = roots[id(items[0])]
        combined = channels.combine(items, self.plan)
        for item in combined.unnamed:
            reason = f"its name contains none of the channels {', '.join(self.plan.channels)}"
            yield self._entry((item,), root, state="left-out", code="left-out", reason=reason)
        for name, parts in combined.complete.items():
            missing = combined.missing.get(name, ())
            verdict = channels.judge_channels(parts, self.plan, missing)
            selection = channels.refusal(parts, verdict, self.force)
            flags = (*_flags(verdict, parts), *self._lacking(missing))
            entry = self._entry(parts, root, flags=flags, missing=missing, hint=name)
            yield replace(entry, state="failed", code="contract", reason=selection) if selection else entry
        for name, (parts, reason) in combined.broken.items():
            yield replace(self._entry(parts, root, state="failed", code="channels", reason=reason), hint=name)

    def _from_csv(self, path: Path) -> Iterator[Entry]:
        from .entry import read_worklist

        for listed in read_worklist(path, self.plan.channels, self.plan.optional):
            try:
                yield from self._listed(listed)
            except VoxGraftError as error:
                yield replace(self._failed(listed.paths[0], path.parent, "bad-input", str(error)), case=listed.case)

    def _listed(self, listed: Listed) -> Iterator[Entry]:
        """The scans of one row of a CSV worklist."""
        root = listed.paths[0].parent
        series = listed.series or self.wanted
        if len(listed.paths) == 1 and not listed.missing:
            scanned = self._scan(listed.paths[0])
            items = [item for item in scanned if item.kind == "image"]
            yield from (self._structures(item, root) for item in scanned if item.kind != "image")
            if not items:
                return
            selection = select(items, self.plan, wanted=series, force=self.force)
            entries = list(self._selected(selection, items, {id(item): root for item in items}))
            if listed.series:  # a row names the series of its own scan, which is without its result
                entries = [replace(entry, forced=True) for entry in entries]
                entries = [replace(entry, state="failed") if entry.code == NO_SERIES else entry for entry in entries]
            named = [entry for entry in entries if entry.state != "left-out"]
            yield from (replace(entry, case=listed.case) if [entry] == named else entry for entry in entries)
            return
        yield self._of_channels(listed, root)

    def _of_channels(self, listed: Listed, root: Path) -> Entry:
        """The scan of a row that names a file for each of its channels."""
        from . import channels

        parts = []
        for path in listed.paths:
            items = [item for item in self._scan(path, listed.series) if item.kind == "image"]
            if len(items) != 1:
                raise UsageError(f"{path}: {len(items)} images are here; name the one that is the channel")
            parts.append(items[0])
        verdict = channels.judge_channels(parts, self.plan, listed.missing)
        flags = (*_flags(verdict, parts), *self._lacking(listed.missing))
        entry = self._entry(tuple(parts), root, flags=flags, missing=listed.missing, case=listed.case)
        refused = channels.refusal(parts, verdict, self.force)
        return replace(entry, state="failed", code="contract", reason=refused) if refused else entry

    def _heeded(self, entries: list[Entry]) -> list[Entry]:
        """What a named series means for the studies that do not hold it.

        Studies without it are left out. A UID names one series of one study; what else does not fit is not meant.
        """
        series = self.wanted or ""
        waiting = [item for entry in entries if entry.state == "waiting" for item in entry.items]
        if not waiting and not any(is_called(item, series) for entry in entries for item in entry.items):
            reasons = [f"{entry.given} {entry.reason}" for entry in entries if entry.code in ("contract", NO_SERIES)]
            raise UsageError(f"--series {series}: no input has this series" + "".join(f"; {r}" for r in reasons[:3]))
        if any(item.series == series for item in waiting):
            return [replace(entry, state="left-out") if entry.code == "contract" else entry for entry in entries]
        return entries

    def _entry(self, items: Sequence[Item], root: Path, **changes: object) -> Entry:
        paths = list(dict.fromkeys(item.path for item in items))
        entry = Entry(
            items=tuple(items),
            given=paths[0],
            input=" + ".join(self._relative(path) for path in paths),
            series=legible(" + ".join(item.series for item in items if item.series)),
            root=root,
            description=legible(" + ".join(item.description for item in items if item.description)),
            forced=self.force or self.wanted is not None,
        )
        return replace(entry, **changes)  # type: ignore[arg-type]

    def _lacking(self, missing: Sequence[int]) -> Iterator[Flag]:
        for number in missing:
            yield Flag("missing-channel", f"the optional channel {self.plan.channels[number]} is missing")

    def _structures(self, item: Item, root: Path) -> Entry:
        """What is not a scan: structures that were drawn on one."""
        reason = "it holds structures drawn on an image, not an image"
        return self._entry((item,), root, state="left-out", code="structures", reason=reason)

    def _unopened(self, root: Path) -> Iterator[Entry]:
        """What may hold scans and is not looked into."""
        reason = "it is an archive or a compressed file, which is not opened; unpack it if it holds scans"
        closed = "this folder cannot be opened, so what lies there is missing; ask for the right to read it"
        for path in unopened_in(root, self.catalogue):
            if not is_archive(path):
                yield self._failed(path, root, "closed-folder", closed)
            elif not self._is_ours(path):
                yield replace(self._failed(path, root, "archive", reason), state="left-out")

    def _refused(self, items: Sequence[Item], root: Path, reason: str) -> Entry:
        if len(items) == 1:
            return self._entry(items, root, state="failed", code="contract", reason=reason)
        folder = Path(os.path.commonpath([item.path for item in items]))
        entry = self._failed(folder, root, "contract", reason)
        return replace(entry, series=f"study {digest(sorted(item.series or '' for item in items))[:12]}")

    def _failed(self, path: Path, root: Path, code: str, reason: str) -> Entry:
        return Entry((), path, self._relative(path), root=root, state="failed", code=code, reason=reason)

    def _relative(self, path: Path) -> str:
        relative = Path(os.path.relpath(os.path.realpath(path), os.path.realpath(self.out))).as_posix()
        return escaped(relative).replace(" + ", "\\u0020+ ")  # which stands between the files of several channels

    def _is_ours(self, path: Path) -> bool:
        parts = Path(self._relative(path)).parts
        return bool(parts) and parts[0] in self.ours


def _batch_of(path: Path) -> Path | None:
    """The batch that left a file: beside the report of a scan in it, or in the folder of its review."""
    from .parts import is_batch

    if (path.parent / REPORT).is_file() and is_batch(path.parent.parent):
        return path.parent.parent
    reviews = (folder for folder in path.parents if folder.name == REVIEW)
    return next((folder.parent for folder in reviews if is_batch(folder.parent)), None)


def _is_worklist(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".csv"


def unit_of(item: Item) -> object:
    """What images are chosen among together: those of one study, or of one file; other files stand for themselves."""
    if item.series is None:
        return item.path, id(item)
    study = item.facts.get("study")
    if study:
        return item.patient, study  # one UID may have been given to the studies of two patients
    return item.path if item.path.is_file() else (item.patient, item.path.parent)


def _damaged_beside(selection: Selection, verdict: Verdict) -> Iterator[Flag]:
    """Where nothing fits well, the series that was meant may be the one that is damaged."""
    damaged = [item for item, _ in selection.left_out if item.errors]
    if verdict.level != Level.FITS and damaged:
        names = ", ".join(item.description or item.path.name for item in damaged[:3])
        yield Flag("damaged-series", f"a series of this study is damaged and may be the right one: {names}")


def _flags(verdict: Verdict, items: Iterable[Item]) -> Iterator[Flag]:
    """What is worth a look before any voxel is read."""
    if verdict.reasons:
        yield Flag("out-of-contract", str(verdict))
    for item in items:
        for problem in item.problems:
            if problem.severity != "error":
                yield Flag(problem.code, problem.message)
