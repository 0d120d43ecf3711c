"""Scores: voxel counts, intervals, names of structures, texts of metrics."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from evaluate_masks import AFFINE, LABELS, mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Selected, choose
from voxgraft.errors import DataError, UnknownComponent, UsageError
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.scoring.bootstrap import mean_intervals
from voxgraft.scoring.case import score_case
from voxgraft.scoring.confusion import count
from voxgraft.scoring.naming import read_labels
from voxgraft.scoring.pair import Crops
from voxgraft.scoring.paths import choose_metrics
from voxgraft.scoring.scores import Scores


def chosen(catalogue: Catalogue, *names: str) -> list[Selected[Any]]:
    return [choose(catalogue, "metric", {"use": name}) for name in names]


class TestConfusion:
    """Counts of all structures at once are what one would count one by one."""

    @settings(max_examples=60, deadline=None)
    @given(
        reference=arrays(
            np.uint8, st.tuples(*[st.integers(1, 5)] * 3) | st.tuples(st.integers(1, 9)), elements=st.integers(0, 4)
        ),
        data=st.data(),
    )
    def test_they_are_the_sums_of_comparisons(self, reference, data) -> None:
        prediction = data.draw(arrays(np.uint8, reference.shape, elements=st.integers(0, 4)))
        values = {0: 0, 1: 1, 2: 200, 3: 256, 4: 65535}
        lookup = np.array([values[i] for i in range(5)])
        for kind, used in ((np.uint8, [1, 2, 3, 4]), (np.int16, [1, 2, 3, 4]), (np.uint16, [1, 200, 256, 65535])):
            found, wanted = prediction, reference
            if used[-1] > 255:
                found, wanted = lookup[prediction], lookup[reference]
            found, wanted = found.astype(kind), wanted.astype(kind)
            joint = count(found, wanted)
            joint.check(used)
            for value in used:
                counts = joint.counts([value])
                p, r = found == value, wanted == value
                expected = [(p & r).sum(), (p & ~r).sum(), (~p & r).sum(), (~p & ~r).sum()]
                assert [counts.tp, counts.fp, counts.fn, counts.tn] == expected

    @pytest.mark.parametrize(
        "kinds", [(bool, np.int8), (np.uint8, np.int64), (np.uint64, np.uint16), (">i2", np.uint32)]
    )
    @pytest.mark.parametrize("order", ["C", "F", "flipped", "cut"])
    def test_the_type_and_the_order_in_memory_do_not_matter(self, kinds, order) -> None:
        found, wanted = mask(1, (70, 60, 50), 2), mask(2, (70, 60, 50), 2)
        expected = count(found, wanted).counts([1])
        ways = {"C": np.ascontiguousarray, "F": np.asfortranarray, "flipped": self.flipped, "cut": self.cut}
        other = ways[order](found.astype(kinds[0]))
        assert count(other, wanted.astype(kinds[1])).counts([1]) == expected
        assert count(found.astype(kinds[0]), ways[order](wanted.astype(kinds[1]))).counts([1]) == expected

    @staticmethod
    def flipped(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[::-1, :, ::-1])[::-1, :, ::-1]

    @staticmethod
    def cut(array: np.ndarray) -> np.ndarray:
        wide = np.zeros((*array.shape[:2], array.shape[2] * 2), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]

    @pytest.mark.parametrize("value", [3, 7, 255, 256, 40000])
    @pytest.mark.parametrize("who", ["prediction", "reference"])
    def test_a_value_that_no_structure_has_is_named(self, value, who) -> None:
        arrays_ = {"prediction": mask(1, kind=np.int32), "reference": mask(2, kind=np.int32)}
        arrays_[who][2, 2, 2] = value
        with pytest.raises(DataError, match=rf"the {who} holds the value {value}, which no structure has"):
            count(**arrays_).check([1, 2])

    @pytest.mark.parametrize("value", [-1, 65536, -(2**31)])
    def test_a_value_that_no_label_can_have_is_named(self, value) -> None:
        strange = mask(1, kind=np.int64)
        strange[0, 0, 0] = value
        with pytest.raises(DataError, match=f"the prediction holds the value {value}; labels go from 0 to 65535"):
            count(strange, mask(2))

    def test_fractions_shapes_and_nothing_are_refused(self) -> None:
        with pytest.raises(DataError, match="float64, not whole numbers"):
            count(mask(1).astype(float), mask(2))
        with pytest.raises(DataError, match="6x5x4 voxels and the reference 6x5x3"):
            count(mask(1), mask(2, (6, 5, 3)))
        with pytest.raises(DataError, match="no voxels"):
            count(mask(1, (0, 3)), mask(1, (0, 3)))

    def test_the_values_that_are_there_are_found(self) -> None:
        found, wanted = np.array([[0, 5, 300]]), np.array([[0, 0, 2]])
        assert count(found, wanted).values == (2, 5, 300)


def test_masks_are_cropped_with_a_margin_even_at_the_border_of_the_image() -> None:
    found, wanted = np.zeros((8, 8, 8), np.int16), np.zeros((8, 8, 8), np.int16)
    found[0:2, 3:5, 3:5] = 9
    wanted[1:4, 3:5, 4:8] = 9
    one, other = Crops(found, wanted, [9]).masks(9)
    assert one.shape == other.shape == (4 + 2, 2 + 2, 5 + 2)
    assert one.sum() == (found == 9).sum() and other.sum() == (wanted == 9).sum()
    for part in (one, other):
        assert not any(np.take(part, edge, axis).any() for axis in range(3) for edge in (0, -1))


class TestScoreCase:
    def test_each_metric_and_structure_has_its_value(self, catalogue) -> None:
        found, wanted = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
        wanted[:2], found[:2, :2] = 1, 1
        scores = score_case(Volume(found, AFFINE), Volume(wanted, AFFINE), LABELS, chosen(catalogue, "dice", "iou"))
        assert scores == {
            "dice": {"liver": pytest.approx(2 / 3), "spleen": pytest.approx(math.nan, nan_ok=True)},
            "iou": {"liver": 0.5, "spleen": pytest.approx(math.nan, nan_ok=True)},
        }

    def test_images_of_two_axes_have_distances_too(self, catalogue) -> None:
        found, wanted = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
        found[2:5, 2:5], wanted[2:5, 4:7] = 1, 1
        affine = np.diag([0.5, 3.0, 1.0, 1.0])
        scores = score_case(Volume(found, affine), Volume(wanted, affine), Labels.of({"a": 1}), chosen(catalogue, "hd"))
        assert scores["hd"]["a"] == 6.0

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"shape": (6, 5, 3)}, "6x5x3 voxels and the reference 6x5x4"),
            ({"shift": 1.0}, "up to 1 mm apart"),
            ({"scale": 1.02}, r"up to 0\.1 mm apart"),
            ({"shift": 0.02}, r"up to 0\.02 mm apart"),
        ],
    )
    def test_another_grid_is_refused(self, catalogue, change, complaint) -> None:
        affine = AFFINE.copy()
        affine[:, 0] *= change.get("scale", 1.0)
        affine[1, 3] += change.get("shift", 0.0)
        found = Volume(mask(1, change.get("shape", (6, 5, 4))), affine)
        with pytest.raises(DataError, match=rf"{complaint}.*convert --reference"):
            score_case(found, Volume(mask(2), AFFINE), LABELS, chosen(catalogue, "dice"))

    def test_what_files_round_is_no_other_grid(self, catalogue) -> None:
        affine = (AFFINE + 1e-4).astype(np.float32)
        affine[3] = AFFINE[3]
        assert score_case(Volume(mask(1), affine), Volume(mask(1), AFFINE), LABELS, chosen(catalogue, "dice"))

    def test_whole_numbers_stored_as_fractions_are_labels(self, catalogue) -> None:
        metrics = chosen(catalogue, "dice")
        whole, stored = Volume(mask(1), AFFINE), Volume(mask(1, kind=np.float32), AFFINE)
        assert score_case(stored, whole, LABELS, metrics) == score_case(whole, whole, LABELS, metrics)

    @pytest.mark.parametrize("value", [0.5, math.nan, math.inf, 1e30])
    def test_fractions_are_not_labels(self, catalogue, value) -> None:
        array = mask(1, kind=np.float64)
        array[0, 0, 0] = value
        with pytest.raises(DataError, match="the prediction holds values that are not whole numbers"):
            score_case(Volume(array, AFFINE), Volume(mask(1), AFFINE), LABELS, chosen(catalogue, "dice"))

    def test_several_channels_are_no_mask(self, catalogue) -> None:
        colours = Volume(mask(1, (3, 6, 5, 4)), AFFINE)
        with pytest.raises(DataError, match="the reference has 3 channels"):
            score_case(Volume(mask(1), AFFINE), colours, LABELS, chosen(catalogue, "dice"))

    @pytest.mark.parametrize(
        ("labels", "complaint"),
        [
            (Labels(), "no structure to score"),
            (Labels((Label(1, "mean"), Label(2, "a"))), "called 'mean'"),
            (Labels((Label(1, "a"), Label(2, "a"))), "two structures are called 'a'"),
        ],
    )
    def test_names_that_scores_could_not_keep_apart_are_refused(self, catalogue, labels, complaint) -> None:
        with pytest.raises(DataError, match=complaint):
            score_case(Volume(mask(1), AFFINE), Volume(mask(1), AFFINE), labels, chosen(catalogue, "dice"))


class TestScores:
    cases: ClassVar[dict[str, Any]] = {
        "b": {"dice": {"liver": 0.5, "spleen": math.nan}, "hd95": {"liver": 4.0, "spleen": math.nan}},
        "a": {"dice": {"liver": 0.9, "spleen": 0.7}, "hd95": {"liver": 2.0, "spleen": 6.0}},
        "c": {"dice": {"liver": 0.0, "spleen": math.nan}, "hd95": {"liver": math.nan, "spleen": math.nan}},
    }

    def test_the_mean_of_a_case_is_over_its_defined_structures(self) -> None:
        scores = Scores.of(self.cases)
        assert scores.cases["a"]["dice"]["mean"] == pytest.approx(0.8)
        assert scores.cases["b"]["dice"]["mean"] == 0.5
        assert math.isnan(scores.cases["c"]["hd95"]["mean"])

    def test_the_summary_counts_what_it_is_made_of(self) -> None:
        dice, hd95 = (Scores.of(self.cases).summary[name] for name in ("dice", "hd95"))
        assert list(dice) == ["liver", "spleen", "mean"]
        assert (dice["liver"]["mean"], dice["liver"]["n"]) == (pytest.approx(1.4 / 3), 3)
        assert dice["liver"]["sd"] == pytest.approx(np.std([0.5, 0.9, 0.0], ddof=1))
        assert (dice["liver"]["median"], dice["mean"]["mean"]) == (0.5, pytest.approx((0.8 + 0.5 + 0.0) / 3))
        assert (hd95["liver"]["n"], hd95["liver"]["undefined"], hd95["liver"]["mean"]) == (2, 1, 3.0)
        assert (hd95["spleen"]["n"], hd95["spleen"]["undefined"]) == (1, 2)
        assert math.isnan(hd95["spleen"]["sd"]) and math.isnan(hd95["spleen"]["ci95"][0])

    def test_the_document_is_json_that_anyone_reads_and_comes_back(self, tmp_path) -> None:
        scores = Scores.of(
            self.cases,
            {"a": "Doe", "b": "Doe"},
            failed={"d": "gone"},
            unmatched=["e"],
            metrics={"dice": {"use": "dice"}},
        )
        text = json.dumps(scores.document(), allow_nan=False)
        assert "Doe" not in text
        document = json.loads(text)
        assert document["cases"]["c"]["hd95"] == {"liver": None, "spleen": None, "mean": None}
        assert document["summary"]["dice"]["spleen"]["ci95"] == [None, None]
        (tmp_path / "scores.json").write_text(text)
        again = Scores.from_json(tmp_path / "scores.json")
        assert again.document() == document
        assert again.groups == {"a": 0, "b": 0, "c": 1}

    def test_the_document_is_the_one_that_the_documentation_shows(self) -> None:
        text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
        shown = json.loads(text.split("```json\n", 1)[1].split("```", 1)[0])
        scores = Scores.of(
            {"scan_1": {"dice": {"liver": 0.95, "tumour": math.nan}}},
            failed={"scan_2": "the reason"},
            unmatched=["scan_3"],
            metrics={"dice": {"use": "dice"}},
        )
        assert scores.document() == shown

    def test_the_order_of_cases_does_not_matter(self) -> None:
        turned = Scores.of(dict(reversed(self.cases.items())), {"a": 7, "b": 7})
        assert turned.document() == Scores.of(self.cases, {"a": 7, "b": 7}).document()

    def test_a_case_that_is_called_like_a_patient_is_still_its_own(self) -> None:
        assert len(set(Scores.of(self.cases, {"a": "b"}).groups.values())) == 3

    def test_the_table_holds_every_value(self, tmp_path) -> None:
        cases = {'a,\n"b"': self.cases["a"], "c": self.cases["c"]}
        Scores.of(cases).write_csv(tmp_path / "scores.csv")
        with (tmp_path / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2 * 2 * 3
        found = {(row["case"], row["metric"], row["label"]): row["value"] for row in rows}
        assert float(found['a,\n"b"', "dice", "liver"]) == 0.9
        assert found["c", "hd95", "mean"] == ""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            '{"cases": 3}',
            '{"cases": {"a": 1}}',
            '{"cases": {"a": {"dice": {"x": "high"}}}}',
            "[" * 100000,
        ],
    )
    def test_a_file_that_holds_no_scores_is_said_in_a_sentence(self, tmp_path, text) -> None:
        (tmp_path / "scores.json").write_text(text)
        with pytest.raises(DataError, match=r"scores\.json: does not hold scores"):
            Scores.from_json(tmp_path / "scores.json")
        with pytest.raises(DataError, match="there is no such file"):
            Scores.from_json(tmp_path / "none.json")


class TestIntervals:
    def test_they_are_those_of_a_loop_over_resampled_patients(self) -> None:
        generator = np.random.default_rng(5)
        values, groups = generator.normal(0.8, 0.1, 30), list(np.arange(30) // 3)
        means = []
        for _ in range(4000):
            drawn = generator.integers(0, 10, 10)
            means.append(np.mean([values[3 * g : 3 * g + 3] for g in drawn]))
        expected = np.percentile(means, [2.5, 97.5])
        assert mean_intervals(values[:, None], groups)[0] == pytest.approx(expected, abs=0.004)

    def test_scans_of_one_patient_are_not_taken_for_many_patients(self) -> None:
        patients = np.random.default_rng(1).normal(0.8, 0.1, 10)
        copied = np.repeat(patients, 8)[:, None]
        apart = mean_intervals(copied, list(range(80)))[0]
        together = mean_intervals(copied, [n // 8 for n in range(80)])[0]
        once = mean_intervals(patients[:, None], list(range(10)))[0]
        assert together == pytest.approx(once)
        assert np.diff(together) > 2 * np.diff(apart)

    def test_the_true_mean_lies_in_about_95_of_100(self) -> None:
        values = np.random.default_rng(2).normal(0.0, 1.0, (40, 400))
        intervals = mean_intervals(values, list(range(40)), replicates=500)
        inside = ((intervals[:, 0] < 0) & (intervals[:, 1] > 0)).mean()
        assert 0.90 < inside < 0.98

    def test_undefined_values_are_left_out_not_counted_as_nothing(self) -> None:
        values = np.array([[0.8, 0.8], [math.nan, 0.9], [0.9, math.nan], [math.nan, math.nan]])
        for low, high in mean_intervals(values, [0, 1, 2, 3]):
            assert 0.8 <= low < high <= 0.9

    @pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 1]])
    def test_one_patient_gives_no_interval(self, groups) -> None:
        values = np.array([[math.nan], [0.7], [0.9]])
        assert np.isnan(mean_intervals(values, groups)).all()

    def test_nothing_gives_nothing(self) -> None:
        assert mean_intervals(np.zeros((0, 2)), []).shape == (2, 2)
        assert Scores.of({}).summary == {}

    def test_the_same_scores_give_the_same_interval(self) -> None:
        values = np.random.default_rng(3).random((20, 3))
        assert np.array_equal(mean_intervals(values, list(range(20))), mean_intervals(values, list(range(20))))


class TestNames:
    @pytest.mark.parametrize(
        "document",
        [
            {"labels": {"0": "background", "1": "liver", "2": "spleen"}},
            {"labels": {"background": 0, "liver": 1, "spleen": 2}},
            {"labels": [{"value": 1, "name": "liver"}, {"value": 2, "name": "spleen", "code": ["1", "SCT", "x"]}]},
            {"liver": 1, "spleen": 2.0},
        ],
    )
    def test_files_of_every_habit_are_read(self, tmp_path, document) -> None:
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(document))
        assert read_labels(str(path)) == LABELS

    def test_a_text_names_them_too(self) -> None:
        assert read_labels("liver=1, spleen=2") == LABELS

    @pytest.mark.parametrize(
        "text", ["liver", "liver=", "=1", "liver=one", "liver=1.5", "liver=-1", "liver=²", "no.json"]
    )
    def test_a_text_that_names_nothing_is_refused(self, text) -> None:
        with pytest.raises(UsageError, match="--labels"):
            read_labels(text)

    @pytest.mark.parametrize(
        "content",
        ["{", "3", '{"labels": {"a": [1, "b"]}}', '{"labels": {"a": []}}', '{"labels": {"a": true}}', '{"a": 1.5}'],
    )
    def test_a_file_that_names_nothing_is_refused(self, tmp_path, content) -> None:
        path = tmp_path / "labels.json"
        path.write_text(content)
        with pytest.raises(UsageError, match=r"labels\.json: "):
            read_labels(str(path))

    def test_one_value_with_two_names_is_refused(self) -> None:
        with pytest.raises(DataError, match="two labels have the same value"):
            read_labels("liver=1,spleen=1")


class TestMetricTexts:
    def test_options_stand_behind_colons(self, catalogue) -> None:
        found = choose_metrics(["dice", "nsd", "nsd:tolerance=2"], catalogue)
        assert {name: one.document() for name, one in found.items()} == {
            "dice": {"use": "dice"},
            "nsd": {"use": "nsd", "tolerance": 1.0, "surface": "voxel"},
            "nsd_tolerance_2.0": {"use": "nsd", "tolerance": 2.0, "surface": "voxel"},
        }

    @pytest.mark.parametrize(
        ("texts", "complaint"),
        [
            (["dicee"], "did you mean 'dice'"),
            (["nsd:tolerance"], "expected NAME:OPTION=VALUE"),
            (["nsd:tolerance=-1"], "tolerance"),
            (["nsd:tolerence=1"], "tolerence"),
            (["dice", "dice"], "appears twice"),
            (["nsd", "nsd:tolerance=1.0"], "appears twice"),
            ([], "no metric is named"),
        ],
    )
    def test_what_does_not_fit_is_named(self, catalogue, texts, complaint) -> None:
        with pytest.raises((UsageError, UnknownComponent), match=complaint):
            choose_metrics(texts, catalogue)
