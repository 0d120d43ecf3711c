"""`voxgraft inspect`: what the readers see in a file, a folder or a tree, before a voxel is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.files import without_nan
from ..support.texts import Shown, counted
from .formats import unopened_in, unopened_problems
from .read import scan

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .volume import Item, Problem


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
        items = [item_document(item) for item in self.items]
        plain: dict[str, Any] = without_nan({"items": items, "problems": [_problem(one) for one in self.problems]})
        return plain


def inspect_path(path: Path, catalogue: Catalogue) -> Inspection:
    """Look at a file, a folder or a tree.

    Raises:
        UsageError: There is no such path.
        DataError: It holds nothing that a reader knows.
    """
    items = scan(path, catalogue)
    return Inspection(path, tuple(items), unopened_problems(unopened_in(path, catalogue)))


def item_document(item: Item) -> dict[str, Any]:
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
        "problems": [_problem(problem) for problem in item.problems],
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "message": problem.message, "severity": problem.severity}
