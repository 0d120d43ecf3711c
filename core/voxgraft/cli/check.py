"""`voxgraft check`: what is wrong with a data set or a workflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.case_check import CaseProblem
    from ..discovery import Catalogue
    from ..progress import Progress

COLOURS = {"error": "red", "warning": "yellow", "repair": "cyan", "note": "white"}


@click.command()
@click.argument("target", metavar="WORKFLOW|FOLDER", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def check(target: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with a workflow and its data, or with a folder of images, before any hour is spent.

    A folder may hold dataset.json, images/ beside labels/, or any tree of images.
    """
    from ..data.case_check import CaseProblem
    from ..discovery import discover
    from ..errors import DataError
    from ..progress import Progress

    try:
        cases, problems = _check(target, overrides, discover(), Progress(quiet=as_json))
    except DataError as error:
        if not as_json:
            raise
        cases, problems = 0, [CaseProblem("layout", "error", None, str(error))]
    ok = not any(problem.severity == "error" for problem in problems)
    if as_json:
        import json

        rows = [{"code": p.code, "severity": p.severity, "case": p.case, "message": p.message} for p in problems]
        click.echo(json.dumps({"ok": ok, "cases": cases, "problems": rows}, indent=2))
    else:
        _show(target, cases, problems)
    if not ok:
        click.get_current_context().exit(1)


def _check(
    target: Path, overrides: tuple[str, ...], catalogue: Catalogue, progress: Progress
) -> tuple[int, list[CaseProblem]]:
    """The number of cases and the problems.

    Raises:
        DataError: The data set's layout cannot be read.
        UsageError: There is neither a folder nor a workflow file, or the workflow does not fit.
    """
    from ..data.case_check import CaseProblem
    from ..data.check import check_dataset, check_path
    from ..data.dataset import find_dataset
    from ..errors import TrainingError, UsageError
    from ..model.needs import check_transfer
    from ..workflow import read

    if target.is_dir() and overrides:
        raise UsageError("--set changes a workflow; a folder has nothing to be changed")
    if not target.exists():
        raise UsageError(f"{target}: there is no such workflow file or folder")
    if target.is_dir():
        dataset, problems = check_path(target, catalogue, progress)
        return len(dataset.cases), problems
    workflow = read(target, catalogue, overrides)
    problems = []
    try:
        check_transfer(workflow)
    except TrainingError as error:
        problems.append(CaseProblem("transfer", "error", None, str(error)))
    dataset = find_dataset(workflow)
    return len(dataset.cases), [*problems, *check_dataset(dataset, catalogue, workflow, progress)]


def _show(target: Path, cases: int, problems: Sequence[CaseProblem]) -> None:
    """A table on a terminal, plain lines elsewhere; then one line that sums up."""
    if problems and sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("severity", "case", "problem", "code")
        for problem in problems:
            severity = Text(problem.severity, style=COLOURS[problem.severity])
            table.add_row(severity, Text(problem.case or ""), Text(problem.message), Text(problem.code))
        Console().print(table)
    else:
        for problem in problems:
            case = f"{problem.case}: " if problem.case else ""
            click.echo(f"{problem.severity}: {case}{problem.message} [{problem.code}]")
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = sum(problem.severity == "warning" for problem in problems)
    click.echo(f"{target}: {_count(cases, 'case')}, {_count(errors, 'error')}, {_count(warnings, 'warning')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
