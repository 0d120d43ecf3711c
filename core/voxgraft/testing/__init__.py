"""Conformance checks of every kind of component, for plugin authors and for VoxGraft's own tests.

    from voxgraft.testing import Subject, conformance_checks

    @pytest.mark.parametrize("check", conformance_checks("reader"), ids=str)
    def test_my_reader(check, tmp_path):
        check.run(Subject.of("reader", "rawgrid", sample=write_rawgrid), tmp_path)

`voxgraft plugins test NAME` runs the same checks from the command line.
"""

from __future__ import annotations

from .conformance import ConformanceCheck, NotApplicable, Outcome, Subject
from .suite import conformance_checks, run_checks

__all__ = ["ConformanceCheck", "NotApplicable", "Outcome", "Subject", "conformance_checks", "run_checks"]
