"""What the masks of a data set mean: the words of the workflow over those of the layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from ..errors import DataError
from ..imaging.structures import MOST_REGIONS, Label, Labels, Region, Source
from ..labels.label_map import folded
from .cases import MOST_STRUCTURES
from .options import Data, Structure


def labels_of(data: Data, known: Labels | None, bounded: bool = False) -> Labels | None:
    """The structures to train on, and how masks are read as such; None where neither workflow nor layout says.

    Args:
        known: What the layout says.
        bounded: Whether any case has a file that says where it counts.

    Raises:
        DataError: A name or value is not known, or two words contradict each other; the message says where.
    """
    labels = _named(data, known)
    ignore = _resolved(data.ignore, known) if data.ignore is not None else labels.ignore if labels else ()
    if labels is None:
        labels = _of_numbers(data)
        if labels is None:
            if ignore or data.others is not None:
                raise DataError("data.labels: name the structures; `ignore` and `others` apply to the rest")
            return None
    items = labels.items
    if data.ignore is not None:
        kept = tuple(label for label in items if not set(label.made_of) & set(ignore))
        if len(kept) < len(items) and data.labels is not None:
            lost = next(label.name for label in items if label not in kept)
            raise DataError(f"data.ignore: {_text(data.ignore)} is what the label {lost!r} is made of")
        items = kept
    labels = replace(labels, items=items, ignore=ignore, others=data.others or labels.others)
    labels = replace(labels, overlap=data.overlap or labels.overlap, bounded=bounded)
    if data.regions is not None:
        labels = replace(labels, regions=_regions(data, labels), paint=data.paint or (), overlap="keep")
    elif labels.regions and data.labels is not None:
        labels = replace(labels, regions=(), paint=())
    elif labels.regions:
        labels = replace(labels, overlap="keep")
    labels = _checked(labels)
    if len(labels.regions) == 1 and not labels.paint:
        return replace(labels, paint=labels.regions[0].members[:1])  # one region is one map, whatever it is made of
    return labels


def network_labels(labels: Labels) -> Labels:
    """The structures of predictions: those of masks; or the regions, by their place where nothing is painted.

    What a region is painted with is the structure of that value, where the data set has a name for it.
    """
    if not labels.regions:
        return Labels(tuple(Label(label.value, label.name, label.code) for label in labels.items))
    if not labels.paint:
        codes = {label.name: label.code for label in labels.items}
        numbered = enumerate(labels.regions, 1)
        found = tuple(Label(number, region.name, codes.get(region.name)) for number, region in numbered)
        return Labels(found, overlap="keep")
    known = {label.value: label for label in labels.items} if len(labels.regions) > 1 else {}
    painted = [
        Label(value, known[value].name, known[value].code) if value in known else Label(value, region.name)
        for value, region in zip(labels.paint, labels.regions, strict=True)
    ]
    return Labels(tuple(sorted(painted, key=lambda label: label.value)))


def _named(data: Data, known: Labels | None) -> Labels | None:
    """The workflow's labels, with the coded terms of the layout's where names agree; else the layout's."""
    if data.labels is None:
        return known
    codes = {label.name: label.code for label in known.items} if known else {}
    items = []
    for name, source in data.labels.items():
        if isinstance(source, Structure):
            items.append(Label(source.value, name, codes.get(name), _resolved(source.sources, known)))
        elif source:
            items.append(Label(source, name, codes.get(name)))
    rules = known or Labels()
    return replace(rules, items=tuple(sorted(items, key=lambda label: label.value)))


def _resolved(sources: Sequence[Source], known: Labels | None) -> tuple[Source, ...]:
    """Names of the layout's labels stand for their values and names in masks; other names are names in objects."""
    if known is None or not known.items:
        return tuple(sources)
    resolved: list[Source] = []
    by_name = {folded(label.name): label for label in known.items}
    for source in sources:
        if not isinstance(source, str):
            resolved.append(source)
        elif folded(source) in by_name:
            resolved += [source, *by_name[folded(source)].made_of]
        elif source in known.ignore or any(source in label.sources for label in known.items):
            resolved.append(source)
        else:
            near = get_close_matches(source, known.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known.names)}"
            raise DataError(f"data: the data set has no label {source!r}; {hint}")
    return tuple(dict.fromkeys(resolved))


def _of_numbers(data: Data) -> Labels | None:
    """Structures named after their values, where regions are all that speaks of them."""
    if not isinstance(data.regions, dict):
        if data.regions is not None:
            raise DataError("data.regions: each needs labels; name them under data.labels")
        return None
    members = sorted({member for source in data.regions.values() for member in source}, key=str)
    if strings := [member for member in members if isinstance(member, str)]:
        raise DataError(f"data.regions: no label is called {strings[0]!r}; name the labels under data.labels")
    return Labels.of({f"label {value}": value for value in members if isinstance(value, int)})


def _regions(data: Data, labels: Labels) -> tuple[Region, ...]:
    if not isinstance(data.regions, dict):
        return tuple(Region(label.name, (label.value,)) for label in labels.items)
    names = {folded(label.name): label.value for label in labels.items}
    regions = []
    for name, members in data.regions.items():
        values = []
        for member in members:
            value = names.get(folded(member)) if isinstance(member, str) else member
            if value not in labels.values:
                raise DataError(
                    f"data.regions.{name}: there is no label {member!r}; there are "
                    f"{', '.join(f'{label.name} ({label.value})' for label in labels.items)}"
                )
            values.append(int(value))
        regions.append(Region(name, tuple(sorted(set(values)))))
    return tuple(regions)


def _checked(labels: Labels) -> Labels:
    if not labels.items:
        raise DataError("data.labels: no structure is left to train on")
    sources = [source for label in labels.items for source in label.made_of]
    if twice := {source for source in sources if sources.count(source) > 1}:
        raise DataError(f"data.labels: {_text(twice)} in masks belongs to two structures")
    if both := set(sources) & set(labels.ignore):
        raise DataError(f"data.ignore: {_text(both)} is both a label and listed under data.ignore")
    if len(labels.items) > MOST_STRUCTURES:
        raise DataError(f"data.labels: there are {len(labels.items)} structures; there may be {MOST_STRUCTURES}")
    if len(labels.regions) > MOST_REGIONS:
        raise DataError(f"data.regions: there are {len(labels.regions)} regions; there may be {MOST_REGIONS}")
    for region, value in zip(labels.regions, labels.paint, strict=False):
        if value not in region.members:
            raise DataError(
                f"data.paint: {value} paints the region {region.name!r}, which is made of {_text(region.members)}; "
                "when it is read back, the mask would not contain the region"
            )
    return labels


def _text(sources: Iterable[Source]) -> str:
    return ", ".join(map(repr, sorted(sources, key=str)))
