"""`voxgraft run`: do the steps of a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.progress import print_fitted, print_result
from . import PATH, json_option

if TYPE_CHECKING:
    from ..batch.task import Executor
    from ..components.catalogue import Catalogue
    from ..runs.run import Run
    from ..workflow.workflow import Workflow


@click.command()
@click.argument("workflows", metavar="WORKFLOW...", nargs=-1, required=True, type=PATH)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value, as in training.budget='5 min'."
)
@click.option(
    "--out",
    type=PATH,
    help="Folder of the run, by default runs/NAME; with several workflows the folder for all runs, by default runs.",
)
@click.option("--steps", help="Do only these steps, as in plan,prepare.")
@click.option("--resume/--fresh", default=True, help="Resume an earlier run (the default), or start again.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Number of folds, repeats or workflows to train side by side, each in a process with its own GPU or "
    "a share of the cores; by default one after the other.",
)
@click.option("--executor", help="What trains them: local (the default), ray, or ray://HOST:PORT for a Ray cluster.")
@click.option("--dry-run", is_flag=True, help="Check, plan and estimate; train nothing, write nothing.")
@json_option
def run(
    workflows: tuple[Path, ...],
    overrides: tuple[str, ...],
    out: Path | None,
    steps: str | None,
    resume: bool,
    workers: int | None,
    executor: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the steps of WORKFLOW: from labelled images to a registered model.

    Steps whose inputs have not changed are skipped, and an interrupted training continues from its last checkpoint.
    Several workflows, such as variants to compare, become separate runs.
    """
    from ..discovery import discover
    from ..training.team import follow, leading, team_of

    team = team_of()
    if team is not None and team.rank > 0:
        if not dry_run:
            follow(team)
        return
    from ..errors import UsageError
    from ..workflow.workflow import read

    catalogue = discover()
    checked, *others = (read(workflow, catalogue, overrides) for workflow in workflows)
    folder = out or Path("runs") / checked.name
    wanted = [step.strip() for step in steps.split(",") if step.strip()] if steps is not None else None
    if wanted == []:
        raise UsageError("--steps names no step; leave it out to do all of them")
    if others:
        if dry_run or team is not None:
            raise UsageError(f"{'--dry-run' if dry_run else team and team.launcher} takes one workflow")
        spread = _executor(checked, catalogue, executor, workers or 1)
        assert spread is not None
        _compared([checked, *others], catalogue, out or Path("runs"), spread, wanted, not resume, as_json)
        return
    if dry_run:
        _estimate(checked, catalogue, as_json)
        return
    from ..runs.engine import run_workflow

    spread = _executor(checked, catalogue, executor, workers)
    if team is not None and spread is not None:
        raise UsageError(
            f"--executor spreads trainings, each by itself; {team.launcher} makes its processes share each"
        )
    with leading(team):
        done = run_workflow(checked, catalogue, folder, steps=wanted, fresh=not resume, executor=spread)
    _tell(done, as_json)


def _estimate(checked: Workflow, catalogue: Catalogue, as_json: bool) -> None:
    """Print what a run would do and take."""
    import json

    from ..runs.dryrun import dry_run

    document = dry_run(checked, catalogue)
    if as_json:
        print_result(json.dumps(document, indent=2))
    else:
        width = max(map(len, document))
        print_fitted("\n".join(f"{name:{width}}  {value}" for name, value in document.items()))


def _tell(done: Run, as_json: bool) -> None:
    """Print what a run left, and what to do next."""
    import json
    import shlex

    from ..support.texts import legible

    if as_json:
        package = str(done.package) if done.package.exists() else None
        print_result(
            json.dumps({"run": str(done.folder), "package": package, "remarks": done.remarks, **done.identity})
        )
    else:
        messages = [f"the model is in {done.package}"] if done.package.exists() else []
        print_fitted("; ".join([f"{done.folder}: done", *messages, *done.remarks]))
        if done.package.exists() and done.workflow.supervised:
            click.echo(f"next: voxgraft segment {legible(shlex.quote(str(done.package)))} SCANS --out BATCH")
        elif done.package.exists():
            weights = (done.package / "model.safetensors").as_posix()
            print_fitted(f"next: a workflow for cases with masks, with model.encoder.weights: file:{weights}")


def _compared(
    workflows: list[Workflow],
    catalogue: Catalogue,
    root: Path,
    executor: Executor,
    steps: list[str] | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Do several workflows side by side, and say where they are."""
    import json
    import shlex

    from ..runs.members import compare_workflows
    from ..support.texts import legible

    folders = compare_workflows(workflows, catalogue, root, executor, steps, fresh)
    if as_json:
        print_result(json.dumps({"runs": [str(folder) for folder in folders]}))
    else:
        click.echo(f"next: voxgraft compare {' '.join(legible(shlex.quote(str(folder))) for folder in folders)}")


def _executor(checked: Workflow, catalogue: Catalogue, name: str | None, workers: int | None) -> Executor | None:
    """What trains members side by side, where that was asked for; never threads, which share torch's state."""
    if name is None and workers is None:
        return None
    from ..batch.segment import executor_of
    from ..errors import UsageError

    if name == "threads":
        raise UsageError("members are trained in processes, not in threads; leave out --executor threads")
    kind = "processes" if name in (None, "local") else name
    return executor_of(str(kind), catalogue, workers=workers, device=checked.training.device, alone=True)
