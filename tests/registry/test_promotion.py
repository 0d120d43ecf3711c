"""The rule of promotion: worse only when shown to be worse, on the same cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from voxgraft_registry.promotion import compare, held_out


def facts(values: dict[str, float], data: str = "", summary: float | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "held_out": {case: {"data": data, "scores": {"dice": {"a": value}}} for case, value in values.items()}
    }
    if summary is not None:
        document["scores"] = {"dice": {"mean": {"mean": summary}}}
    return document


def many(mean: float, noise: float = 0.02, cases: int = 30, seed: int = 0) -> dict[str, float]:
    draw = np.random.default_rng(seed).normal(mean, noise, cases)
    return {f"case{index}": float(value) for index, value in enumerate(draw)}


def test_a_clear_loss_is_worse_and_a_clear_gain_is_not() -> None:
    better, worse = facts(many(0.9)), facts(many(0.85, seed=1))
    verdict = compare(worse, better, "dice", higher_is_better=True)
    assert verdict.worse and verdict.cases == 30 and verdict.ci95 is not None
    assert verdict.ci95[0] < verdict.difference < verdict.ci95[1] < 0  # type: ignore[operator]
    assert not compare(better, worse, "dice", higher_is_better=True).worse


def test_where_less_is_better_the_sides_change() -> None:
    high, low = facts(many(0.9)), facts(many(0.85, seed=1))
    assert compare(high, low, "dice", higher_is_better=False).worse
    assert not compare(low, high, "dice", higher_is_better=False).worse


def test_a_difference_within_noise_is_not_worse() -> None:
    values = many(0.9)
    noisy = {case: value + (-1) ** index * 0.03 - 0.001 for index, (case, value) in enumerate(values.items())}
    verdict = compare(facts(noisy), facts(values), "dice", higher_is_better=True)
    assert not verdict.worse and verdict.difference == pytest.approx(-0.001)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    """The bootstrap's interval of a mean comes close to the textbook's for 200 well-behaved differences."""
    rng = np.random.default_rng(3)
    base = {f"c{index}": 0.5 for index in range(200)}
    shifted = {case: value + float(rng.normal(0.01, 0.05)) for case, value in base.items()}
    differences = np.array(list(shifted.values())) - 0.5
    verdict = compare(facts(shifted), facts(base), "dice", higher_is_better=True)
    half = 1.972 * differences.std(ddof=1) / np.sqrt(200)
    assert verdict.ci95 == pytest.approx((differences.mean() - half, differences.mean() + half), abs=5e-4)


def test_the_same_comparison_gives_the_same_numbers() -> None:
    new, old = facts(many(0.9)), facts(many(0.9, seed=1))
    assert compare(new, old, "dice", higher_is_better=True) == compare(new, old, "dice", higher_is_better=True)


def test_few_common_cases_are_compared_by_their_mean() -> None:
    old = {"a": 0.8, "b": 0.9}
    lower = compare(facts({"a": 0.79, "b": 0.9, "c": 1.0}), facts(old), "dice", higher_is_better=True)
    assert lower.worse and lower.cases == 2 and lower.ci95 is None and "too few" in lower.reason
    assert not compare(facts(old), facts(old), "dice", higher_is_better=True).worse


def test_cases_of_one_id_and_other_files_are_not_common() -> None:
    new, old = facts(many(0.9), "site A", 0.9), facts(many(0.95), "site B", 0.95)
    verdict = compare(new, old, "dice", higher_is_better=True)
    assert verdict.cases == 0 and verdict.worse and "no held-out case is common" in verdict.reason
    assert verdict.difference == pytest.approx(-0.05)


def test_without_a_score_of_the_champion_a_person_decides() -> None:
    verdict = compare(facts(many(0.9), summary=0.9), {}, "dice", higher_is_better=True)
    assert verdict.worse and "champion has no score" in verdict.reason
    assert compare({}, {}, "dice", higher_is_better=True).worse


@pytest.mark.parametrize("broken", [{"held_out": [1]}, {"held_out": {"a": 1}}, {"scores": 3}, {"scores": {"dice": 1}}])
def test_a_manifest_that_makes_no_sense_is_as_one_without_scores(broken: dict[str, Any]) -> None:
    assert "no score" in compare(facts({"a": 0.9}, summary=0.9), broken, "dice", higher_is_better=True).reason


def test_what_is_kept_of_scores_is_each_structure_of_each_case() -> None:
    scores = {
        "cases": {
            "a": {"dice": {"left": 0.8, "right": 0.6, "mean": 0.7}, "hd95": {"left": None, "right": float("nan")}},
            "b": {"dice": {"left": 1.0, "right": None}},
        },
        "groups": {"a": 3},
        "counts": {"a": {"left": [1, 2, 3, 4]}},
    }
    assert held_out(scores, {"a": "hash"}) == {
        "a": {
            "data": "hash",
            "patient": 3,
            "scores": {"dice": {"left": 0.8, "right": 0.6}, "hd95": {"left": None, "right": None}},
            "counts": {"left": [1, 2, 3, 4]},
        },
        "b": {"data": "", "patient": None, "scores": {"dice": {"left": 1.0, "right": None}}, "counts": {}},
    }


def rows(values: list[tuple[float | None, float | None]], counts: list[int] | None = None) -> dict[str, Any]:
    """A manifest of cases with two structures; of the second perhaps voxel counts."""
    return {
        "held_out": {
            f"case{index}": {"scores": {"dice": {"a": a, "b": b}}, **({"counts": {"b": counts}} if counts else {})}
            for index, (a, b) in enumerate(values)
        }
    }


def test_versions_are_compared_on_the_structures_that_both_have_a_value_for() -> None:
    """The champion was scored on a difficult structure as well: its mean over all structures is lower, and no worse."""
    champion, new = rows([(0.9, 0.3)] * 8), rows([(0.85, None)] * 8)
    verdict = compare(new, champion, "dice", higher_is_better=True)
    assert verdict.worse and verdict.difference == pytest.approx(-0.05)


def test_finding_nothing_where_there_is_nothing_is_right() -> None:
    """No reference holds b: the champion finds some in every case (Dice 0), the new version none (no Dice)."""
    champion, new = rows([(0.9, 0.0)] * 8, [0, 7, 0, 93]), rows([(0.9, None)] * 8, [0, 0, 0, 100])
    assert compare(new, champion, "dice", higher_is_better=True).difference == pytest.approx(0.5)
    verdict = compare(champion, new, "dice", higher_is_better=True)
    assert verdict.worse and verdict.difference == pytest.approx(-0.5)


def test_the_scans_of_one_patient_count_as_one() -> None:
    """Thirty scans of three patients are not thirty proofs."""
    new, old = facts(many(0.85)), facts(many(0.9, seed=1))
    for index, case in enumerate(new["held_out"].values()):
        case["patient"] = index % 3
    verdict = compare(new, old, "dice", higher_is_better=True)
    assert verdict.cases == 30 and verdict.ci95 is None
    for index, case in enumerate(new["held_out"].values()):
        case["patient"] = index % 10
    assert compare(new, old, "dice", higher_is_better=True).ci95 is not None
