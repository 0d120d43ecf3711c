"""`voxgraft inspect` and `voxgraft convert`: what the readers see, and any reader to any writer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.progress import print_fitted, print_result
from ..support.texts import counted, listed
from . import PATH, THERE, json_option

if TYPE_CHECKING:
    from ..imaging.regrid import Interpolation
    from ..imaging.volume import Item, Volume
    from ..labels.convert import Overlap


@click.command()
@click.argument("path", type=THERE)
@json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show what a file, a folder or a tree contains: series, geometry, modality, problems."""
    from ..discovery import discover
    from ..imaging.inspection import inspect_path

    with _patience(f"looking at {path}"):
        found = inspect_path(path, discover())
    if as_json:
        import json

        print_result(json.dumps(found.document(), indent=2, allow_nan=False))
        return
    items = found.items
    if len(items) > 1 and sys.stdout.isatty():
        _show_table(path, items)
    else:
        for item in items:
            _show(item)
    for problem in found.problems:
        print_fitted(f"{problem.severity}: {problem.message} [{problem.code}]", _COLOURS[problem.severity])
    click.echo(_summary(items))


@click.command()
@click.argument("source", type=THERE)
@click.argument("target", type=PATH)
@click.option("--reference", type=THERE, help="Image whose grid the result gets.")
@click.option("--series", help="Series of SOURCE to convert: its UID or its description.")
@click.option("--labels", metavar="FILE|NAME=VALUE,...", help="Structures of a mask: a JSON file, or liver=1,spleen=2.")
@click.option("--resample", is_flag=True, help="Resample a mask onto the grid of --reference.")
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest"]),
    help="Interpolation; by default nearest for masks and linear for images.",
)
@click.option(
    "--overlap",
    type=click.Choice(["error", "higher", "keep"]),
    default="error",
    show_default=True,
    help="Where structures overlap: refuse, let the higher value win, or write a channel for each.",
)
@click.option("--writer", help="Writer to use where the extension of TARGET does not say which.")
def convert(
    source: Path,
    target: Path,
    reference: Path | None,
    series: str | None,
    labels: str | None,
    resample: bool,
    interpolation: Interpolation | None,
    overlap: Overlap,
    writer: str | None,
) -> None:
    """Convert SOURCE from any readable format to the format given by TARGET's extension.

    A DICOM SEG or RTSTRUCT becomes a mask on the grid of its scan (--reference, or the scan in the same folder); a mask
    becomes a SEG (.dcm) or RTSTRUCT (.rtstruct.dcm) of the series that --reference names, with the names in --labels.
    A mask on another grid than the reference's is refused unless --resample is given.
    """
    from ..discovery import discover
    from ..errors import UsageError
    from ..labels.convert import Wish
    from ..labels.convert import convert as converted
    from ..scoring.naming import read_labels

    for name, value in (("--series", series), ("--writer", writer)):
        if value is not None and not value.strip():
            raise UsageError(f"{name} is empty; leave it out, or name one")
    wish = Wish(
        reference=reference,
        series=series,
        labels=read_labels(labels) if labels is not None else None,
        resample=resample,
        interpolation=interpolation,
        overlap=overlap,
        writer=writer,
    )
    with _patience(f"converting {source}"):
        result = converted(source, target, wish, discover())
    for note in result.notes:
        click.echo(note, err=True)
    click.echo(f"{target}: {_size(result.volume)}")


@contextmanager
def _patience(what: str) -> Iterator[None]:
    """Shows on a terminal that work is going on, and for how long."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def _show(item: Item) -> None:
    from ..support.texts import legible

    click.echo(legible(str(item.path)))
    facts = [item.reader, item.modality or "", _size(item) if item.shape else ""]
    print_fitted(f"  {', '.join(fact for fact in facts if fact)}")
    if item.series:
        click.echo(f"  series {item.series}{f' ({item.description})' if item.description else ''}")
    if names := _names(item):
        print_fitted(f"  structures: {names}")
    for problem in item.problems:
        print_fitted(f"  {problem.severity}: {problem.message} [{problem.code}]", _COLOURS[problem.severity])


def _show_table(root: Path, items: Sequence[Item]) -> None:
    """A line for each image, then what is wrong, each problem once."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("image", "kind", "voxels", "mm", "series", box=None, pad_edge=False)
    for item in items:
        name = item.path.relative_to(root) if item.path.is_relative_to(root) and item.path != root else item.path
        voxels = "x".join(map(str, item.shape)) + (f", {item.channels} channels" if item.channels > 1 else "")
        spacing = _spacing(item).removesuffix(" mm")
        kind = " ".join(part for part in (item.reader, item.modality or "") if part)
        series = _names(item) or item.description or item.series or ""
        table.add_row(*(Text(cell) for cell in (str(name), kind, voxels, spacing, series)))
    Console().print(table)
    by_problem: dict[tuple[str, str, str], list[Item]] = {}
    for item in items:
        for problem in item.problems:
            by_problem.setdefault((problem.severity, problem.message, problem.code), []).append(item)
    for (severity, message, code), where in by_problem.items():
        path = str(where[0].path) + (f" and {len(where) - 1} more" if len(where) > 1 else "")
        print_fitted(f"{severity}: {message} [{code}]: {path}", _COLOURS[severity])


def _names(item: Item) -> str:
    return listed(map(str, item.facts.get("names") or ()), 8)


def _summary(items: Sequence[Item]) -> str:
    bad = sum(bool(item.errors) for item in items)
    return f"{counted(len(items), 'image')}, {f'{bad} of them unreadable' if bad else 'all readable'}"


_COLOURS = {"error": "red", "warning": "yellow", "repair": "yellow"}


def _size(image: Item | Volume) -> str:
    size = f"{'x'.join(map(str, image.shape))} voxels of {_spacing(image) or 'unknown size'}"
    return size if image.channels == 1 else f"{size}, {image.channels} channels"


def _spacing(image: Item | Volume) -> str:
    """Empty where nobody knows how large a voxel is."""
    return f"{'x'.join(f'{step:.4g}' for step in image.spacing)} mm" if image.sized else ""
