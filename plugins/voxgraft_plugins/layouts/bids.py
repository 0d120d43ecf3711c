"""The layout of BIDS: entities in file names, masks among the derivatives, facts of the participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxgraft.plugin import Case, DataError, Dataset, ImageRef, Label, Labels, MaskRef, composed, listed, safe_ids

from .options import BidsOptions
from .tables import facts_in, read_table

ENDINGS = (".nii.gz", ".nii")
CASE = ("sub", "ses", "run")
"""The entities that tell cases apart."""


@dataclass(frozen=True, slots=True)
class Named:
    """A file whose name follows BIDS: `sub-01_ses-2_acq-x_T1w.nii.gz`."""

    path: Path
    suffix: str
    entities: Mapping[str, str] = field(default_factory=dict)

    def fits(self, entities: Mapping[str, str]) -> bool:
        return all(self.entities.get(key) == value for key, value in entities.items())

    @property
    def case(self) -> str:
        """What tells its case, such as `sub-01_ses-2`."""
        return "_".join(f"{key}-{self.entities[key]}" for key in CASE if key in self.entities)


class BidsLayout:
    """A case for each subject, session and run that has an image of the suffixes asked for."""

    def __init__(self, options: BidsOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder has no subjects, none has such an image, a choice is not unique, or masks are missing.
        """
        options, folder = self._options, self._options.path
        subjects = sorted(path for path in _entries(folder) if path.is_dir() and path.name.startswith("sub-"))
        if not subjects:
            raise DataError(f"{folder}: holds no folder sub-*; is it the top of a BIDS data set?")
        images = [named for subject in subjects for named in self._images(subject)]
        if not images:
            patterns = " or ".join(f"*_{suffix}.nii.gz" for suffix in options.suffixes)
            raise DataError(
                f"{folder}: no subject has an image {patterns} in {options.datatype}{_said(options.entities)}"
            )
        names = list(dict.fromkeys(named.case for named in images))
        masks = self._masks()
        labels = {name: self._mask(name, masks) for name in names}
        self._complain_of_unlabelled(labels)
        facts = facts_in(folder / "participants.tsv", "participant_id")
        ids = safe_ids(names)
        cases = tuple(
            Case(
                id=ids[name],
                patient=name.split("_")[0],
                images=tuple(self._channel(name, suffix, images) for suffix in options.suffixes),
                label=labels[name],
                facts=facts.get(name.split("_")[0], {}),
            )
            for name in names
        )
        return Dataset(cases, options.suffixes, self._labels(masks), self._notes(subjects, cases), names_patients=True)

    def _images(self, subject: Path) -> list[Named]:
        sessions = [path for path in _entries(subject) if path.is_dir() and path.name.startswith("ses-")]
        images = []
        for folder in (subject, *sorted(sessions)):
            files = _entries(folder / self._options.datatype) if (folder / self._options.datatype).is_dir() else []
            images += [named for path in sorted(files) if (named := parse(path)) is not None]
        return [
            image for image in images if image.suffix in self._options.suffixes and image.fits(self._options.entities)
        ]

    def _channel(self, case: str, suffix: str, images: Sequence[Named]) -> ImageRef | None:
        matching = [image for image in images if image.case == case and image.suffix == suffix]
        if len(matching) > 1:
            raise DataError(
                f"{self._options.path}: {case} has "
                f"{listed([image.path.name for image in matching], suffix + ' image')}; "
                "say under entities which is meant, such as {acq: mprage}"
            )
        return ImageRef(matching[0].path) if matching else None

    def _masks(self) -> list[Named]:
        options = self._options
        if options.masks is None:
            return []
        root = options.path / options.masks
        if not root.is_dir():
            if options.unlabelled == "keep":
                return []
            raise DataError(f"{root}: there is no such folder; set masks: null where there are no masks")
        kinds = ("dseg", "mask") if options.mask_suffix == "any" else (options.mask_suffix,)
        paths = sorted(path for ending in ENDINGS for path in root.rglob(f"sub-*{ending}"))
        named = [mask for path in paths if (mask := parse(path)) is not None]
        return [mask for mask in named if mask.suffix in kinds and mask.fits(options.mask_entities)]

    def _mask(self, case: str, masks: Sequence[Named]) -> ImageRef | None:
        """The label map of a case; or its masks of one structure each, by their entity `label`."""
        entities = dict(part.split("-", 1) for part in case.split("_"))
        matching = [mask for mask in masks if mask.fits({key: entities[key] for key in entities if key != "run"})]
        matching = [mask for mask in matching if mask.entities.get("run", entities.get("run")) == entities.get("run")]
        matching = [mask for mask in matching if "ses" in entities or "ses" not in mask.entities]
        maps = [mask for mask in matching if mask.suffix == "dseg"] or matching
        if len(maps) <= 1:
            return self._single(maps[0]) if maps else None
        called = [mask.entities.get("label") for mask in maps]
        if None in called or len(set(called)) < len(called) or any(mask.suffix == "dseg" for mask in maps):
            raise DataError(
                f"{self._options.path}: {case} has {listed([mask.path.name for mask in maps], 'mask')}; say under "
                "mask_entities or mask_suffix which is meant, such as {desc: manual}"
            )
        return MaskRef(
            maps[0].path.parent, named=tuple((str(mask.entities["label"]), ImageRef(mask.path)) for mask in maps)
        )

    def _single(self, mask: Named) -> ImageRef:
        if mask.suffix == "mask" and "label" in mask.entities:
            return MaskRef(mask.path, named=((mask.entities["label"], ImageRef(mask.path)),))
        return ImageRef(mask.path)

    def _complain_of_unlabelled(self, masks: Mapping[str, ImageRef | None]) -> None:
        missing = [name for name, mask in masks.items() if mask is None]
        if missing and self._options.masks is not None and self._options.unlabelled == "error":
            raise DataError(
                f"{self._options.path / self._options.masks}: {listed(missing, 'case')} of {len(masks)} without a mask"
                f"{_said(self._options.mask_entities)}; add the masks, choose others, or set unlabelled: keep"
            )

    def _labels(self, masks: Sequence[Named]) -> Labels | None:
        """What the tables dseg.tsv beside or above the label maps say; None where there are none.

        Raises:
            DataError: Two tables give one value different names.
        """
        tables = {table for mask in masks if mask.suffix == "dseg" for table in _tables_of(mask, self._options.path)}
        names: dict[int, str] = {}
        for table in sorted(tables):
            for number, row in enumerate(read_table(table).rows, start=2):
                value, name = row.get("index", ""), row.get("name", "")
                if not value.isdigit() or not name:
                    raise DataError(
                        f"{table}: line {number} has no whole number under 'index', or nothing under 'name'"
                    )
                if int(value) and names.setdefault(int(value), name) != name:
                    raise DataError(
                        f"{table}: line {number} calls {value} {name!r}, another table {names[int(value)]!r}"
                    )
        if len(set(names.values())) < len(names):
            raise DataError(f"{self._options.path}: two values of dseg.tsv have the same name")
        return Labels(tuple(Label(value, names[value]) for value in sorted(names))) if names else None

    def _notes(self, subjects: Sequence[Path], cases: Sequence[Case]) -> tuple[str, ...]:
        without = [path.name for path in subjects if path.name not in {case.patient for case in cases}]
        return (f"{listed(without, 'subject')} without such an image",) if without else ()


def parse(path: Path) -> Named | None:
    """The entities in a file's name; None where it has none."""
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if ending is None or path.name.startswith("."):
        return None
    *pairs, suffix = composed(path.name.removesuffix(ending)).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return Named(path, suffix, entities) if "sub" in entities and len(entities) == len(pairs) else None


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _tables_of(mask: Named, root: Path) -> list[Path]:
    """The nearest table that speaks of a label map: beside it, then in each folder above."""
    sidecar = mask.path.with_name(mask.path.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")
    if sidecar.is_file():
        return [sidecar]
    for folder in mask.path.parents:
        tables = sorted(folder.glob("*dseg.tsv"))
        fitting = [table for table in tables if _inherited(table, mask)]
        if fitting:
            return fitting
        if folder == root:
            break
    return []


def _inherited(table: Path, mask: Named) -> bool:
    *pairs, suffix = table.name.removesuffix(".tsv").split("_")
    return suffix == "dseg" and mask.fits(dict(pair.split("-", 1) for pair in pairs if "-" in pair))


def _said(entities: Mapping[str, str]) -> str:
    return f" with {', '.join(f'{key}-{value}' for key, value in entities.items())}" if entities else ""
