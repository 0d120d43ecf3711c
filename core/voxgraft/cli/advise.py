"""`voxgraft advise`: which encoder and which way of transfer, with the evidence."""

from __future__ import annotations

from pathlib import Path

import click

from ..support.output import print_result
from .numbers import Amount


@click.command()
@click.argument("workflow", type=click.Path(path_type=Path))
@click.option(
    "--minutes", type=Amount(min=0.05, max=10_000), default=10.0, show_default=True, help="It ends within these."
)
@click.option("--model", "models", multiple=True, metavar="REF", help="Try the encoder of models:/NAME@ALIAS as well.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the report goes; by default runs/NAME-advice.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def advise(
    workflow: Path, minutes: float, models: tuple[str, ...], overrides: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Find out which pretrained encoder and way of transfer suits the data of WORKFLOW.

    Probes every stage of each encoder whose weights are at hand against two random initialisations, then lets a few
    train for a short time beside a twin from scratch. Says "no evidence" where that is the truth. Leaves advice.json,
    advice.html and a proposed workflow.yaml.
    """
    import time

    since = time.monotonic()  # loading counts too
    from ..discovery import discover
    from ..support.files import json_text
    from ..workflow.workflow import read

    catalogue = discover()
    checked = read(workflow, catalogue, overrides)
    from ..advise.advise import advise as find_out
    from ..advise.page import ARMS, PROBES, arm_rows, probe_rows

    folder = out or Path("runs") / f"{checked.name}-advice"
    found = find_out(checked, catalogue, folder, minutes, models, lambda text: click.echo(text, err=True), since)
    if as_json:
        print_result(json_text(found))
        return
    for heads, rows in ((PROBES[:-1], [row[:-1] for row in probe_rows(found)]), (ARMS, arm_rows(found))):
        if rows:
            click.echo(_aligned([list(heads), *rows]) + "\n")
    click.echo(f"{found['advice']}\n{folder / 'advice.html'}: the evidence; {folder / 'workflow.yaml'}: the proposal")


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
