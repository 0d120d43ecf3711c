"""Patterns of file names with named places, such as `images/{case}_0000.nii.gz`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from voxgraft.plugin import DataError, as_stored, composed, listed

_PLACE = re.compile(r"\{([A-Za-z_]+)\}|(\*)|([{}])")
_MOST = 4
"""Places in one name; matching takes time that grows with this power of the name's length."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path relative to some folder, in which `{name}` stands for one or more letters and `*` for any; accents are
    composed in what it matches and gives.

    Raises:
        ValueError: A brace is not closed, the path leaves its folder, or there are too many places to match quickly.
    """

    text: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.text)
        if not self.text or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the pattern {self.text!r} must be a path below the data set's folder")
        for part in path.parts:
            fields = list(_PLACE.finditer(part))
            if any(match[3] for match in fields):
                raise ValueError(f"the pattern {self.text!r} has a brace that is no place such as {{case}}")
            if len(fields) > _MOST:
                raise ValueError(f"the pattern {self.text!r} has more than {_MOST} places in one name")

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(match[1] for match in _PLACE.finditer(self.text) if match[1])

    def match(self, name: str) -> dict[str, str] | None:
        """What stands in the places of a name that fits; a place that occurs twice must hold the same."""
        match = _regex(self.text).fullmatch(composed(name))
        return match.groupdict() if match else None

    def find(self, folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
        """Everything below a folder that fits, in the order of names, with what stands in its places."""
        yield from _find(folder, PurePosixPath(self.text).parts, {})


def _find(folder: Path, parts: tuple[str, ...], known: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    if not parts:
        yield folder, known
        return
    part, rest = parts[0], parts[1:]
    if not _PLACE.search(part):
        if (child := as_stored(folder / part)).exists():
            yield from _find(child, rest, known)
        return
    if not folder.is_dir():
        return
    for child in sorted(folder.iterdir()):
        match = None if child.name.startswith(".") else _regex(part).fullmatch(composed(child.name))
        if match and all(known.get(name, text) == text for name, text in match.groupdict().items()):
            yield from _find(child, rest, {**known, **match.groupdict()})


def _regex(text: str) -> re.Pattern[str]:
    pieces: list[str] = []
    seen: set[str] = set()
    text, end = composed(text), 0
    for match in _PLACE.finditer(text):
        pieces.append(re.escape(text[end : match.start()]))
        end = match.end()
        if match[2]:
            pieces.append("[^/]*?")
        elif match[1] in seen:
            pieces.append(f"(?P={match[1]})")
        else:
            seen.add(match[1])
            pieces.append(f"(?P<{match[1]}>[^/]+?)")
    return re.compile("".join(pieces) + re.escape(text[end:]))


def patients(names: Sequence[str], pattern: str | None, fields: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The patient of each case: the place {patient} of its file pattern or of `pattern`; else the case itself.

    Args:
        fields: For each case what its file pattern found.

    Raises:
        DataError: A name does not fit the pattern.
    """
    if pattern is None:
        return {name: fields.get(name, {}).get("patient", name) for name in names}
    if "patient" not in Pattern(pattern).places:
        raise DataError(f"the pattern {pattern!r} of the option 'patient' needs {{patient}}")
    matches = {name: Pattern(pattern).match(name) for name in names}
    strange = [name for name, match in matches.items() if match is None]
    if strange:
        raise DataError(f"{listed(strange, 'case')}: the name does not fit the pattern {pattern!r} of 'patient'")
    return {name: match["patient"] for name, match in matches.items() if match is not None}
