"""Which SEG and RTSTRUCT objects belong to which case, by what they refer to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from filecmp import cmp
from pathlib import Path

from voxgraft.plugin import ImageRef, Item, Labels, Problem, count, listed

from .options import LabelRules
from .pick import Picked, fits_one, series_of
from .terms import Terms

SOURCES = {"seg": ("SEG",), "rtstruct": ("RTSTRUCT",), "auto": ("SEG", "RTSTRUCT")}
Hit = tuple[Picked, Item]


@dataclass(slots=True)
class Drawn:
    """The labels that were found for cases.

    Attributes:
        masks: By the id of a case.
        raters: For cases that several people marked, their masks.
        refused: Ids of cases whose objects contradict themselves or each other; `problems` says how.
    """

    masks: dict[str, ImageRef] = field(default_factory=dict)
    raters: dict[str, dict[str, ImageRef]] = field(default_factory=dict)
    labels: Labels | None = None
    refused: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Matcher:
    """Finds the labels of cases among the objects of a tree.

    Args:
        known: Every image of the tree, whether a case or not.
        across: The user vouches that all series of a study lie in one space.
    """

    def __init__(self, rules: LabelRules, known: Sequence[Item], across: bool) -> None:
        self._rules, self._across = rules, across
        self._known = {series_of(item) for item in known}
        self._terms = Terms(rules.names)
        self._drawn = Drawn()
        self._elsewhere: list[tuple[Item, Hit]] = []
        self._by_series: dict[str, list[Hit]] = {}
        self._by_instance: dict[str, list[Hit]] = {}
        self._by_frame: dict[tuple[str, str], list[Hit]] = {}

    def match(self, objects: Sequence[Item], cases: Sequence[Picked]) -> Drawn:
        """The labels of these cases.

        Raises:
            DataError: A structure's name fits two labels of the option `names`.
        """
        for case in cases:
            for image in case.images:
                self._enter(case, image)
        belonging: dict[str, list[Item]] = {case.id: [] for case in cases}
        for item in _once(self._wanted(objects)):
            matched = self._case_of(item)
            if matched is not None:
                belonging[matched.id].append(item)
        self._tell_of_channels(belonging)
        for name, own_objects in belonging.items():
            if own_objects and name not in self._drawn.refused:
                self._label(name, self._chosen(own_objects))
        self._drawn.labels = self._terms.labels()
        self._drawn.notes += self._terms.notes()
        return self._drawn

    def _enter(self, case: Picked, image: Item) -> None:
        hit = case, image
        self._by_series.setdefault(series_of(image), []).append(hit)
        self._by_frame.setdefault((_study(image), frame_of(image)), []).append(hit)
        for instance in _texts(image, "instances"):
            self._by_instance.setdefault(instance, []).append(hit)

    def _wanted(self, objects: Sequence[Item]) -> list[Item]:
        """The objects that the options let through, and that can be read."""
        sources, notes = SOURCES[self._rules.source], self._drawn.notes
        others = Counter(item.modality or "other" for item in objects if item.modality not in sources)
        notes += [f"{count(n, f'{kind} object')} not used: labels.source is another" for kind, n in others.items()]
        kept = [item for item in objects if item.modality in sources]
        if self._rules.description is not None:
            every, patterns = len(kept), self._rules.description
            kept = [item for item in kept if fits_one(item.description, patterns)]
            if len(kept) < every:
                notes.append(
                    f"{every - len(kept)} of {count(every, 'object')} with structures have another description"
                )
        broken = [item for item in kept if item.errors]
        if broken:
            text = f"{count(len(broken), 'object')} with structures cannot be read: {broken[0].errors[0].message}"
            self._drawn.problems.append(Problem("damaged-structures", text))
        return [item for item in kept if not item.errors]

    def _case_of(self, item: Item) -> Picked | None:
        """The case that an object was drawn on; the problems or notes say why there is none."""
        hits = self._hits(item)
        if not hits:
            self._tell_of_stray(item)
            return None
        by_case = {case.id: case for case, _ in hits}
        if len(by_case) > 1:
            refers = (
                "it refers to"
                if item.facts.get("references") or item.facts.get("instances")
                else "its frame is that of"
            )
            self._refuse(item, by_case, "ambiguous-structures", f"{refers} several, and nothing says which is meant")
            return None
        (case,) = by_case.values()
        image = case.grid if any(image is case.grid for _, image in hits) else hits[0][1]
        own_frame, image_frame = frame_of(item), frame_of(image)
        if own_frame and image_frame and own_frame != image_frame and not self._across:
            text = "its frame of reference is not that of the series it refers to; set align: any if they are one"
            self._refuse(item, by_case, "other-frame", text)
            return None
        if image is not case.grid:
            self._elsewhere.append((item, (case, image)))
            return None
        return case

    def _tell_of_channels(self, belonging: Mapping[str, Sequence[Item]]) -> None:
        """Objects on another channel than that of the grid refuse a case, unless it has some on that one, too."""
        for item, (case, image) in self._elsewhere:
            drawn = f"drawn on the channel {case.channel_of(image)!r}"
            if belonging[case.id]:
                what = f"an object of {item.modality} was {drawn}"
                self._drawn.notes.append(f"{what}, and is not used: others were drawn on the one that gives the grid")
            else:
                text = f"it was {drawn}, and another gives the grid; the option grid says which"
                self._refuse(item, [case.id], "other-grid", text)

    def _hits(self, item: Item) -> list[Hit]:
        """By the series it refers to; where it names none, by instances; else by its frame within the study."""
        references = _texts(item, "references")
        instances = _texts(item, "instances")
        by_instance = _each_once(hit for uid in instances for hit in self._by_instance.get(uid, ()))
        if references:
            hits = _each_once(hit for uid in references for hit in self._by_series.get(uid, ()))
            inside = [hit for hit in hits if any(hit[1] is other[1] for other in by_instance)]
            return inside or hits
        if instances:
            return by_instance
        return self._by_frame.get((_study(item), frame_of(item)), []) if frame_of(item) else []

    def _tell_of_stray(self, item: Item) -> None:
        references = set(_texts(item, "references"))
        if references and not references & self._known:
            text = "refers to a series that is not here"
        elif references or item.facts.get("instances"):
            text = "belongs to a series that is not a case, or is not here"
        else:
            text = "refers to no series, and to no frame of reference of a case of its study"
        self._drawn.notes.append(f"an object of {item.modality} {text}")

    def _refuse(self, item: Item, cases: Iterable[str], code: str, why: str) -> None:
        names = list(cases)
        self._drawn.refused.update(names)
        text = f"{listed(names, 'case')}: the {item.modality} object {item.path.name} is not used: {why}"
        self._drawn.problems.append(Problem(code, text))

    def _chosen(self, objects: Sequence[Item]) -> list[Item]:
        """Of one series' objects: SEG before RTSTRUCT, whose contours say less exactly which voxels are meant."""
        segs = [item for item in objects if item.modality == "SEG"]
        if segs and len(segs) < len(objects):
            self._drawn.notes.append("a series has SEG and RTSTRUCT objects: the SEG are taken")
        return segs or list(objects)

    def _label(self, case: str, chosen: Sequence[Item]) -> None:
        """Objects that mark different structures are one mask; those that mark the same may be of several people."""
        pairs = [(item, terms) for item in chosen if (terms := self._terms.pairs(item))]
        often = Counter(label for _, terms in pairs for label in {label for _, label in terms})
        double = sorted(label for label, times in often.items() if times > 1)
        if not pairs:
            self._drawn.notes.append("a series has objects, and no structure in them fits a label")
        elif not double:
            self._drawn.masks[case] = _reference(pairs)
        elif self._rules.several == "raters":
            called = [item.description or "" for item, _ in pairs]
            plain = len(set(called)) == len(called) and all(called)
            names = called if plain else [f"rater {number}" for number in range(1, len(pairs) + 1)]
            self._drawn.raters[case] = {name: _reference([pair]) for name, pair in zip(names, pairs, strict=True)}
        else:
            hint = "choose by labels.description, or set labels.several: raters"
            text = f"case {case}: {often[double[0]]} objects mark {double[0]!r} on it; {hint}"
            self._drawn.problems.append(Problem("several-masks", text))
            self._drawn.refused.add(case)


