"""The step `check`: refuse a data set that would waste hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...checks.dataset import check_dataset
from ...checks.problem import CaseProblem, grouped
from ...errors import DataError
from ...support.texts import counted
from ...workflow.requirements import check_start, check_transfer
from ..run import Run


class Check:
    """Judge the data set; errors stop the run, warnings and notes are kept."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "check.json"]

    def do(self, run: Run) -> None:
        check_transfer(run.workflow, run.models)
        check_start(run.workflow, run.models)
        findings = check_dataset(run.dataset, run.reading, run.workflow, run.progress, run.folder)
        run.write("check.json", findings.document())
        for problem, cases in grouped([problem for problem in findings.problems if problem.severity != "note"]):
            run.progress.say(f"check: {problem.severity}: {cases + ': ' if cases else ''}{problem.message}")
        if not findings.ok:
            run.folder.joinpath("steps", "check.json").unlink(missing_ok=True)
            first = findings.errors[0]
            hint = f"; {first.fix}" if first.fix else ""
            raise DataError(
                f"the data set has {counted(len(findings.errors), 'error')}, the first: {_named(first)}{hint} "
                f"(all are in {run.folder / 'check.json'})"
            )


def _named(problem: CaseProblem) -> str:
    return f"{problem.case}: {problem.message}" if problem.case else problem.message
