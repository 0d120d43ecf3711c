"""`voxgraft new`: a workflow file for the data in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from ..support.progress import print_fitted
from . import PATH


@click.command()
@click.argument("folder", required=False, type=PATH)
@click.option(
    "--out",
    type=PATH,
    help="The workflow file to write; its name is the run's (default: the folder's name).",
)
@click.option("--from", "source", metavar="NAME", help="Copy a workflow that comes with VoxGraft (see --list).")
@click.option("--list", "listing", is_flag=True, help="List the workflows that come with VoxGraft.")
def new(folder: Path | None, out: Path | None, source: str | None, listing: bool) -> None:
    """Write a workflow file for the scans in FOLDER, with a comment on each choice.

    FOLDER may have the layout of any installed plugin, be a DICOM tree, or contain images, with or without masks,
    under names of your own. The file runs without changes; image files that are not used are reported. With --from,
    a workflow that comes with VoxGraft is copied, and its data set is replaced by FOLDER.
    """
    if listing:
        _list()
        return
    from ..discovery import discover
    from ..scaffold.begin import begin
    from ..support.progress import Progress

    written = begin(folder, out, source, discover(), Progress(), print_fitted)
    for path in written:
        print_fitted(f"wrote {path}")
    print_fitted(f"next: voxgraft check {written[0]}" + ("" if source else f", then voxgraft run {written[0]}"))


def _list() -> None:
    from ..scaffold.begin import shipped

    for name, path in shipped().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        about = [line.removeprefix("# ") for line in lines if line.startswith("# ") and "yaml-language" not in line]
        first = " ".join(about).partition(". ")[0].rstrip(".")
        print_fitted(f"{name}: {first}")
