"""`voxgraft segment`: segment scans in bulk with a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..support.progress import print_fitted, print_result
from . import Amount, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..batch.segment import Batch
    from ..components.catalogue import Catalogue
    from ..packages.package import Package


@click.command()
@click.argument("model")
@click.argument("inputs", metavar="INPUT...", nargs=-1, type=click.Path())
@click.option("--out", type=click.Path(), help="Folder, or URL of object storage, for the results (required).")
@click.option(
    "--writers", help="Mask formats, as in nifti,dicom-seg; by default these two, the second for DICOM scans."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Number of workers; by default 1, on a cluster as many as it has room for. On a CPU two or more are "
    "processes, each with a model and a share of the cores; on several GPUs they are processes with one GPU each; on "
    "one GPU they are threads that read and write while the model works.",
)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    help="What runs the scans: threads, processes, local (chooses between the two), ray, or ray://HOST:PORT; "
    "`voxgraft plugins list --kind executor` lists what is installed.",
)
@click.option(
    "--scan-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit for one scan; a worker process that takes longer is ended, and the scan is tried once more. The "
    "first scan of a worker includes loading the model.",
)
@click.option(
    "--scan-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Memory limit for a worker process; one that takes more is ended. Each works on one scan at a time.",
)
@click.option(
    "--part",
    metavar="K/N",
    help="Do only part K of N; other processes with the same --out do the rest. By default as SLURM's job array says.",
)
@click.option("--status", is_flag=True, help="Show the state of a batch: `voxgraft segment DIR --status`.")
@click.option("--series", help="Segment only the series with this UID or description; skip studies without it.")
@click.option("--ignore-contract", is_flag=True, help="Also segment scans that do not fit the model; they are flagged.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda or cuda:1.")
@click.option("--overlap", type=Amount(0, 0.95), help="Overlap between sliding windows; by default the model's.")
@click.option(
    "--mirror/--no-mirror",
    default=None,
    help="Average over mirrored images, as in training; by default as the model says.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "32", "bf16", "16"]),
    help="Number format of the network; auto takes half precision if the model allows it and the device supports it; "
    "by default as the model says.",
)
@click.option(
    "--body",
    type=click.Choice(["auto", "on", "off"]),
    help="Search only the body, not the air and the table around it; auto does if the model allows it; by default as "
    "the model says.",
)
@click.option("--retry", is_flag=True, help="Also retry scans that have already failed three times.")
@click.option(
    "--keep-done",
    is_flag=True,
    help="Keep finished scans although the model, an option or the code has changed since, such as after an update.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit for reading a scan, for predicting it and for each writer; by default 10 minutes and a second for "
    "each MB, and none for predicting.",
)
@json_option
def segment(
    model: str,
    inputs: tuple[str, ...],
    out: str | None,
    writers: str | None,
    part: str | None,
    status: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Segment scans with MODEL: a package folder or file, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID.

    INPUT is a file, a series folder, a DICOM tree, a URL such as s3://BUCKET/FOLDER, or a CSV worklist with a column
    `path` or one column for each channel. Of a study with several series only those the model was trained for are
    segmented; the report says why others were skipped. A second call does only what is missing.
    """
    import json

    if status:
        _show_status(model, alone=not inputs and out is None and part is None, as_json=as_json)
    if not inputs:
        raise click.UsageError("Missing argument 'INPUT...'.")
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    from ..batch.segment import segment as segment_scans
    from ..discovery import discover
    from ..support.progress import Progress

    progress = Progress()
    part = part if part is not None else _part_of_array(progress.say)
    catalogue = discover()
    names = None if writers is None else tuple(name.strip() for name in writers.split(",") if name.strip())
    package = _package(model, catalogue)
    batch = segment_scans(package, inputs, out, catalogue, writers=names, part=part, progress=progress, **options)
    if as_json:
        print_result(json.dumps(batch.document(), indent=2, ensure_ascii=False))
    else:
        print_fitted(_summary(batch))
    click.get_current_context().exit(batch.exit_code)


def _show_status(out: str, *, alone: bool, as_json: bool) -> None:
    """Say how far a batch is, and end."""
    import json

    from ..batch.remote import here
    from ..batch.status import status_of
    from ..errors import UsageError

    if not alone:
        raise UsageError("--status takes the batch's folder and nothing else: voxgraft segment DIR --status")
    status = status_of(here(out))
    print_result(json.dumps(status.document(), indent=2) if as_json else status.text())
    click.get_current_context().exit(status.exit_code)


def _part_of_array(say: Callable[[str], None]) -> str | None:
    """The part that this task of a SLURM job array does; None outside of one."""
    import os

    if "SLURM_ARRAY_TASK_ID" not in os.environ:
        return None
    from ..batch.parts import part_from_slurm

    part = part_from_slurm(os.environ)
    if part is not None:
        say(f"part {part}, as SLURM's job array says; --part 1/1 does all scans")
    return part


def _package(model: str, catalogue: Catalogue) -> Package:
    """The package of a reference; without it the call makes no sense."""
    from ..batch.segment import resolve_package
    from ..errors import ModelError, UsageError

    try:
        return resolve_package(model, catalogue)
    except ModelError as error:
        raise UsageError(str(error)) from error


def _summary(batch: Batch) -> str:
    import shlex

    from ..support.texts import legible

    counts = [(batch.done, "done"), (batch.skipped, "skipped (done before)"), (batch.failed, "failed")]
    counts.append((batch.left_out, "left out"))
    look = sum(bool(scan.flags) for scan in batch.scans if scan.state in ("done", "skipped"))
    summary = ", ".join(f"{number} {text}" for number, text in counts if number) or "nothing to do"
    folder = legible(shlex.quote(str(batch.out)))
    return f"{summary}; {look} to look at first\n{legible(str(batch.report))}\nnext: voxgraft review {folder}"
