"""`voxgraft advise`: which encoder and which way of transfer, with the evidence."""

from __future__ import annotations

from pathlib import Path

import click

from ..support.progress import print_result
from .numbers import Amount


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.option(
    "--minutes", type=Amount(min=0.05, max=10_000), default=10.0, show_default=True, help="Time limit in minutes."
)
@click.option("--model", "models", multiple=True, metavar="REF", help="Also try the encoder of models:/NAME@ALIAS.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report; by default runs/NAME-advice.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def advise(
    workflow: Path, minutes: float, models: tuple[str, ...], overrides: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Find out which pretrained encoder and transfer strategy suit the data of WORKFLOW.

    With eight minutes or more, volumes are first compared with slices and coarse voxels with fine ones.
    Probes every stage of each encoder whose weights are at hand against two random initialisations, then trains the
    most promising ones briefly, each next to a from-scratch baseline. Says "no evidence" where there is none. Writes
    advice.json, advice.html and a proposed workflow.yaml.
    """
    import time

    since = time.monotonic()  # loading counts too
    from ..discovery import discover
    from ..support.files import json_text
    from ..workflow.workflow import read

    catalogue = discover()
    checked = read(workflow, catalogue, overrides)
    from ..advice.advise import advise as find_out
    from ..advice.page import ARMS, PROBES, SHAPES, arm_rows, probe_rows, shape_rows

    folder = out or Path("runs") / f"{checked.name}-advice"
    result = find_out(checked, catalogue, folder, minutes, models, lambda text: click.echo(text, err=True), since)
    if as_json:
        print_result(json_text(result))
        return
    probes = [row[:-1] for row in probe_rows(result)]
    for heads, rows in ((SHAPES, shape_rows(result)), (PROBES[:-1], probes), (ARMS, arm_rows(result))):
        if rows:
            click.echo(_aligned([list(heads), *rows]) + "\n")
    if result["shape"]:
        click.echo(result["shape"])
    click.echo(f"{result['advice']}\n{folder / 'advice.html'}: the evidence; {folder / 'workflow.yaml'}: the proposal")


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
