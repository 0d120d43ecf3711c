"""What is left of one scan: its masks, its picture, its report, all in one folder."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..components.choice import choose
from ..errors import DataError, ModelError, UsageError, VoxGraftError
from ..imaging.volume import Item, Volume, same_grid
from ..imaging.write import write
from ..packages.facts import numbers_of
from ..packages.package import Package
from ..preprocessing.modality import KnowsUnits, unit_of
from ..reports.preview import previewed
from ..scoring.measuring import Measured, measure_values
from ..support.files import sha256, staged, write_json
from ..support.limits import Limits
from ..support.lock import TEMPORARY, remove
from .entry import Entry, with_ids
from .quality import Flag, NoReader, Structure, flags_of, measure, prove

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue
    from ..preprocessing.modality import Modality
    from .ledger import Row

USUAL = ("nifti", "dicom-seg")
"""The writers that are used unless others are asked for."""

PREVIEW, PLAIN, REPORT = "preview.png", "preview-plain.jpg", "report.json"
"""The picture with contours, the same without, and what was found."""


def is_result(path: Path) -> bool:
    """Whether a folder holds what a batch has left of a scan."""
    return (path / REPORT).is_file()


def with_case_ids(entries: Sequence[Entry], rows: Sequence[Row], out: Path) -> list[Entry]:
    """Scans with their case ids, see `with_ids`; none is called as what stands in the batch's folder already.

    Args:
        entries: The scans of a call.
        rows: What the ledger knows.
        out: The batch's folder.
    """
    cases = {row.case for row in rows}
    taken = [path.name for path in out.iterdir() if path.name not in cases and not is_result(path)]
    return with_ids(entries, {(row.input, row.series): row.case for row in rows}, taken)


@dataclass(frozen=True, slots=True)
class Staged:
    """What was written of a scan.

    Attributes:
        folder: Its name, below the batch's own.
        hashes: SHA-256 of each file in it.
    """

    folder: str
    hashes: dict[str, str]
    structures: dict[str, dict[str, Any]]
    flags: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """What prediction says besides the mask."""

    confidence: Mapping[str, float]
    seconds: Mapping[str, float]
    searched: str = ""


@dataclass(frozen=True)
class Outputs:
    """Writes the folders of a batch.

    A writer that fails takes nothing with it: what the others wrote stays, and a flag with the reason says what is
    missing. Only where none of them succeeds, or the disk is full, has the scan failed.

    Attributes:
        writers: Names that were asked for; None for the usual ones.

    Raises:
        UsageError: A writer that is asked for is not there, or writes no masks.
    """

    out: Path
    package: Package
    catalogue: Catalogue
    writers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in self.writers or USUAL[:1]:
            spec: Any = self.catalogue.get("writer", name)
            if not spec.labels:
                raise UsageError(f"the writer {name!r} writes images, not masks")
        if self.writers == ():
            raise UsageError("--writers names no writer")

    @property
    def names(self) -> frozenset[str]:
        """The files that any installed writer makes of a mask."""
        specs: list[Any] = [spec for _, spec in self.catalogue.of("writer")]
        return frozenset(spec.filename for spec in specs if spec.labels)

    def code(self) -> list[tuple[str, str, str]]:
        """Kind, name and code of each component that makes the files of a scan: of the model, of its writers, and of
        all installed measurements."""
        writing = self.writers or USUAL
        offers = [*self.catalogue.of("measurement"), *self.catalogue.of("writer")]
        made = [(self.catalogue.origin(spec).plugin, spec) for spec in self._applied]
        made += [(plugin, spec) for plugin, spec in offers if spec.kind == "measurement" or spec.name in writing]
        return [(spec.kind, spec.name, self.catalogue.code_of(self.catalogue.origin_of(name))) for name, spec in made]

    def stage(self, entry: Entry, scan: Volume, mask: Volume, outcome: Found, limits: Limits | None = None) -> Staged:
        """Write masks, picture and report of a scan, and prove the masks, in a folder that is still to be put in place.

        Args:
            entry: Its case id names the folder.
            scan: What was predicted on; shape (i, j[, k]) or (channel, i, j[, k]).
            mask: Label values, in the same grid.
            outcome: What else the prediction said.
            limits: How long each writer may take.

        Raises:
            DataError: A file cannot be written, or came back otherwise than it was written.
        """
        structures = measure(mask, self.package.labels, outcome.confidence)
        measured = self._measured(entry, scan, mask)
        for name, quantities in measured.quantities.items():
            structures[name] = replace(structures[name], quantities=quantities)
        flags = [*entry.flags, *flags_of(mask, structures)]
        flags += [Flag("no-measurement", reason) for reason in measured.failures]
        limits = limits or Limits()
        with staged(self.out / entry.case) as temporary:
            temporary.mkdir(parents=True)
            files = self._masks(temporary, mask, structures, flags, limits)
            flags += self._pictures(scan, mask, structures, temporary, limits)
            report = self._report(entry, scan, structures, flags, files, outcome)
            write_json(temporary / REPORT, report)
            written = [path.name for path in temporary.iterdir() if not path.name.startswith(TEMPORARY)]
            hashes = {name: sha256(temporary / name) for name in sorted(written)}
        return Staged(temporary.name, hashes, report["structures"], report["flags"])

    def _measured(self, entry: Entry, scan: Volume, mask: Volume) -> Measured:
        """What is measured of the scan's values, in the channels that lie in the grid of the mask as they were read.

        A channel that was interpolated onto this grid is left out: its highest value is no longer there.
        """
        arrays = scan.array.reshape(scan.channels, *scan.shape)
        items: list[Item | None] = list(entry.items)
        for number in entry.missing:
            items.insert(number, None)
        if len(items) != scan.channels:
            items = [items[0] if items else None] * scan.channels
        units = [self._unit(number, item, scan) for number, item in enumerate(items)]
        return measure_values(list(zip(arrays, units, strict=True)), mask, self.package.labels, self.catalogue)

    def _unit(self, number: int, item: Item | None, scan: Volume) -> str:
        """The unit of a channel; empty where it is not known, or the channel is not as it was read."""
        if item is None or not same_grid(item, scan):
            return ""
        if item.modality or number >= len(self._units):
            return unit_of(item)
        return self._units[number]

    @cached_property
    def _units(self) -> Sequence[str]:
        """The units of the channels of the model's modality, for scans whose files do not say theirs."""
        modality = self._modality
        return modality.units(self.package.plan.normalisation) if isinstance(modality, KnowsUnits) else ()

    def _masks(
        self,
        folder: Path,
        mask: Volume,
        structures: Mapping[str, Structure],
        flags: list[Flag],
        limits: Limits,
    ) -> list[str]:
        """Write each mask that fits the scan, and prove it; the names of the files.

        Raises:
            DataError: None could be written; the message gives the reason of the first.
        """
        files, failures = [], []
        for spec in self._fitting(mask):
            target = folder / spec.filename
            try:
                work = partial(self._written, spec, target, mask, structures)
                limits.within(limits.for_bytes(mask.array.nbytes), f"the writer {spec.name!r}", work)
            except NoReader as error:
                flags.append(Flag("unproved", f"{error}; its position was not checked"))
            except VoxGraftError as error:
                if _is_full(error):
                    raise
                remove(target)
                failures.append(error)
                flags.append(Flag("no-" + spec.name, f"{spec.filename} is missing: {_without(error, folder)}"))
                continue
            files.append(spec.filename)
        if not files:
            raise failures[0]
        return files

    def _written(self, spec: Any, target: Path, mask: Volume, structures: Mapping[str, Structure]) -> None:
        write(mask, target, self.catalogue, self.package.labels, self._facts, writer=spec.name)
        if not spec.proves:
            prove(target, mask, self.package.labels, structures, self.catalogue)

    def _fitting(self, mask: Volume) -> list[Any]:
        """The writers for a scan."""
        specs: dict[str, Any] = {spec.name: spec for _, spec in self.catalogue.of("writer")}
        names = USUAL if self.writers is None else self.writers
        reader = mask.item.reader if mask.item else ""
        known = [specs[name] for name in names if name in specs]
        fitting = [spec for spec in known if spec.needs in ("any", reader) and mask.dims in spec.dims]
        if not fitting:
            raise DataError(
                f"none of the writers {', '.join(names)} fits a scan that was read as {reader or 'nothing'}"
            )
        return fitting

    def _pictures(
        self, scan: Volume, mask: Volume, structures: Mapping[str, Structure], folder: Path, limits: Limits
    ) -> list[Flag]:
        """A scan does not fail for want of its picture, unless the disk is full."""
        names = {label.value: label.name for label in self.package.labels.items}
        try:
            boxes = {one.value: one.box for one in structures.values() if one.box is not None}
            work = partial(previewed, scan, mask, self._modality, names, boxes)
            picture = limits.within(limits.for_bytes(scan.array.nbytes), "the picture", work)
            (folder / PREVIEW).write_bytes(picture.drawn)
            (folder / PLAIN).write_bytes(picture.plain)
        except Exception as error:
            if _is_full(error):
                raise
            for name in (PREVIEW, PLAIN):
                remove(folder / name)
            return [Flag("no-preview", f"there is no picture: {type(error).__name__}: {_without(error, folder)}")]
        return []

    def _report(
        self,
        entry: Entry,
        scan: Volume,
        structures: Mapping[str, Structure],
        flags: Sequence[Flag],
        files: Sequence[str],
        found: Found,
    ) -> dict[str, Any]:
        """The document of `report.json`."""
        return {
            "case": entry.case,
            "input": entry.input,
            "series": entry.series or None,
            "description": entry.description or None,
            "shape": list(scan.shape),
            "spacing_mm": [round(step, 6) for step in scan.spacing] if scan.sized else None,
            "structures": {name: structure.document() for name, structure in structures.items()},
            "flags": [flag.document() for flag in flags],
            "masks": list(files),
            "searched": found.searched or None,
            "model": {
                "name": self._facts["model"],
                "version": self._facts["version"],
                "hash": self._facts["hash"],
                "precision": numbers_of(self.package.facts),
            },
            "software": self._facts["software"],
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": {name: round(value, 3) for name, value in found.seconds.items()},
        }

    @cached_property
    def other_code(self) -> tuple[Flag, ...]:
        """What of the code that is used is another than the model was trained with."""
        from ..components.catalogue import other_code

        if not self._applied:
            return ()
        messages = other_code(self.package.facts, self.catalogue, self._applied)
        return tuple(Flag("other-code", message) for message in messages)

    @cached_property
    def _applied(self) -> list[AnySpec]:
        """The components of the model; none where it names some that are not here, which whoever applies it says."""
        from ..inference.recipe import recipe_of

        try:
            recipe = recipe_of(self.package, self.catalogue)
        except ModelError:
            return []
        return [recipe.modality.component, recipe.model.encoder.component, recipe.model.decoder.component]

    @cached_property
    def _facts(self) -> dict[str, str]:
        return {
            "model": self.package.name,
            "version": str(self.package.facts.get("version", "")),
            "hash": self.package.hash,
            "software": f"voxgraft {version('voxgraft')}",
        }

    @cached_property
    def _modality(self) -> Modality | None:
        """The modality that the model was trained on, for display and units; without it percentiles serve."""
        from ..inference.recipe import recipe_of

        try:
            try:
                chosen = recipe_of(self.package, self.catalogue).modality
            except ModelError:  # whoever applies the model says what else of it is not there
                self.catalogue.get("modality", self.package.plan.modality)
                chosen = choose(self.catalogue, "modality", {"use": self.package.plan.modality})
            modality: Modality = chosen.build()
        except Exception:  # options it cannot do without, or a broken plugin: prediction has its own
            return None
        return modality


def _is_full(error: BaseException) -> bool:
    """Whether the disk was full: then nothing of the scan can be kept."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes)


def _without(error: BaseException, folder: Path) -> str:
    return str(error).replace(f"{folder}/", "")