def frame_of(item: Item) -> str:
    """The FrameOfReferenceUID; empty where it names none."""
    return str(item.facts.get("frame") or item.facts.get("frame_of_reference") or "")


def _reference(pairs: Sequence[tuple[Item, tuple[tuple[str, str], ...]]]) -> ImageRef:
    files = tuple(file for item, _ in pairs for file in (item.files or (item.path,)))
    structures = tuple(dict.fromkeys(pair for _, terms in pairs for pair in terms))
    return ImageRef(pairs[0][0].path, files=files, structures=structures)


def _once(items: Sequence[Item]) -> list[Item]:
    """Without copies: files that are the same, byte for byte, as another."""
    kept: list[Item] = []
    seen: dict[tuple[str | None, int], list[Path]] = {}
    for item in items:
        try:
            same = seen.setdefault((item.series, item.path.stat().st_size), [])
            double = any(cmp(item.path, other, shallow=False) for other in same)
        except OSError:  # whoever reads it will say so
            double, same = False, []
        if not double:
            same.append(item.path)
            kept.append(item)
    return kept


def _each_once(hits: Iterable[Hit]) -> list[Hit]:
    return list({id(image): (case, image) for case, image in hits}.values())


def _study(item: Item) -> str:
    return str(item.facts.get("study") or "")


def _texts(item: Item, fact: str) -> list[str]:
    return [str(value) for value in item.facts.get(fact) or () if value]
