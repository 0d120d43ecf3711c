"""`voxgraft check`: what is wrong with a data set or a workflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.progress import print_fitted, print_result
from . import PATH, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..checks.dataset import Findings

COLOURS = {"error": "red", "warning": "yellow", "repair": "cyan", "note": "white"}


@click.command()
@click.argument("target", metavar="WORKFLOW|FOLDER", type=PATH)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@json_option
def check(target: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with a workflow and its data, or with a folder of images, before you spend hours training.

    A folder may have the layout of any installed plugin (see `voxgraft plugins list`), or be any tree of images. Ends
    with code 1 where there are errors.
    """
    from ..checks.dataset import Findings
    from ..checks.problem import CaseProblem
    from ..discovery import discover
    from ..errors import DataError
    from ..runs.checking import check_target
    from ..support.progress import Progress

    try:
        findings = check_target(target, overrides, discover(), Progress(quiet=as_json))
    except DataError as error:
        if not as_json:
            raise
        findings = Findings(0, (CaseProblem("layout", "error", None, str(error)),))
    if as_json:
        import json

        from ..support.files import without_nan

        print_result(json.dumps(without_nan(findings.document()), indent=2))
    else:
        _show(target, findings)
    if not findings.ok:
        click.get_current_context().exit(1)


def _show(target: Path, findings: Findings) -> None:
    """A table on a terminal, plain lines elsewhere, the worst first; then the verdict."""
    from ..checks.problem import grouped

    groups = grouped(findings.problems)
    if groups and sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("severity", "case", "problem, and what to do", "code", show_lines=True)
        for problem, cases in groups:
            severity = Text(problem.severity, style=COLOURS[problem.severity])
            message = Text(problem.message).append(f"\n-> {problem.fix}" if problem.fix else "", style="dim")
            table.add_row(severity, Text(cases), message, Text(problem.code))
        Console().print(table)
    else:
        for problem, cases in groups:
            where, hint = f"{cases}: " if cases else "", f" -> {problem.fix}" if problem.fix else ""
            click.echo(f"{problem.severity}: {where}{problem.message} [{problem.code}]{hint}")
    for line in _figures(findings):
        print_fitted(line)
    print_fitted(f"{target}: {findings.verdict}")
    if findings.ok:
        import shlex

        from ..support.texts import legible

        click.echo(f"next: voxgraft {'new' if target.is_dir() else 'run'} {legible(shlex.quote(str(target)))}")


def _figures(findings: Findings) -> Iterator[str]:
    """What was measured: how the structures are balanced, and what a run needs."""
    from ..support.machine import gigabytes
    from ..support.texts import listed

    rows = findings.figures.get("structures") or ()
    if rows:
        shares = (f"{row['name'] or row['value']} {row['share']:.2%} in {row['masks']}" for row in rows)
        yield f"structures (share of voxels, masks): {listed(shares, 6)}"
    if "list" in findings.figures:
        yield f"cases with their paths and series descriptions: {findings.figures['list']} (only you can read it)"
    needed = findings.figures.get("room") or {}
    needs = [
        f"{gigabytes(needed[what])} of {name} ({gigabytes(needed[f'{what}_free'])} free)"
        for what, name in (("memory", "memory"), ("disk", "disk"))
        if what in needed
    ]
    if needs:
        yield f"preparing takes about {' and '.join(needs)}"
