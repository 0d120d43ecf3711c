"""Conformance checks of every kind of component, for plugin authors and for VoxGraft's own tests.

    from voxgraft.testing import Subject, conformance_checks

    @pytest.mark.parametrize("check", conformance_checks("reader"), ids=str)
    def test_my_reader(check, tmp_path):
        check.run(Subject.of("reader", "rawgrid", sample=write_rawgrid), tmp_path)

`voxgraft plugins test NAME` runs the same checks from the command line.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..hookspecs import KINDS
from .conformance import CHECKS, ConformanceCheck, NotApplicable, Outcome, Subject

__all__ = ["ConformanceCheck", "NotApplicable", "Outcome", "Subject", "conformance_checks", "run_checks"]


_MODULES = {
    "reader": "readers",
    "writer": "writers",
    "layout": "layouts",
    "modality": "modalities",
    "encoder": "networks",
    "decoder": "networks",
    "strategy": "strategies",
    "loss": "scores",
    "metric": "scores",
    "measurement": "scores",
    "step": "runs",
    "tracker": "runs",
    "store": "stores",
    "executor": "executors",
    "command": "commands",
}
"""The module that holds the checks of a kind; every kind has the checks of specs besides."""


def conformance_checks(kind: str) -> tuple[ConformanceCheck, ...]:
    """The checks for components of that kind.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    for module in ("specs", _MODULES[kind]):
        import_module(f".{module}", __package__)
    return (*CHECKS["spec"], *CHECKS[kind])


def run_checks(subject: Subject, folder: Path) -> list[Outcome]:
    """Run every check, each in an empty folder below `folder`; a failed one does not keep the others from being run."""
    outcomes = []
    for number, check in enumerate(conformance_checks(subject.spec.kind), 1):
        place = folder / f"check-{number:02}"
        place.mkdir(parents=True)
        try:
            check.run(subject, place)
        except NotApplicable as reason:
            outcomes.append(Outcome(check.text, "skipped", str(reason)))
        except Exception as error:  # a plugin under test may fail in any way
            said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            outcomes.append(Outcome(check.text, "failed", said))
        else:
            outcomes.append(Outcome(check.text, "passed"))
    return outcomes
