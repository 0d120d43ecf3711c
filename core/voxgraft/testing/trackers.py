"""Conformance checks of trackers: a run is kept from start to end, and nothing that is said of it stops it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..components.choice import TrackingOptions
from ..runs.run import Run
from .conformance import ConformanceCheck, NotApplicable, Subject, require
from .small_run import small_run, small_workflow


def _a_run_is_kept_from_start_to_end(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    before = _documents(run)
    tracker = _started(subject, run)
    tracker.params({"training": {"budget": "2 steps", "patch": [16, 16]}, "note": "größer als 画像", "none": None})
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (1 + step), "dice.left kidney": 0.5}, step)
    tracker.tags({"guard": "helps"})
    tracker.file(run.folder / "environment.json", "notes")
    tracker.finish("FINISHED")
    changed = [name for name, content in before.items() if _documents(run).get(name) != content]
    require(not changed, f"it changes what the run left in {', '.join(changed)}")


def _finishing_twice_is_finishing(subject: Subject, folder: Path) -> None:
    tracker = _started(subject, _run(subject, folder))
    tracker.finish("FINISHED")
    tracker.finish("FINISHED")


def _a_run_goes_on(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    for status in ("KILLED", "FAILED", "FINISHED"):
        tracker = _started(subject, run)
        tracker.metrics({"loss": 1.0}, 7)
        tracker.finish(status)


def _numbers_that_are_not_finite_stop_nothing(subject: Subject, folder: Path) -> None:
    tracker = _started(subject, _run(subject, folder))
    tracker.metrics({"loss": math.nan, "best": math.inf, "worst": -math.inf, "huge": 1e300}, 0)
    tracker.finish("FINISHED")


def _odd_names_stop_nothing(subject: Subject, folder: Path) -> None:
    run = _run(subject, folder)
    tracker = _started(subject, run)
    odd = run.folder / "Bericht (größer).json"
    odd.write_text("{}", encoding="utf-8")
    tracker.file(odd)
    tracker.metrics({}, 0)
    tracker.params({})
    tracker.finish("FINISHED")


def _run(subject: Subject, folder: Path) -> Run:
    options = subject.chosen.options
    if isinstance(options, TrackingOptions) and options.uri is None:
        raise NotApplicable("name a place to try it at: --option uri=...")
    return small_run(subject, folder, small_workflow(subject, folder, ["check"]))


def _started(subject: Subject, run: Run) -> Any:
    tracker = subject.build()
    tracker.start(run)
    return tracker


def _documents(run: Run) -> dict[str, bytes]:
    return {name: (run.folder / name).read_bytes() for name in ("workflow.yaml", "environment.json")}


CHECKS = {
    "tracker": [
        ConformanceCheck("a run is kept from start to end, and left as it is", _a_run_is_kept_from_start_to_end),
        ConformanceCheck("a run may be finished twice", _finishing_twice_is_finishing),
        ConformanceCheck("a run that was ended goes on", _a_run_goes_on),
        ConformanceCheck("numbers that are not finite stop nothing", _numbers_that_are_not_finite_stop_nothing),
        ConformanceCheck("nothing to keep, and odd names of files, stop nothing", _odd_names_stop_nothing),
    ]
}
