"""The layout `dicom`: series that fit the rules become cases, with the labels that refer to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.plugin import (
    Align,
    Case,
    DataError,
    Dataset,
    Described,
    ImageRef,
    Item,
    Problem,
    count,
    images_in,
    listed,
    safe_ids,
    unopened_in,
    unopened_problems,
)

from .names import Naming
from .options import DicomOptions, LabelRules, Plane, Selection
from .pick import Ambiguous, Picked, channels_of, misfit, seen_together, series_of, studies, taken
from .structures import Drawn, Matcher

if TYPE_CHECKING:
    from voxgraft.plugin import Catalogue

FACTS = ("site", "scanner", "sex", "age")
"""What the reader knows of a patient and a scan that tables of subgroups are made by."""
PLANES: tuple[Plane, ...] = ("axial", "sagittal", "coronal", "oblique")
WHY = {
    "modality": "another modality",
    "description": "another description",
    "slices": "too few or too many slices",
    "size": "another number of rows or columns",
    "orientation": "another orientation",
    "spacing": "another spacing",
    "exclude": "named under exclude",
}


class DicomLayout:
    """A case for every series that the rules let through, or for every study with its channels.

    Names of cases and patients are hashes unless folders are asked for: neither PatientID nor UIDs leave this place.
    """

    def __init__(self, options: DicomOptions) -> None:
        self._options = options
        self._readers: Catalogue | None = None
        self._naming = Naming(options.key)
        self._often: Counter[str | None] = Counter()
        self._patients: Counter[str | None] = Counter()
        self._notes: list[str] = []
        self._problems: list[Problem] = []

    def use_readers(self, catalogue: Catalogue) -> None:
        """Look at the series with these readers."""
        self._readers = catalogue

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder is not there, no series in it fits, or a series lacks its label and must not.
        """
        options = self._options
        self._notes, self._problems = [], []
        items = self._items()
        images = [item for item in items if item.kind == "image"]
        objects = [item for item in items if item.kind != "image"]
        self._notes.append(_summary(items))
        self._problems += seen_together(images)
        self._count_names(images)
        cases = self._cases(self._fitting(images))
        labels = options.labels
        if labels is None:
            drawn = Drawn()
            if objects:
                kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(_kinds(objects).items()))
                self._notes.append(f"{kinds} with structures not used; labels: {{source: auto}} takes them for labels")
        elif labels.source == "nifti":
            drawn = self._masks(labels, cases)
        else:
            drawn = Matcher(labels, images, options.align == "any").match(objects, cases)
            often = Counter(drawn.notes).items()
            self._notes += [note if times == 1 else f"{times} times: {note}" for note, times in often]
            self._problems += drawn.problems
        sound = [case for case in cases if case.id not in drawn.refused]
        kept = self._labelled(sound, drawn.masks.keys() | drawn.raters.keys())
        if not kept:
            problems = "; ".join(problem.message for problem in self._problems[:3])
            raise DataError(f"{options.path}: no case is left" + (f": {problems}" if problems else ""))
        return self._dataset(kept, drawn)

    def _items(self) -> list[Item]:
        """Everything in the tree that a reader of series knows, patients' identifiers as fingerprints."""
        from .headers import headers_of

        if not self._options.path.is_dir():
            raise DataError(f"{self._options.path}: there is no such folder")
        assert self._readers is not None, "the engine hands the readers to a layout that reads images"
        items, notes = headers_of(self._options, self._readers)
        self._notes += notes
        self._problems += unopened_problems(unopened_in(self._options.path, self._readers))
        if not items:
            raise DataError(f"{self._options.path}: holds no DICOM series")
        return items

    def _fitting(self, images: Sequence[Item]) -> list[Item]:
        """The series that fit the rules; the notes say why the others don't."""
        fitting, reasons = [], Counter[str]()
        unreadable: list[Item] = []
        for item in images:
            wrong = misfit(item, self._options)
            if not wrong and item.errors and self._options.damaged == "skip":
                unreadable.append(item)
            elif not wrong:
                fitting.append(item)
            elif item.errors and not item.shape:
                unreadable.append(item)
            else:
                reasons[wrong] += 1
        total = count(len(images), "series")
        if reasons:
            why = ", ".join(f"{n} {WHY[reason]}" for reason, n in reasons.most_common())
            self._notes.append(f"{reasons.total()} of {total} left out by the rules: {why}")
        if unreadable:
            names = self._ids(unreadable[:3])
            why = "; ".join(f"{name}: {item.errors[0].message}" for name, item in zip(names, unreadable, strict=False))
            more = "; ..." if len(unreadable) > 3 else ""
            self._notes.append(f"{len(unreadable)} of {total} left out, they cannot be read: {why}{more}")
        if not fitting:
            kinds = ", ".join(f"{n} {kind}" for kind, n in _kinds(images).items())
            raise DataError(
                f"{self._options.path}: none of its {len(images)} series ({kinds}) fits the rules of the layout"
            )
        return fitting

    def _cases(self, fitting: Sequence[Item]) -> list[Picked]:
        """The series that are cases, with their names."""
        options = self._options
        names = tuple(options.channels) if options.channels is not None else ("image",)
        grid = names.index(options.grid) if options.grid is not None else 0
        picked: list[tuple[Item | None, ...]] = []
        troubled: list[str] = []
        elsewhere = 0
        for items in studies(fitting).values():
            try:
                cases = self._of_study(items)
            except Ambiguous as error:
                troubled.append(f"study {self._study(items[0])}: {error}")
            else:
                picked += cases
                elsewhere += not cases
        if elsewhere:
            self._notes.append(f"{count(elsewhere, 'study')} without any of the channels")
        if options.incomplete == "skip":
            self._notes += [f"left out: {text}" for text in troubled]
        else:
            self._problems += [Problem("ambiguous-study", text) for text in troubled]
        if not picked:
            problems = f": {'; '.join(troubled[:3])}" if troubled else ""
            raise DataError(f"{options.path}: no study can be a case{problems}")
        grids = [item for items in picked if (item := items[grid]) is not None]
        ids = self._ids(grids)
        if options.channels is not None and options.ids == "hash":
            ids = [f"study-{self._study(item)}" for item in grids]
        return [Picked(*case, names) for case in zip(ids, picked, grids, strict=True)]

    def _of_study(self, items: Sequence[Item]) -> list[tuple[Item | None, ...]]:
        """The series of each case of one study."""
        if self._options.channels is None:
            return [(item,) for item in taken(items, self._options.take or "all")]
        picked = channels_of(items, self._options)
        return [] if picked is None else [picked]

    def _labelled(self, cases: Sequence[Picked], marked: Set[str]) -> list[Picked]:
        """The cases that remain once those without a label are treated as the options say."""
        labels = self._options.labels
        missing = [case.id for case in cases if case.id not in marked]
        rule = (labels.missing if labels is not None else None) or self._options.unlabelled
        if labels is None or not missing or rule == "keep":
            return list(cases)
        if rule == "error":
            raise DataError(
                f"{labels.path or self._options.path}: {listed(missing, 'case')} of {len(cases)} without a mask"
            )
        self._notes.append(f"{count(len(missing), 'case')} left out without a mask")
        return [case for case in cases if case.id in marked]

    def _dataset(self, picked: Sequence[Picked], drawn: Drawn) -> Dataset:
        options = self._options
        names = tuple(options.channels) if options.channels is not None else ("image",)
        align = Align(names.index(options.grid or names[0]), options.align) if len(names) > 1 else None
        if options.patient == "id" and any(not case.grid.patient for case in picked):
            self._notes.append("some series have no PatientID: their first folder is taken for the patient")
        cases = tuple(
            Case(
                id=case.id,
                patient=self._patient(case.grid),
                images=tuple(None if item is None else _reference(item) for item in case.items),
                label=drawn.masks.get(case.id),
                facts={name: case.grid.facts[name] for name in FACTS if case.grid.facts.get(name) not in (None, "")},
                align=align,
                raters=drawn.raters.get(case.id, {}),
                described=tuple(item.description for item in case.items if item is not None and item.description),
            )
            for case in picked
        )
        return Dataset(
            cases,
            names,
            drawn.labels,
            tuple(self._notes),
            tuple(self._problems),
            optional=options.optional,
            described=_described(options),
            names_patients=True,
            chosen=rule if (rule := _rule(options)) != Described() else None,
        )

    def _ids(self, items: Sequence[Item]) -> list[str]:
        keys = [self._key(item) for item in items]
        if self._options.ids == "hash":
            kinds = [(item.modality or "image").lower() for item in items]
            return [f"{kind}-{self._naming.of(key)}" for kind, key in zip(kinds, keys, strict=True)]
        often = Counter(item.path for item in items)
        names = [
            _below(item.path, self._options.path) + ("" if often[item.path] == 1 else f"-{self._naming.of(key)}")
            for item, key in zip(items, keys, strict=True)
        ]
        ids = safe_ids(names, self._naming.of)
        return [ids[name] for name in names]

    def _key(self, item: Item) -> str:
        """What names a series wherever it lies; its place too, where several images have its name."""
        if item.series and self._often[item.series] == 1:
            return str(item.series)
        key = f"{item.series}@{_below(item.path, self._options.path)}"
        return key if self._often[key] == 1 else f"{key}/{item.files[0].name if item.files else ''}"

    def _count_names(self, images: Sequence[Item]) -> None:
        self._often = Counter(item.series for item in images)
        self._often.update(f"{item.series}@{_below(item.path, self._options.path)}" for item in images)
        self._patients = Counter(study for _, study in {(item.patient, item.facts.get("study")) for item in images})

    def _study(self, item: Item) -> str:
        """What names a study wherever it lies; its patient too, where several have a study of this name."""
        study = str(item.facts.get("study") or "") or f"@{_below(item.path.parent, self._options.path)}"
        return self._naming.of(study if self._patients[study] == 1 else f"{study}@{item.patient}")

    def _patient(self, item: Item) -> str:
        if self._options.patient == "folder" or not item.patient:
            return f"folder-{self._naming.of(_below(item.path, self._options.path).split('/')[0])}"
        return f"patient-{self._naming.of_mark(item.patient)}"

    def _masks(self, labels: LabelRules, cases: Sequence[Picked]) -> Drawn:
        """Masks from a folder beside the tree."""
        assert labels.path is not None, "the options say so"
        masks, _ = images_in(labels.path)
        drawn = Drawn()
        for case in cases:
            folder = case.grid.path if case.grid.path.is_dir() else case.grid.path.parent
            names = (case.grid.series, series_of(case.grid), case.id, folder.name)
            name = next((name for name in names if name in masks), None)
            if name is not None:
                drawn.masks[case.id] = ImageRef(masks[name])
        used = Counter(ref.path for ref in drawn.masks.values())
        if len(used) < len(masks):
            self._notes.append(f"{len(masks) - len(used)} of {len(masks)} masks belong to no series")
        if any(often > 1 for often in used.values()):
            self._notes.append("one mask serves several series: name the masks by SeriesInstanceUID")
        return drawn


