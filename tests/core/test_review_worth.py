"""What a review tells of a model: what was changed, charts that see a change and seldom cry wolf, and the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reviewed_batch import add_scan, boxes, decide, make_scan, redraw

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.worth.charts import Chart, charts_of, decision_for
from voxgraft.review.worth.charts_page import charts_page
from voxgraft.review.worth.comparing import KEPT, Comparisons
from voxgraft.review.worth.control import (
    BASELINE,
    WESTERN_ELECTRIC,
    cusum,
    individuals_limits,
    rank_scores,
    run_rules,
    share_limits,
)
from voxgraft.review.worth.facts import Fact, facts_of
from voxgraft.review.worth.snapshot import take_snapshot
from voxgraft.review.worth.summary import alarms_of, summary_and_charts, summary_of


def fact(number: int, dice: float | None, **changes: Any) -> Fact:
    verdict = "accepted" if dice in (None, 1.0) else "corrected"
    known = {"model": "organs", "model_version": "3", "model_hash": "a", "scanner": "S", "seconds": 30.0}
    when = f"2026-11-{1 + number // 1000:02d}T{number:09d}"
    row = {"case": f"case-{number:04d}", "structure": "liver", "reader": "anna", "when": when, "verdict": verdict}
    return Fact(**{**row, **known, "dice": dice, "surface_dice": dice, **changes})


def chart(charts: list[Chart], measure: str, by: str = "structure", group: str = "") -> Chart:
    return next(one for one in charts if (one.measure.name, one.by, one.group) == (measure, by, group))


def test_limits_are_the_mean_and_the_moving_range() -> None:
    limits = individuals_limits([10.0, 12.0, 11.0, 13.0])
    assert limits.centre == 11.5
    assert limits.sigma == pytest.approx((2 + 1 + 2) / 3 / 1.128)


@pytest.mark.parametrize(
    ("values", "rule", "side"),
    [
        ([4.0], "beyond 3 sigma", "higher"),
        ([-2.5, 0.0, -2.5], "2 of 3 beyond 2 sigma", "lower"),
        ([1.5, 1.5, 0.0, 1.5, 1.5], "4 of 5 beyond 1 sigma", "higher"),
        ([0.2] * 8, "8 on one side", "higher"),
    ],
)
def test_the_zone_tests_of_western_electric(values: list[float], rule: str, side: str) -> None:
    still = [0.564, -0.564] * (BASELINE // 2)  # moving ranges of 1.128, so that sigma is 1
    (signal,) = run_rules(still + values, WESTERN_ELECTRIC)
    assert (signal.rule, signal.side, signal.index) == (rule, side, BASELINE + len(values) - 1)


def test_a_chart_says_nothing_of_its_first_cases() -> None:
    wild = [float(value) for value in np.random.default_rng(1).normal(size=BASELINE)]
    for signals in (run_rules(wild), cusum(rank_scores(wild), 0.4, 1.0)):
        assert signals == []


def test_ranks_do_not_depend_on_the_scale_and_are_standard_while_nothing_changes() -> None:
    values = np.random.default_rng(2).lognormal(sigma=2, size=3000)
    scores = np.array(rank_scores(values.tolist()))
    assert np.allclose(scores, rank_scores(np.log(values).tolist()))
    assert abs(scores.mean()) < 0.05
    assert abs(scores.std() - 1) < 0.05
    assert abs(np.corrcoef(scores[1:], scores[:-1])[0, 1]) < 0.05


def test_equal_values_say_nothing() -> None:
    assert rank_scores([1.0] * 50) == [0.0] * 50


def test_readers_who_take_turns_are_no_change() -> None:
    rng = np.random.default_rng(3)
    readers = ["strict" if (number // 25) % 2 else "lenient" for number in range(400)]
    values = [float(rng.normal(0.8 if reader == "strict" else 0.95, 0.02)) for reader in readers]
    assert cusum(rank_scores(values, readers), 0.4, 6.5) == []
    assert len(cusum(rank_scores(values), 0.4, 6.5)) > 3


def test_a_planted_change_is_seen_soon_and_dated_well() -> None:
    rng = np.random.default_rng(4)
    error = np.r_[rng.lognormal(-3, 0.6, 100), rng.lognormal(-2, 0.6, 60)]
    facts = [fact(number, 1.0 - min(1.0, value)) for number, value in enumerate(error)]
    found = chart(charts_of(facts), "dice")
    first = found.alarms[0]
    assert first.side == "lower"
    assert 100 <= first.index <= 120
    assert abs(first.since - 100) <= 6
    message = found.sentence(first)
    assert "liver: Dice-to-edit has become lower (worse)" in message
    assert found.points[first.index].case in message


def test_false_alarms_are_few_without_a_change() -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(10):
        error = rng.lognormal(-3, 0.8, 1000)
        values = np.where(error < 0.04, 1.0, 1.0 - np.minimum(error, 1)).tolist()
        alarms += len(cusum(rank_scores(values), 0.4, 6.5))
    assert alarms <= 25  # about 1.2 in 1,000


def test_more_structures_do_not_cry_wolf_more_often() -> None:
    assert decision_for(1) == 6.5
    assert decision_for(30) == pytest.approx(6.5 + np.log(30) / 0.8)


def test_charts_are_by_structure_version_and_scanner() -> None:
    facts = [
        fact(number, 0.9, scanner="A" if number % 2 else "B", model_version="3" if number < 30 else "4")
        for number in range(60)
    ]
    charts = charts_of(facts)
    assert {(one.by, one.group) for one in charts} == {
        ("structure", ""),
        ("model", "organs 3"),
        ("model", "organs 4"),
        ("scanner", "A"),
        ("scanner", "B"),
    }
    assert len(chart(charts, "dice", "scanner", "A").points) == 30
    assert chart(charts, "dice").baseline == pytest.approx({"n": 20, "median": 0.9, "low": 0.9, "high": 0.9})


def test_undefined_values_are_in_no_chart_and_never_averaged() -> None:
    facts = [fact(number, None if number % 2 else 0.8) for number in range(10)]
    assert len(chart(charts_of(facts), "dice").points) == 5
    assert len(chart(charts_of(facts), "accepted").points) == 10


def test_an_adjudicator_and_what_was_not_assessable_are_in_no_chart() -> None:
    facts = [fact(1, 0.9), fact(2, 0.8, role="adjudicator"), fact(3, None, verdict="not-assessable")]
    assert [one.case for one in chart(charts_of(facts), "accepted").points] == ["case-0001"]


def test_limits_of_shares_allow_for_a_baseline_of_twenty() -> None:
    low, high = share_limits(14, 20, 20, 0.00135)
    assert (low, high) == (5, 20)
    assert share_limits(10, 20, 20, 0.00135) == (2, 18)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """Four scans: accepted, corrected, rejected in part, and read by two."""
    folder = tmp_path_factory.mktemp("worth")
    out = folder / "out"
    out.mkdir()
    for number in range(5):
        source = make_scan(folder / f"scan_{number}.nii.gz", catalogue, number)
        mask = boxes() if number != 3 else np.where(boxes() == 2, 0, boxes())
        add_scan(out, source, mask, catalogue)
    store = ReviewStore(out, catalogue)
    decide(store, "scan_0")
    redraw(store, "scan_1", "anna", boxes(2))
    decide(store, "scan_1", verdicts={"liver": "accepted", "spleen": "corrected"}, seconds=60)
    decide(store, "scan_2", verdicts={"liver": "accepted", "spleen": "rejected"})
    store.decide("scan_3", "anna", structure="", verdict="accepted", mask=store.seen("scan_3", "anna").mask, seconds=5)
    decide(store, "scan_1", "bert")
    store.close()
    return out


def test_facts_tell_what_was_changed(batch: Path, catalogue: Catalogue) -> None:
    snapshot = take_snapshot(batch, catalogue)
    facts = {(one.case, one.structure, one.reader): one for one in facts_of(snapshot, Comparisons(snapshot))}
    corrected = facts["scan_1", "spleen", "anna"]
    assert corrected.dice == pytest.approx(4 / 6)
    assert corrected.surface_dice == pytest.approx(1.0)
    assert corrected.ml_before == corrected.ml_after == pytest.approx(6 * 6 * 5 * 0.003)
    assert facts["scan_1", "liver", "anna"].dice == 1.0
    assert facts["scan_1", "spleen", "bert"].dice == 1.0
    assert facts["scan_2", "spleen", "anna"].dice is None
    assert facts["scan_2", "spleen", "anna"].reason == "boundary wrong"
    empty = facts["scan_3", "spleen", "anna"]
    assert (empty.dice, empty.verdict, empty.problem) == (None, "accepted", "")
    assert ("scan_4", "liver", "anna") not in facts


def test_a_summary_is_strict_json_and_counts_what_is_not_defined(batch: Path, catalogue: Catalogue) -> None:
    found = summary_of(take_snapshot(batch, catalogue), points=True)
    json.dumps(found, allow_nan=False)
    assert found["scans"] == {"total": 5, "reviewed": 4, "started": 0, "open": 1}
    assert found["decisions"]["total"] == 10
    assert found["decisions"]["corrected"] == 1
    assert found["reasons"] == {"boundary wrong": 1}
    spleen = found["structures"]["spleen"]["dice"]
    assert (spleen["n"], spleen["undefined"]) == (3, 1)
    assert spleen["mean"] == pytest.approx((1 + 1 + 4 / 6) / 3)
    assert found["seconds_per_scan"]["n"] == 5
    assert found["agreement"]["spleen"]["dice_mean"] == pytest.approx(4 / 6)
    assert found["audit"]["whole"]
    assert found["problems"] == []


def test_what_was_measured_outlives_the_masks(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    summary_of(take_snapshot(batch, catalogue))
    assert (batch / "review" / KEPT).is_file()
    mask = batch / "review/masks/scan_1/anna.nii.gz"
    kept = mask.read_bytes()
    try:
        mask.unlink()
        snapshot = take_snapshot(batch, catalogue)
        dice = [one.dice for one in facts_of(snapshot, Comparisons(snapshot)) if one.verdict == "corrected"]
        assert dice == [pytest.approx(4 / 6)]
        (batch / "review" / KEPT).write_text('{"masks": {"x": {"spleen": ["a", 1, 2, 3]}}, "scanners": {}}')
        assert "not the mask that was decided about" in summary_of(snapshot)["problems"][0]
    finally:
        mask.write_bytes(kept)
        (batch / "review" / KEPT).unlink(missing_ok=True)


def test_a_batch_that_nobody_reviewed_has_a_summary(tmp_path: Path, catalogue: Catalogue) -> None:
    add_scan(tmp_path / "out", make_scan(tmp_path / "scan.nii.gz", catalogue), boxes(), catalogue)
    found = summary_of(take_snapshot(tmp_path / "out", catalogue))
    assert found["scans"] == {"total": 1, "reviewed": 0, "started": 0, "open": 1}
    assert found["decisions"]["shares"]["accepted"] is None
    assert found["charts"] == found["alarms"] == []
    assert not (tmp_path / "out/review").exists()


def test_a_folder_without_a_batch_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"there is no ledger\.sqlite here"):
        take_snapshot(tmp_path, catalogue)


def test_a_broken_chain_is_told(batch: Path, catalogue: Catalogue) -> None:
    log = batch / "review/audit.jsonl"
    kept = log.read_bytes()
    try:
        log.write_bytes(kept.replace(b'"seconds": 60', b'"seconds": 61', 1) + b'{"torn')
        audit = summary_of(take_snapshot(batch, catalogue))["audit"]
        assert not audit["whole"]
        assert audit["faults"][0]["line"] > 1
        assert audit["torn_bytes"] == 6
    finally:
        log.write_bytes(kept)


def test_a_change_that_lasts_is_one_alarm() -> None:
    rng = np.random.default_rng(6)
    error = np.r_[rng.lognormal(-4, 0.4, 60), rng.lognormal(-2, 0.4, 90)]
    charts = charts_of([fact(number, 1.0 - min(1.0, value)) for number, value in enumerate(error)])
    of_dice = [row for row in alarms_of(charts) if row["measure"] == "dice"]
    assert len(of_dice) == 1
    assert of_dice[0]["times"] > 1
    assert of_dice[0]["when"] < of_dice[0]["last_when"]


def test_the_page_draws_charts_and_escapes_names(batch: Path, catalogue: Catalogue) -> None:
    found = summary_of(take_snapshot(batch, catalogue))
    facts = [fact(number, 0.9, structure="<script>alert(1)</script>", case='<img src="x">') for number in range(400)]
    page = charts_page(found, charts_of(facts, facts))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<svg") == 4
    assert "the latest 300 of 400" in page
    assert ">400</text>" in page


def test_a_page_without_decisions_has_no_picture(tmp_path: Path, catalogue: Catalogue) -> None:
    add_scan(tmp_path / "out", make_scan(tmp_path / "scan.nii.gz", catalogue), boxes(), catalogue)
    page = charts_page(*summary_and_charts(take_snapshot(tmp_path / "out", catalogue)))
    assert "<svg" not in page
    assert "no alarm during its first 20 scans" in page
