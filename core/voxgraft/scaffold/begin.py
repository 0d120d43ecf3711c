"""`voxgraft new`: from a folder of scans to a workflow file that runs as it stands, or a copy of a shipped one."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..support.files import write_text
from ..workflow.workflow import read
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


def shipped() -> dict[str, Path]:
    """Name to file of each workflow that is installed with VoxGraft."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def copy_shipped(name: str, out: Path, folder: Path | None = None) -> list[Path]:
    """Copy a workflow, and the tables that it names, to where a person can change it.

    Args:
        name: The name of the file, without its ending.
        out: The copy; it must not be there yet.
        folder: The data set that takes the place of the one in the file; None leaves the file's.

    Returns:
        What was written, the workflow first.

    Raises:
        UsageError: There is no such workflow, or the copy is there already.
    """
    workflows = shipped()
    if name.removesuffix(".yaml") not in workflows:
        near = get_close_matches(name, workflows, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(workflows)}"
        raise UsageError(f"--from: there is no workflow {name!r}; {hint}")
    source = workflows[name.removesuffix(".yaml")]
    lines = source.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("# yaml-language-server")) + "\n"
    tables = {path.name: path for path in source.parent.glob("*.csv") if f"workflows/{path.name}" in text}
    copies = {name: out.with_name(name) for name in tables}
    if there := next((path for path in (out, *copies.values()) if path.exists()), None):
        raise UsageError(f"{there}: already exists; choose another file with --out")
    for table, copy in copies.items():
        write_text(copy, tables[table].read_text(encoding="utf-8"))
        text = text.replace(f"workflows/{table}", copy.as_posix())
    write_text(out, text if folder is None else _on(text, folder, name))
    return [out, *copies.values()]


def _on(text: str, folder: Path, name: str) -> str:
    """The workflow on another data set of the same layout."""
    import yaml

    layout = yaml.safe_load(text)["data"]["layout"]
    key = "root" if "root" in layout else "path"
    old = str(layout.get(key, ""))
    if not old or text.count(old) == 0:
        raise UsageError(f"--from {name}: the workflow names no folder; change its section data by hand")
    return text.replace(old, folder.as_posix())


def _folder() -> Path:
    """Inside the package where VoxGraft is installed from a wheel, at the root of the repository elsewhere."""
    package = Path(__file__).parents[1]
    inside = package / "workflows"
    return inside if inside.is_dir() else Path(os.path.normpath(package / ".." / ".." / "workflows"))
