"""`voxgraft new`: from a folder of scans to a workflow file that runs as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..workflow.workflow import read
from .shipped import copy_shipped
from .survey import survey
from .workflow import Machine, default_name, plain_name, summary, write_workflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..components.catalogue import Catalogue
    from ..support.progress import Progress


def begin(
    folder: Path | None,
    out: Path | None,
    source: str | None,
    catalogue: Catalogue,
    progress: Progress | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Write a workflow file for the scans in a folder, or copy one that comes with VoxGraft.

    Args:
        folder: The scans; with `source` they may be left out.
        out: The file to write; by default it is named after the folder, or after `source`.
        source: A workflow that comes with VoxGraft, whose data set is replaced by the folder.
        catalogue: Offers layouts, readers and encoders.
        progress: Shows how far looking at the folder is.
        say: Is told what was found in it, a line at a time.

    Returns:
        What was written, the workflow file first.

    Raises:
        UsageError: There is no such folder or workflow, neither is named, or the file is there already.
        DataError: The folder holds nothing that can be read.
    """
    if source is not None:
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder}: there is no such folder")
        return copy_shipped(source, out or Path(f"{source.removesuffix('.yaml')}.yaml"), folder)
    if folder is None:
        raise UsageError("name the FOLDER of your scans, or a workflow with --from (--list shows them)")
    if out is not None and out.exists():
        raise UsageError(f"{out}: already exists; choose another file with --out")
    found = survey(folder, catalogue, progress)
    for line in summary(found):
        say(line)
    name = plain_name(out.stem) if out is not None else default_name(found)
    written = write_workflow(found, out or Path(f"{name}.yaml"), catalogue, Machine.here(), name or None)
    read(written[0], catalogue)
    return written
