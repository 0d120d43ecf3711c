"""`voxgraft new`: a workflow file for the data in a folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The workflow file to write; its name is the run's (default: the folder's name).",
)
@click.option("--from", "source", metavar="NAME", help="Copy a workflow that comes with VoxGraft (see --list).")
@click.option("--list", "listing", is_flag=True, help="List the workflows that come with VoxGraft.")
def new(folder: Path | None, out: Path | None, source: str | None, listing: bool) -> None:
    """Write a workflow file for the scans in FOLDER, with a comment on each choice.

    FOLDER may have the layout of any installed plugin, be a DICOM tree, or hold nothing but images. The file runs as it
    stands. With --from, a workflow that comes with VoxGraft is copied, and its data set replaced by FOLDER.
    """
    from ..errors import UsageError

    if listing:
        _list()
    elif source is not None:
        _copy(source, out, folder)
    elif folder is None:
        raise UsageError("name the FOLDER of your scans, or a workflow with --from (--list shows them)")
    else:
        _write(folder, out)


def _list() -> None:
    from ..scaffold.shipped import shipped

    for name, path in shipped().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        about = [line.removeprefix("# ") for line in lines if line.startswith("# ") and "yaml-language" not in line]
        first = " ".join(about).partition(". ")[0].rstrip(".")
        click.echo(f"{name}: {first}")


def _copy(source: str, out: Path | None, folder: Path | None) -> None:
    from ..errors import UsageError
    from ..scaffold.shipped import copy_shipped

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    written = copy_shipped(source, out or Path(f"{source.removesuffix('.yaml')}.yaml"), folder)
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"next: voxgraft check {written[0]}")


def _write(folder: Path, out: Path | None) -> None:
    from ..discovery import discover
    from ..errors import UsageError
    from ..scaffold.survey import survey
    from ..scaffold.workflow import Machine, default_name, plain_name, summary, write_workflow
    from ..support.progress import Progress
    from ..workflow.workflow import read

    catalogue = discover()
    if out is not None and out.exists():
        raise UsageError(f"{out}: is there already; choose another file with --out")
    found = survey(folder, catalogue, Progress())
    for line in summary(found):
        click.echo(line)
    name = plain_name(out.stem) if out is not None else default_name(found)
    written = write_workflow(found, out or Path(f"{name}.yaml"), catalogue, Machine.here(), name or None)
    read(written[0], catalogue)
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"next: voxgraft check {written[0]}, then voxgraft run {written[0]}")
