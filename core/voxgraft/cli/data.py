"""`voxgraft inspect` and `voxgraft convert`: what the readers see, and any reader to any writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..data.regrid import Interpolation
    from ..volume import Item, Volume


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def inspect(path: Path, as_json: bool) -> None:
    """Show what the readers see in a file, a folder or a tree: series, geometry, modality, problems."""
    from ..discovery import discover
    from ..reading import scan

    items = scan(path, discover())
    if as_json:
        import json

        click.echo(json.dumps({"items": [_document(item) for item in items]}, indent=2, allow_nan=False))
        return
    for item in items:
        _show(item)
    bad = sum(bool(item.errors) for item in items)
    click.echo(
        f"{len(items)} image{'s' * (len(items) != 1)}, {bad} of them not to be read" if bad else f"{len(items)} ok"
    )


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--reference", type=click.Path(path_type=Path), help="Resample onto the grid of this image.")
@click.option("--series", help="Which series of SOURCE: its UID, or its description.")
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest"]),
    default="linear",
    show_default=True,
    help="How to resample; masks need `nearest`.",
)
def convert(
    source: Path, target: Path, reference: Path | None, series: str | None, interpolation: Interpolation
) -> None:
    """Convert SOURCE, in any format that is read, to TARGET, in the format that its name says."""
    from ..discovery import discover
    from ..reading import read
    from ..writing import choose_writer, write

    catalogue = discover()
    choose_writer(target, catalogue)
    volume = read(source, catalogue, series)
    _note_problems(volume)
    if reference is not None:
        from ..data.regrid import resample_onto

        if interpolation == "linear" and _looks_like_a_mask(volume):
            click.echo("note: the source looks like a mask; --interpolation nearest keeps its labels whole", err=True)
        volume = resample_onto(volume, read(reference, catalogue), interpolation)
    write(volume, target, catalogue)
    click.echo(f"{target}: {_size(volume.shape, volume.spacing, volume.channels)}")


def _document(item: Item) -> dict[str, Any]:
    """What `inspect --json` says of one image; the affine is null where the header could not be understood."""
    problems = [{"code": one.code, "message": one.message, "severity": one.severity} for one in item.problems]
    return {
        "path": item.path.as_posix(),
        "reader": item.reader,
        "modality": item.modality,
        "shape": list(item.shape),
        "spacing": [round(step, 6) for step in item.spacing],
        "affine": item.affine.tolist() if item.shape else None,
        "channels": item.channels,
        "series": item.series,
        "description": item.description,
        "files": len(item.files),
        "problems": problems,
    }


def _show(item: Item) -> None:
    click.echo(str(item.path))
    facts = [item.reader, item.modality or "", _size(item.shape, item.spacing, item.channels) if item.shape else ""]
    click.echo(f"  {', '.join(fact for fact in facts if fact)}")
    if item.series:
        click.echo(f"  series {item.series}{f' ({item.description})' if item.description else ''}")
    for problem in item.problems:
        click.secho(f"  {problem.severity}: {problem.message} [{problem.code}]", fg=_COLOURS[problem.severity])


_COLOURS = {"error": "red", "warning": "yellow", "repair": "yellow"}


def _size(shape: tuple[int, ...], spacing: tuple[float, ...], channels: int) -> str:
    size = f"{'x'.join(map(str, shape))} voxels of {'x'.join(f'{step:.4g}' for step in spacing)} mm"
    return size if channels == 1 else f"{size}, {channels} channels"


def _note_problems(volume: Volume) -> None:
    for problem in volume.item.problems if volume.item else ():
        click.echo(f"{problem.severity}: {problem.message}", err=True)


def _looks_like_a_mask(volume: Volume) -> bool:
    """Whole numbers of which no more than 64 differ, none below 0."""
    import numpy as np

    if volume.array.dtype.kind not in "iub" or volume.array.min() < 0 or volume.array.max() > 65535:
        return False
    return int(np.count_nonzero(np.bincount(volume.array.ravel(order="K")))) <= 64
