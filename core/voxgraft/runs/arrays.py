"""What decides the content of a case's prepared arrays: the identity of the step `prepare`, less what other cases and
other steps are made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..datasets.cases import Case
from ..imaging.structures import Labels
from ..preprocessing.state import DataState
from ..support.files import digest
from .identity import decisive, facts_of
from .run import Run
from .steps.independent import ARRAYS, CASE, PLAN_OF_ARRAYS


class ArrayIdentity:
    """Of all cases of a run: what they have in common is looked at once."""

    def __init__(self, run: Run) -> None:
        plan = run.plan.model_dump(mode="json")
        facts = decisive(facts_of(run, ARRAYS), ARRAYS)
        self._state = DataState(run.catalogue, run.shared.contents)
        self._common = {
            "plan": {name: value for name, value in plan.items() if name not in PLAN_OF_ARRAYS},
            "made from": {fact.name: fact.value for fact in facts},
        }

    def of(self, case: Case, labels: Labels | None) -> dict[str, Any]:
        """Plain values that decide the arrays of a case.

        Args:
            labels: How its mask is read; None where it has none.
        """
        state = {name: value for name, value in self._state.of_case(case).items() if name not in CASE}
        return {**self._common, "case": state, "labels": digest(asdict(labels)) if labels is not None else None}
