"""`voxgraft check`: what is wrong with a data set or a workflow."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.progress import print_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..checks.dataset import Findings
    from ..checks.problem import CaseProblem
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Dataset
    from ..packages.references import Resolver
    from ..support.progress import Progress
    from ..workflow.workflow import Workflow

COLOURS = {"error": "red", "warning": "yellow", "repair": "cyan", "note": "white"}


@click.command()
@click.argument("target", metavar="WORKFLOW|FOLDER", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the workflow.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def check(target: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with a workflow and its data, or with a folder of images, before you spend hours training.

    A folder may have the layout of any installed plugin (see `voxgraft plugins list`), or be any tree of images. Ends
    with code 1 where there are errors.
    """
    from ..checks.dataset import Findings
    from ..checks.problem import CaseProblem
    from ..discovery import discover
    from ..errors import DataError
    from ..support.progress import Progress

    try:
        findings = _check(target, overrides, discover(), Progress(quiet=as_json))
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


def _check(target: Path, overrides: tuple[str, ...], catalogue: Catalogue, progress: Progress) -> Findings:
    """Judge a workflow with its data, or a folder.

    Raises:
        DataError: The data set's layout cannot be read.
        UsageError: There is neither a folder nor a workflow file, or the workflow does not fit.
    """
    from dataclasses import replace

    from ..checks.dataset import check_dataset, check_path
    from ..checks.problem import CaseProblem
    from ..datasets.dataset import find_dataset
    from ..errors import DataError, ModelError, TrackingError, TrainingError, UsageError
    from ..packages.references import Resolver
    from ..workflow.requirements import channels_of, check_start, check_transfer
    from ..workflow.workflow import read

    if target.is_dir() and overrides:
        raise UsageError("--set changes a workflow; a folder has nothing to be changed")
    if not target.exists():
        raise UsageError(f"{target}: there is no such workflow file or folder")
    if target.is_dir():
        dataset, findings = check_path(target, catalogue, progress)
        return _traced(dataset, findings, Path("voxgraft-cases.csv"))
    workflow = read(target, catalogue, overrides)
    readers = catalogue.with_options("reader", workflow.data.reader_options)
    models = Resolver(readers, workflow.place)
    dataset = find_dataset(workflow.data, readers, supervised=workflow.supervised, channels=channels_of(workflow))
    first: list[CaseProblem] = []
    judges = (("transfer", check_transfer), ("weights", check_start), ("transfer", partial(_check_beside, dataset)))
    for code, judge in judges:
        try:
            judge(workflow, models)
        except (DataError, TrainingError, ModelError, TrackingError) as error:
            first.append(CaseProblem(code, "error", None, str(error)))
    findings = check_dataset(dataset, readers, workflow, progress)
    findings = replace(findings, problems=(*first, *findings.problems))
    return _traced(dataset, findings, Path("runs", workflow.name, "cases.csv"))


def _traced(dataset: Dataset, findings: Findings, target: Path) -> Findings:
    """Write the local list of cases beside the check, where their names are hashes; its place is among the figures."""
    from dataclasses import replace

    from ..datasets.case_list import is_traced, write_trace

    if not is_traced(dataset):
        return findings
    try:
        write_trace(target, dataset)
    except OSError as error:
        click.echo(f"note: {target}: the list of where each case lies cannot be written: {error.strerror}", err=True)
        return findings
    return replace(findings, figures={**findings.figures, "list": str(target)})


def _check_beside(dataset: Dataset, workflow: Workflow, models: Resolver) -> None:
    """Refuse a workflow whose strategies learn from scans that are not there.

    Raises:
        DataError: There are no scans without labels, no source, or another data set cannot be read.
    """
    from ..checks.patients import find_split
    from ..datasets.companions import assign_roles, read_companions
    from ..runs.steps.plan import limited
    from ..workflow.requirements import roles_of

    split, _ = find_split(dataset, workflow)
    if split is not None:
        labelled = [case for case in dataset.cases if case.label is not None]
        assign_roles(
            roles_of(workflow),
            dataset,
            read_companions(workflow.data, models.catalogue),
            limited(split, labelled, workflow.data.limit, workflow.data.split.seed),
        )


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
        click.echo(line)
    click.echo(f"{target}: {_verdict(findings)}")
    if findings.ok:
        import shlex

        from ..support.texts import legible

        click.echo(f"next: voxgraft {'new' if target.is_dir() else 'run'} {legible(shlex.quote(str(target)))}")


def _figures(findings: Findings) -> Iterator[str]:
    """What was measured: how the structures are balanced, and what a run needs."""
    from ..checks.problem import listed
    from ..support.memory import gigabytes

    rows = findings.figures.get("structures") or ()
    if rows:
        shares = (f"{row['name'] or row['value']} {row['share']:.2%} in {row['masks']}" for row in rows)
        yield f"structures (share of voxels, masks): {listed(shares, 6)}"
    if "list" in findings.figures:
        yield f"where each case lies, as the scanner called it: {findings.figures['list']} (for you alone to read)"
    needed = findings.figures.get("room") or {}
    needs = [
        f"{gigabytes(needed[what])} of {name} ({gigabytes(needed[f'{what}_free'])} free)"
        for what, name in (("memory", "memory"), ("disk", "disk"))
        if what in needed
    ]
    if needs:
        yield f"preparing takes about {' and '.join(needs)}"


def _verdict(findings: Findings) -> str:
    from ..support.texts import counted

    severities = [problem.severity for problem in findings.problems]
    counts = ", ".join(counted(severities.count(name), name) for name in ("error", "warning"))
    notes = severities.count("note")
    end = "ready" if findings.ok and "warning" not in severities else "ready, but look at the warnings"
    end = end if findings.ok else "not ready: fix the errors first"
    more = f", {counted(notes, 'note')}" if notes else ""
    return f"{counted(findings.cases, 'case')}, {counts}{more}; {end}"