def _reference(item: Item) -> ImageRef:
    """A damaged series is looked for in its folder, so that whoever reads it finds what is wrong with it."""
    return ImageRef(item.path, item.series, () if item.errors else item.files)


def _described(options: DicomOptions) -> tuple[Described, ...]:
    """By which rule each channel is chosen, for prediction; empty where one is chosen by other things alone."""
    rules = tuple(_rule(rule) for rule in (options.channels or {}).values())
    return rules if all(rule.takes or rule.modality or rule.orientation for rule in rules) else ()


def _rule(selection: Selection) -> Described:
    """What of a selection prediction can follow: descriptions, modality and the direction of slices."""
    alone = [rule for rule in selection.exclude if len(rule.model_fields_set) == 1]
    turned = {plane for rule in alone for plane in rule.orientation or ()}
    planes = selection.orientation or (PLANES if turned else ())
    return Described(
        takes=selection.description or (),
        leaves=tuple(text for rule in alone for text in rule.description or ()),
        modality=selection.modality or (),
        orientation=tuple(plane for plane in planes if plane not in turned),
    )


def _summary(items: Sequence[Item]) -> str:
    """How many patients, studies and series there are, by modality."""
    patients = {item.patient for item in items if item.patient}
    studies = {(item.patient, item.facts["study"]) for item in items if item.facts.get("study")}
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(_kinds(items).items()))
    parts = (count(len(patients), "patient"), count(len(studies), "study"), count(len(items), "series"))
    return f"{', '.join(parts)}: {kinds}"


def _kinds(items: Sequence[Item]) -> Counter[str]:
    return Counter(item.modality or "other" for item in items)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else path.name
