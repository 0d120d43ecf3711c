"""A model that finds nothing of a structure, or no more than an empty mask, is worth nothing for it."""

from __future__ import annotations

import pytest

from voxgraft.scoring.pair import Counts
from voxgraft.scoring.scores import Scores
from voxgraft.scoring.worth import learnt_nothing, never_found, summed_up, worthless


def scores(*cases: dict[str, tuple[int, int, int, int]], regions: tuple[str, ...] = ()) -> Scores:
    """Cases of (tp, fp, fn, tn) for each structure."""
    rows = {f"c{n}": {name: Counts(*one) for name, one in case.items()} for n, case in enumerate(cases)}
    values = {case: {"dice": dict.fromkeys(row, 0.5)} for case, row in rows.items()}
    return Scores.of(values, counts=rows, regions=regions)


FOUND, MISSED, ABSENT = (80, 10, 10, 900), (0, 0, 90, 910), (0, 0, 0, 1000)


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([{"a": FOUND}], ""),
        ([{"a": FOUND, "b": MISSED}], "the model finds nothing of 'b' in the 1 held-out case with it"),
        ([{"a": FOUND}, {"a": MISSED}], ""),
        ([{"a": FOUND, "b": ABSENT}], ""),
        ([{"a": (0, 50, 90, 860)}], "the model is no better than an empty mask for 'a' (Dice 0.0000)"),
        ([{"a": (3, 200, 90, 707)}], "the model is no better than an empty mask for 'a' (Dice 0.0203)"),
        ([{"a": (3, 2, 120, 875)}], ""),  # little, and hardly anything wrong
        ([{"a": (20, 80, 20, 880)}], ""),  # more wrong than right, and yet much found
        ([{"a": ABSENT}], "the model was judged by no held-out case: none of them holds a structure"),
        ([{"a": MISSED, "b": MISSED, "c": MISSED}], "the model finds nothing of 'a'"),
    ],
)
def test_what_a_model_is_worth_is_one_sentence(cases, said) -> None:
    found = summed_up(worthless(scores(*cases)))
    assert found.startswith(said) if said else found == ""
    if len(cases[0]) == 3:
        assert found.endswith("and the same holds for 2 other structures")


def test_without_counts_nothing_is_said_and_regions_are_not_judged() -> None:
    assert worthless(Scores.of({"c": {"dice": {"a": 0.0}}})) == []
    assert worthless(scores({"a": FOUND, "whole": MISSED}, regions=("whole",))) == []


def test_a_mask_of_all_voxels_has_learnt_nothing() -> None:
    """A structure of 40 % of the voxels: marking everything has Dice 0.57."""
    assert learnt_nothing(scores({"a": (400, 600, 0, 0)})) and not learnt_nothing(scores({"a": (300, 50, 100, 550)}))
    assert learnt_nothing(scores({"a": (1, 60, 90, 849)})) and not learnt_nothing(scores({"a": FOUND, "b": MISSED}))
    assert not learnt_nothing(scores({"a": ABSENT})), "what no reference holds says nothing of learning"


def test_structures_that_no_run_finds_are_named() -> None:
    one, other = scores({"a": FOUND, "b": MISSED, "c": MISSED}), scores({"a": MISSED, "b": MISSED, "c": FOUND})
    assert never_found(one) == ["b", "c"] and never_found(one, other) == ["b"]
