"""The conformance suite: laws that every component of a kind keeps, for plugin authors and for VoxGraft's own tests.

    from voxgraft.testing import Subject, laws

    @pytest.mark.parametrize("law", laws("reader"), ids=str)
    def test_my_reader(law, tmp_path):
        law.check(Subject.of("reader", "rawgrid", sample=write_rawgrid), tmp_path)

`voxgraft plugins test NAME` runs the same laws from the command line.
"""

from __future__ import annotations

from .law import Law, NotApplicable, Outcome, Subject
from .suite import laws, try_laws

__all__ = ["Law", "NotApplicable", "Outcome", "Subject", "laws", "try_laws"]
