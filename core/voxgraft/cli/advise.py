"""`voxgraft advise`: which encoder and which way of transfer, with the evidence."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..support.progress import Progress, print_fitted, print_result
from ..support.texts import legible
from . import PATH, Amount, json_option

PLAIN = 240
"""Columns where there is no terminal."""


@click.command()
@click.argument("workflow", type=PATH)
@click.option(
    "--minutes", type=Amount(min=0.05, max=10_000), default=10.0, show_default=True, help="Time limit in minutes."
)
@click.option("--model", "models", multiple=True, metavar="REF", help="Also try the encoder of models:/NAME@ALIAS.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@click.option("--out", type=PATH, help="Folder for the report; by default runs/NAME-advice.")
@json_option
def advise(
    workflow: Path, minutes: float, models: tuple[str, ...], overrides: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Find out which pretrained encoder and transfer strategy suit the data of WORKFLOW.

    With six minutes or more, it first compares volumes with slices, and coarse voxels with fine ones. It probes
    every stage of each encoder whose weights are available against two random initialisations, then trains the most
    promising ones briefly, each next to a from-scratch baseline. If there is "no evidence", it says so, and proposes
    what helped on other data sets. It writes advice.json, advice.html and a proposed workflow.yaml.
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
    result = find_out(checked, catalogue, folder, minutes, models, Progress().say, since)
    if as_json:
        print_result(json_text(result))
        return
    probes = [row[:-1] for row in probe_rows(result)]
    for heads, rows in ((SHAPES, shape_rows(result)), (PROBES[:-1], probes), (ARMS, arm_rows(result))):
        if rows:
            _print_table(heads, rows)
    if result["shape"]:
        print_fitted(result["shape"])
    proposal = folder / "workflow.yaml"
    print_fitted(f"{result['advice']}\n{folder / 'advice.html'}: the evidence; {proposal}: the proposal")
    click.echo(f"next: voxgraft run {legible(shlex.quote(str(proposal)))}")


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns that fit the terminal; elsewhere a line for each row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN)
    console.print(table)
    console.print()
