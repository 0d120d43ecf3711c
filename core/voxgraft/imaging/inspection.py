"""`voxgraft inspect`: what the readers see in a file, a folder or a tree, before a voxel is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.files import without_nan
from ..support.texts import Shown, counted
from .formats import specs, unopened_in, unopened_problems, walk
from .read import scan
from .volume import Problem

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .volume import Item


@dataclass(frozen=True)
class Inspection(Shown):
    """What was found; going through it gives its images.

    Attributes:
        items: The images and objects of structures, as their headers describe them.
        problems: Of the folder as a whole, such as images that lie in archives.
    """

    path: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        return f"Inspection of {self.path}: {counted(len(self.items), 'image')}"

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]

    def document(self) -> dict[str, Any]:
        """Plain values, as `voxgraft inspect --json` prints them."""
        items = [_document(item) for item in self.items]
        plain: dict[str, Any] = without_nan({"items": items, "problems": list(map(asdict, self.problems))})
        return plain


def inspect_path(path: Path, catalogue: Catalogue) -> Inspection:
    """Look at a file, a folder or a tree.

    Raises:
        UsageError: There is no such path.
        DataError: It holds nothing that a reader knows.
    """
    items = scan(path, catalogue)
    problems = (*unopened_problems(unopened_in(path, catalogue)), *_illustrations(path, items, catalogue))
    return Inspection(path, tuple(items), problems)


def _illustrations(path: Path, items: Sequence[Item], catalogue: Catalogue) -> tuple[Problem, ...]:
    """What to say of pictures that `scan` left out of a folder because scans lie there too; by their names alone."""
    readers = {name: spec for name, spec in specs(catalogue).items() if spec.illustrates}
    if not path.is_dir() or {item.reader for item in items} & readers.keys():
        return ()
    endings = tuple({ending for spec in readers.values() for ending in spec.suffixes})
    known = {file for item in items for file in (item.path, *item.files)}
    pictures = [file for file in walk(path) if file.name.lower().endswith(endings) and file not in known]
    if not pictures:
        return ()
    text = f"{counted(len(pictures), 'picture')} beside the scans ({pictures[0].name}{', ...' * (len(pictures) > 1)})"
    text += ": left out, as illustrations; to read pictures, put them into a folder without scans"
    return (Problem("illustrations", text, "warning"),)


def _document(item: Item) -> dict[str, Any]:
    """Plain values of one image; the affine is None where the header could not be understood."""
    return {
        "path": item.path.as_posix(),
        "reader": item.reader,
        "kind": item.kind,
        "modality": item.modality,
        "shape": list(item.shape),
        "spacing": [float(f"{step:.6g}") for step in item.spacing],
        "affine": item.affine.tolist() if item.shape else None,
        "channels": item.channels,
        "series": item.series,
        "description": item.description,
        "names": [str(name) for name in item.facts.get("names") or ()],
        "references": [str(name) for name in item.facts.get("references") or ()],
        "files": len(item.files),
        "problems": [asdict(problem) for problem in item.problems],
    }
