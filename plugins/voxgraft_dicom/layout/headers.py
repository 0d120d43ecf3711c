"""What the headers of a tree say: through the index where one is kept, and where that is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.plugin import DataError, Item, Progress, fingerprint

from .index import Tree, images_in, readers_hash
from .options import DicomOptions
from .store import Unusable, open_store

if TYPE_CHECKING:
    from voxgraft.plugin import Catalogue

FOLDER = ".voxgraft"
LARGE = 2000
"""Files of a tree for which an index is kept unasked; smaller ones are read in less than a second."""


def headers_of(options: DicomOptions, catalogue: Catalogue) -> tuple[list[Item], list[str]]:
    """The images of a tree, and what a user should know of the index.

    Raises:
        DataError: The index cannot be kept where the options say.
    """
    tree, progress = Tree(options.path), Progress()
    path = _place(options, tree)
    if path is None:
        return images_in(tree, catalogue, None, progress), []
    own = options.index == "auto"
    try:
        store = open_store(path, os.path.realpath(options.path), readers_hash(catalogue), own=own)
        try:
            return images_in(tree, catalogue, store, progress), []
        finally:
            store.close()
    except Unusable as error:
        if not own:
            raise DataError(f"data.layout.index: {path} cannot hold the index: {error}") from error
        note = f"no index could be kept ({error}): every header was read; the option 'index' names another place"
        return images_in(tree, catalogue, None, progress), [note]


def _place(options: DicomOptions, tree: Tree) -> Path | None:
    """Where the index is; None where there is none. It is never put into the tree unasked."""
    if isinstance(options.index, Path):
        if options.index.is_dir():
            raise DataError(f"data.layout.index: {options.index} is a folder; name a file")
        return options.index
    working, root = Path.cwd().resolve(), options.path.resolve()
    if options.index == "off" or tree.size < LARGE or working.is_relative_to(root):
        return None
    return Path(FOLDER) / f"dicom-{fingerprint(os.path.realpath(options.path))[:16]}.sqlite"
