"""What the headers of a tree say: through the index where one is kept, and where that is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.errors import DataError
from voxgraft.progress import Progress
from voxgraft.volume import Item

from .config import DicomConfig
from .index import Tree, images_in, readers_hash
from .names import mark
from .store import Unusable, open_store

if TYPE_CHECKING:
    from voxgraft.discovery import Catalogue

FOLDER = ".voxgraft"
LARGE = 2000
"""Files of a tree for which an index is kept unasked; smaller ones are read in less than a second."""


def headers_of(config: DicomConfig, catalogue: Catalogue) -> tuple[list[Item], list[str]]:
    """The images of a tree, and what a user should know of the index.

    Raises:
        DataError: The index cannot be kept where the options say.
    """
    tree, progress = Tree(config.path), Progress()
    place = _place(config, tree)
    if place is None:
        return images_in(tree, catalogue, None, progress), []
    own = config.index == "auto"
    try:
        store = open_store(place, _real(config.path), readers_hash(catalogue), own=own)
        try:
            return images_in(tree, catalogue, store, progress), []
        finally:
            store.close()
    except Unusable as error:
        if not own:
            raise DataError(f"data.layout.index: {place} cannot hold the index: {error}") from error
        note = f"no index could be kept ({error}): every header was read; the option 'index' names another place"
        return images_in(tree, catalogue, None, progress), [note]


def _place(config: DicomConfig, tree: Tree) -> Path | None:
    """Where the index is; None where there is none. It is never put into the tree unasked."""
    if isinstance(config.index, Path):
        if config.index.is_dir():
            raise DataError(f"data.layout.index: {config.index} is a folder; name a file")
        return config.index
    here, root = Path.cwd().resolve(), config.path.resolve()
    if config.index == "off" or tree.size < LARGE or here.is_relative_to(root):
        return None
    return Path(FOLDER) / f"dicom-{mark(_real(config.path))[:16]}.sqlite"


def _real(path: Path) -> str:
    return os.path.realpath(path)
