"""Runs are compared case by case, and difference is not claimed without evidence."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from voxgraft.cli import main
from voxgraft.errors import DataError
from voxgraft.scoring.comparison import (
    benjamini_hochberg,
    compare_all,
    holm,
    randomisation_p,
    read_run,
    smallest_p,
    wilcoxon_p,
)
from voxgraft.scoring.pair import Counts
from voxgraft.scoring.scores import Scores
from voxgraft.support.files import write_json


def run_of(values: Any, metric: str = "dice", **changes: Any) -> Scores:
    """A run with a case for each value; a row of two values is for the structures `a` and `b`."""
    cases = {
        f"case_{n:02}": {metric: dict(zip("ab", np.atleast_1d(row).tolist(), strict=False))}
        for n, row in enumerate(values)
    }
    return Scores.of(cases, **changes)


def one(first: Scores, second: Scores, metric: str = "dice", higher: bool = True, **options: Any) -> Any:
    (comparison,) = compare_all({"base": first, "new": second}, {metric: higher}, **options)
    return comparison


BASE = np.linspace(0.7, 0.9, 12)
NOISE = np.random.default_rng(0).normal(0, 0.01, 12)


def test_a_run_that_is_better_in_every_case_is_better_and_the_other_worse() -> None:
    base, new = run_of(BASE), run_of(BASE + 0.02 + NOISE / 4)
    found, turned = one(base, new), one(new, base)
    assert (found.verdict, turned.verdict) == ("better", "worse")
    assert found.difference == pytest.approx(np.mean(0.02 + NOISE / 4)) == pytest.approx(-turned.difference)
    assert found.ci95[0] > 0 and found.ci95[0] < found.difference < found.ci95[1]
    assert (found.n, found.patients) == (12, 12)
    assert found.p == pytest.approx(2 / 2**12)


def test_lower_is_better_where_the_metric_says_so() -> None:
    base, new = run_of(BASE * 10, "hd95"), run_of(BASE * 10 - 1, "hd95")
    assert one(base, new, "hd95", higher=False).verdict == "better"


def test_a_run_against_itself_shows_nothing() -> None:
    found = one(run_of(BASE), run_of(BASE))
    assert (found.difference, found.p, found.verdict, found.ci95) == (0.0, 1.0, "no evidence", (0.0, 0.0))


def test_the_pairing_is_used() -> None:
    """The gain is small beside the spread of cases, and large beside the spread of differences."""
    assert one(run_of(BASE), run_of(BASE + 0.005 + NOISE / 10)).verdict == "better"
    shuffled = np.random.default_rng(4).permutation(BASE)
    assert one(run_of(BASE), run_of(shuffled + 0.005)).verdict == "no evidence"


def test_few_patients_are_no_evidence_however_clear_they_look() -> None:
    assert one(run_of(BASE[:5]), run_of(BASE[:5] + 0.1)).p == pytest.approx(2 / 32)
    assert one(run_of(BASE[:5]), run_of(BASE[:5] + 0.1)).verdict == "too few patients to tell"
    assert one(run_of(BASE[:6]), run_of(BASE[:6] + 0.1)).verdict == "better"
    assert math.isnan(one(run_of(BASE[:1]), run_of(BASE[:1] + 0.1)).ci95[0])


def test_many_scans_of_one_patient_are_one_patient() -> None:
    patients = {f"case_{n:02}": n // 4 for n in range(12)}
    base, new = run_of(BASE, patients=patients), run_of(BASE + 0.1)
    for found in (one(base, new), one(new, base)):
        assert found.patients == 3 and found.verdict == "too few patients to tell"
    other = {f"case_{n:02}": (n + 2) // 4 for n in range(12)}
    assert one(base, run_of(BASE + 0.1, patients=other)).patients == 1


def test_only_common_cases_and_defined_values_count() -> None:
    base, new = BASE.copy(), BASE + 0.02
    base[0] = new[1] = new[2] = math.nan
    found = one(run_of(base), run_of(new[:10]))
    assert (found.n, found.undefined) == (7, (2, 1))
    assert found.against_mean == pytest.approx(BASE[3:10].mean())


def test_a_structure_that_one_run_missed_does_not_raise_its_mean() -> None:
    """Without pairing the structures, `new` would seem better by leaving out the difficult one."""
    base = [[2.0, 20.0 + n / 10] for n in range(8)]
    new = [[2.0, math.nan] for _ in range(8)]
    found = one(run_of(base, "hd95"), run_of(new, "hd95"), "hd95", higher=False)
    assert (found.difference, found.verdict, found.undefined) == (0.0, "no evidence", (8, 0))


@pytest.mark.parametrize(
    ("patients", "comparisons", "enough"), [(5, 1, False), (6, 1, True), (6, 2, False), (7, 3, True)]
)
def test_the_word_is_too_few_where_no_difference_could_pass(patients, comparisons, enough) -> None:
    """All n patients gain: p is 2 / 2^n, and Holm multiplies the smallest of k by k."""
    runs = {"base": run_of(BASE[:patients])}
    runs |= {f"up {n}": run_of(BASE[:patients] + 0.1) for n in range(comparisons)}
    words = {found.verdict for found in compare_all(runs, {"dice": True})}
    assert words == ({"better"} if enough else {"too few patients to tell"})
    assert smallest_p(patients) == pytest.approx(randomisation_p(np.ones(patients)))
    assert smallest_p(patients) == pytest.approx(wilcoxon_p(np.arange(1.0, patients + 1)))


def with_counts(values: Any, referred: int = 10, predicted: Any = None, metric: str = "dice") -> Scores:
    """A case with one structure for each value; of the reference and of the prediction so many voxels."""
    cases = {f"case_{n:02}": {metric: {"a": value}} for n, value in enumerate(values)}
    found = predicted or [0 if math.isnan(value) else 10 for value in values]
    counts = {
        f"case_{n:02}": {"a": Counts(0, voxels, 0, 90) if not referred else Counts(0, voxels, referred, 90)}
        for n, voxels in enumerate(found)
    }
    return Scores.of(cases, counts=counts)


def test_a_run_that_finds_nothing_where_there_is_nothing_is_right_against_one_that_finds_something() -> None:
    """No reference holds the structure: the first run has no Dice, the second 0; both are judged on the same cases."""
    silent, noisy = with_counts([math.nan] * 8, referred=0), with_counts([0.0] * 8, referred=0)
    found = one(noisy, silent)
    assert (found.n, found.mean, found.against_mean, found.verdict) == (8, 1.0, 0.0, "better")
    assert found.undefined == (0, 0) and one(silent, noisy).verdict == "worse"
    with pytest.raises(DataError, match="none of their 8 common cases"):
        one(silent, silent)


def test_a_run_is_not_better_by_missing_structures() -> None:
    """Distances: the new run is better where both find the structure, and misses it in two patients."""
    base, new = with_counts([3.0] * 10, metric="hd95"), with_counts([1.0] * 8 + [math.nan] * 2, metric="hd95")
    found = one(base, new, "hd95", higher=False)
    assert found.p < 0.05 and found.undefined == (2, 0) and found.verdict == "no evidence"
    assert one(base, with_counts([1.0] * 10, metric="hd95"), "hd95", higher=False).verdict == "better"


def test_a_structure_can_be_compared_alone() -> None:
    base, new = np.stack([BASE, BASE], 1), np.stack([BASE + 0.02, BASE], 1)
    assert one(run_of(base), run_of(new), structures=["a"]).verdict == "better"
    assert one(run_of(base), run_of(new), structures=["b"]).verdict == "no evidence"


def test_several_comparisons_need_more_evidence() -> None:
    """p is 2/64 alone, which is enough; beside four others it is not, and no p of six patients could be."""
    runs = {"base": run_of(BASE[:6]), "up": run_of(BASE[:6] + 0.01)}
    assert compare_all(runs, {"dice": True})[0].verdict == "better"
    runs |= {f"same {n}": run_of(BASE[:6]) for n in range(4)}
    found = compare_all(runs, {"dice": True})
    assert [comparison.verdict for comparison in found] == ["too few patients to tell"] * 5
    assert found[0].p == pytest.approx(2 / 64) and found[0].p_holm == pytest.approx(10 / 64)


def test_every_pair_is_every_pair() -> None:
    runs = {name: run_of(BASE) for name in "xyz"}
    assert [(c.against, c.run) for c in compare_all(runs, {"dice": True})] == [("x", "y"), ("x", "z")]
    pairs = compare_all(runs, {"dice": True}, every_pair=True)
    assert [(c.against, c.run) for c in pairs] == [("x", "y"), ("x", "z"), ("y", "z")]


def test_holm_is_what_the_textbook_says() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0] and holm([]) == []


def test_benjamini_and_hochberg_is_what_scipy_says() -> None:
    from scipy.stats import false_discovery_control

    p = [0.01, 0.04, 0.03, 0.005, 0.9, 0.04]
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p).tolist())
    assert benjamini_hochberg([]) == []


def test_the_signed_rank_test_is_wilcoxons() -> None:
    """1 to 6 with one sign: 2/64; with the smallest turned round: sums of ranks 1 and 20, 4/64."""
    assert wilcoxon_p(np.arange(1.0, 7.0)) == pytest.approx(2 / 64)
    assert wilcoxon_p(np.array([-1.0, 2, 3, 4, 5, 6])) == pytest.approx(4 / 64)
    assert wilcoxon_p(np.zeros(6)) == 1.0
    assert one(run_of(BASE), run_of(BASE + 0.01 + NOISE / 4), test="wilcoxon").verdict == "better"


def test_ranks_that_contradict_the_mean_are_no_evidence() -> None:
    """Eleven patients gain a little, one loses all: the ranks say better, the mean says worse."""
    new = run_of(np.append(BASE[:-1] + 0.01, 0.0))
    found = one(run_of(BASE), new, test="wilcoxon")
    assert found.p < 0.05 and found.difference < 0 and found.mixed and found.verdict == "no evidence"
    assert one(run_of(BASE), new).p > 0.05


def test_metrics_and_structures_are_corrected_together() -> None:
    """Twelve comparisons, of which three are real: Holm and Benjamini-Hochberg judge by all of them."""
    generator = np.random.default_rng(3)
    base = np.stack([BASE, BASE], 1)
    new = base + np.stack([0.01 + NOISE / 20, generator.normal(0, 0.01, 12)], 1)
    cases = lambda values: {  # noqa: E731 - two metrics with the same values
        f"case_{n:02}": {metric: dict(zip("ab", row.tolist(), strict=True)) for metric in ("dice", "iou")}
        for n, row in enumerate(values)
    }
    runs = {"base": Scores.of(cases(base)), "new": Scores.of(cases(new))}
    found = compare_all(runs, {"dice": True, "iou": True}, ["a", "b", "mean"])
    assert [(c.metric, c.structure) for c in found] == [(m, s) for m in ("dice", "iou") for s in ("a", "b", "mean")]
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p for c in found]))
    assert [c.p_bh for c in found] == pytest.approx(benjamini_hochberg([c.p for c in found]))
    assert all(c.p <= c.p_bh <= c.p_holm for c in found)
    assert found[0].verdict == "better" and found[1].verdict == "no evidence"


def test_the_correction_that_is_asked_for_decides() -> None:
    """Four comparisons with p 1/64 x 2 = 0.031 each: Holm sees 0.125, Benjamini-Hochberg 0.031."""
    runs = {"base": run_of(BASE[:6]), **{f"up {n}": run_of(BASE[:6] + 0.01 * n) for n in range(1, 5)}}
    assert {c.verdict for c in compare_all(runs, {"dice": True})} == {"too few patients to tell"}
    assert {c.verdict for c in compare_all(runs, {"dice": True}, correction="bh")} == {"better"}


def test_regions_are_not_in_the_mean_that_is_compared() -> None:
    def run(change: float) -> Scores:
        return Scores.of(
            {f"{n:02}": {"dice": {"a": v, "whole": v + change}} for n, v in enumerate(BASE.tolist())},
            regions=["whole"],
        )

    assert one(run(0.0), run(0.1)).difference == 0.0
    assert one(run(0.0), run(0.1), structures=["whole"]).difference == pytest.approx(0.1)


def test_the_randomisation_test_agrees_with_scipy() -> None:
    from scipy.stats import permutation_test

    sums = np.random.default_rng(9).normal(0.3, 1, 9)
    exact = permutation_test((sums,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert randomisation_p(sums) == pytest.approx(float(exact))
    many = np.random.default_rng(9).normal(0.3, 1, 30)
    drawn = permutation_test((many,), np.mean, permutation_type="samples", n_resamples=20000, rng=1).pvalue
    assert randomisation_p(many) == pytest.approx(float(drawn), abs=0.02)


@pytest.mark.parametrize("patients", [6, 10])
def test_equal_runs_are_rarely_called_different(patients) -> None:
    differences = np.random.default_rng(patients).standard_normal((400, patients))
    wrong = np.mean([randomisation_p(row) < 0.05 for row in differences])
    assert wrong < 0.08


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        ({"x": run_of(BASE)}, "at least two"),
        ({"x": run_of(BASE), "y": run_of(BASE, "iou")}, "y: has no scores of the metric 'dice'; it has iou"),
        ({"x": run_of(BASE), "y": Scores.of({"other": {"dice": {"a": 1.0}}})}, "no scored case in common"),
        ({"x": run_of(BASE), "y": run_of(BASE * math.nan)}, "none of their 12 common cases"),
        (
            {
                "x": run_of(BASE, metrics={"dice": {"use": "dice", "tolerance": 1}}),
                "y": run_of(BASE, metrics={"dice": {"use": "dice", "tolerance": 2}}),
            },
            "other options in y",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, complaint) -> None:
    with pytest.raises(DataError, match=complaint):
        compare_all(runs, {"dice": True})
    with pytest.raises(DataError, match="no structure 'z'"):
        compare_all({"x": run_of(BASE), "y": run_of(BASE)}, {"dice": True}, ["z"])


class TestCommand:
    @pytest.fixture
    def runs(self, tmp_path: Path) -> tuple[Path, Path]:
        """A run's folder, and a file that `evaluate --out` wrote."""
        write_json(tmp_path / "base" / "evaluate" / "scores.json", run_of(BASE).document())
        write_json(tmp_path / "new.json", run_of(BASE + 0.02).document())
        return tmp_path / "base", tmp_path / "new.json"

    def call(self, *arguments: Any) -> Any:
        return CliRunner().invoke(main, ["compare", *map(str, arguments)])

    def test_the_verdict_is_printed(self, runs) -> None:
        done = self.call(*runs)
        assert done.exit_code == 0, done.output
        assert f"{runs[1]}: better than {runs[0]}" in done.stdout
        assert "difference +0.0200, 95 % interval +0.0200 to +0.0200, p 0.0005 (Holm)" in done.stdout
        assert f"{runs[0]}: worse than {runs[1]}" in self.call(*runs[::-1]).stdout

    def test_an_interval_of_few_patients_is_told_to_be_no_evidence(self, tmp_path) -> None:
        for name, change in (("x", 0.0), ("y", 0.02)):
            write_json(tmp_path / f"{name}.json", run_of(BASE[:5] + change).document())
        done = self.call(tmp_path / "x.json", tmp_path / "y.json")
        assert "y.json: too few patients to tell it from" in done.stdout and "of 5 patients" in done.stdout
        assert "interval +0.0200 to +0.0200" in done.stdout

    def test_json_is_one_document(self, runs) -> None:
        document = json.loads(self.call(*runs, "--json").stdout)
        (comparison,) = document["comparisons"]
        assert document["higher_is_better"] is True
        assert (comparison["verdict"], comparison["n"], comparison["against"]) == ("better", 12, str(runs[0]))

    def test_several_metrics_in_one_call(self, tmp_path) -> None:
        for name, change in (("x", 0.0), ("y", 0.02)):
            values = {f"{n:02}": {m: {"a": v + change} for m in ("dice", "hd95")} for n, v in enumerate(BASE.tolist())}
            write_json(tmp_path / f"{name}.json", Scores.of(values).document())
        options = ("--metric", "dice,hd95", "--structure", "a,mean", "--test", "wilcoxon", "--correction", "bh")
        done = self.call(tmp_path / "x.json", tmp_path / "y.json", *options)
        assert done.exit_code == 0, done.output
        assert "dice, a; higher is better" in done.stdout and "hd95, mean over structures; lower" in done.stdout
        assert done.stdout.count("y.json: better than") == 2 and done.stdout.count("y.json: worse than") == 2
        assert done.stdout.count("(Benjamini-Hochberg)") == 4
        document = json.loads(self.call(tmp_path / "x.json", tmp_path / "y.json", *options, "--json").stdout)
        assert document["higher_is_better"] == {"dice": True, "hd95": False} and len(document["comparisons"]) == 4

    def test_less_distance_is_better(self, tmp_path) -> None:
        for name, change in (("x", 0.0), ("y", 1.0)):
            write_json(tmp_path / f"{name}.json", run_of(BASE + change, "hd95").document())
        done = self.call(tmp_path / "x.json", tmp_path / "y.json", "--metric", "hd95")
        assert "y.json: worse than" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["base"], 2, "two or more different runs"),
            (["base", "base"], 2, "two or more different runs"),
            (["base", "nowhere"], 2, "nowhere: there is no such file or folder"),
            (["base", "empty"], 1, "empty: this is not the folder of a run"),
            (["base", "unscored"], 1, "no evaluate/scores.json"),
            (["base", "new.json", "--metric", "dicee"], 2, "did you mean 'dice'"),
            (["base", "new.json", "--metric", "iou"], 1, "no scores of the metric 'iou'"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_sentence(self, runs, tmp_path, monkeypatch, arguments, code, words) -> None:
        (tmp_path / "empty").mkdir()
        write_json(tmp_path / "unscored" / "environment.json", {})
        monkeypatch.chdir(tmp_path)
        done = self.call(*arguments)
        assert done.exit_code == code and words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_damaged_file_of_scores_is_named(tmp_path) -> None:
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(DataError, match=r"scores\.json: does not hold scores"):
        read_run(tmp_path / "scores.json")


def test_the_page_holds_the_table_and_the_curves_of_every_fold(tmp_path: Path) -> None:
    for name, values in (("one", BASE), ("<two>", BASE + 0.02 + NOISE / 4)):
        write_json(tmp_path / name / "evaluate" / "scores.json", run_of(values).document())
    curve = [{"step": 10, "seconds": 30, "dice": 0.4}, {"step": 20, "seconds": 60, "dice": 0.8}]
    write_json(tmp_path / "one" / "train" / "summary.json", {"curve": curve})
    for fold in range(2):
        write_json(tmp_path / "<two>" / "members" / f"fold_{fold}" / "train" / "summary.json", {"curve": curve})
    arguments = ["compare", str(tmp_path / "one"), str(tmp_path / "<two>"), "--out", str(tmp_path / "page.html")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("<polyline") == 2 * 3 and "fold_1" in page and ">better<" in page
    heads = re.findall(r"<th><button type=.button.>(.*?)</button></th>", page)
    assert heads.index("Verdict") == 1 and len(heads) == page.split("</tr>")[1].count("<td"), "seen on a narrow screen"
    assert "<two>" not in page and "&lt;two&gt;" in page and "src=" not in page
