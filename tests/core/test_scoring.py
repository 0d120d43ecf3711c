"""Regions, channels, ignored voxels, micro averages, subgroups, calibration, and the page that shows them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mask_pairs import AFFINE, LABELS, NAMES, labels_of, volume
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Selected, choose
from voxgraft.errors import DataError, UsageError
from voxgraft.imaging.structures import Labels, Region
from voxgraft.imaging.volume import Volume
from voxgraft.scoring.bootstrap import micro_averages
from voxgraft.scoring.calibration import Binning, Reliability, Watch
from voxgraft.scoring.case import measure_case, watch_case
from voxgraft.scoring.confusion import count
from voxgraft.scoring.masks import comparable
from voxgraft.scoring.naming import read_labels
from voxgraft.scoring.pair import Counts
from voxgraft.scoring.pairs import Structure, read_regions
from voxgraft.scoring.paths import evaluate_paths
from voxgraft.scoring.scores import Scores, gathered
from voxgraft.scoring.subgroups import group_of, read_facts, subgroups

IN_REGIONS = replace(LABELS, regions=(Region("whole", (1, 2, 3)), Region("core", (2, 3))))


@pytest.fixture(scope="module")
def metrics(catalogue: Catalogue) -> list[Selected[Any]]:
    return [choose(catalogue, "metric", {"use": name}) for name in NAMES]


def close(one: dict[str, float], other: dict[str, float]) -> bool:
    return one == pytest.approx(other, nan_ok=True)


class TestUndefined:
    """Undefined scores are neither bad nor good ones."""

    def test_a_missed_structure_makes_the_mean_of_its_case_undefined(self, metrics) -> None:
        """The structure b is found nowhere: no distance to it, so no mean of distances either, and n says so."""
        truth = np.zeros((9, 8, 7), np.uint8)
        truth[1:4, 1:4, 1:4], truth[5:8, 5:8, 4:6] = 1, 2
        found = np.where(truth == 1, truth, 0).astype(np.uint8)
        scores = gathered({"x": measure_case(volume(found), volume(truth), LABELS, metrics)}, metrics)
        row = scores.cases["x"]
        assert row["hd95"]["a"] == 0.0 and math.isnan(row["hd95"]["b"]) and math.isnan(row["hd95"]["mean"])
        assert row["dice"]["mean"] == 0.5, "c is in neither mask and in no mean"
        assert scores.summary["hd95"]["mean"]["n"] == 0 and scores.summary["hd95"]["mean"]["undefined"] == 1
        assert Scores.from_document(scores.document()).document()["summary"] == scores.document()["summary"]

    def test_what_is_in_neither_mask_leaves_the_mean_alone(self, metrics) -> None:
        truth = np.zeros((9, 8, 7), np.uint8)
        truth[1:4, 1:4, 1:4] = 1
        scores = gathered({"x": measure_case(volume(truth), volume(truth), LABELS, metrics)}, metrics)
        assert scores.cases["x"]["hd95"]["mean"] == 0.0 and scores.cases["x"]["dice"]["mean"] == 1.0


class TestRegions:
    def test_a_region_is_the_union_of_its_structures(self, metrics) -> None:
        found, wanted = labels_of(1), labels_of(2)
        scored = measure_case(volume(found), volume(wanted), LABELS, metrics, {"whole": (1, 2, 3), "core": (3, 2)})
        for name, values in (("whole", (1, 2, 3)), ("core", (2, 3)), ("b", (2,))):
            one, other = (np.isin(array, values).astype(np.uint8) for array in (found, wanted))
            alone = measure_case(volume(one), volume(other), Labels.of({name: 1}), metrics)
            assert scored.counts[name] == alone.counts[name]
            for metric in NAMES:
                assert close({name: scored.values[metric][name]}, {name: alone.values[metric][name]}), metric

    def test_they_stand_beside_the_mean(self, metrics) -> None:
        found, wanted = labels_of(1), labels_of(2)
        one = measure_case(volume(found), volume(wanted), LABELS, metrics, {"whole": (1, 2, 3)})
        dice = gathered({"x": one}, metrics, regions=["whole"]).cases["x"]["dice"]
        assert dice["mean"] == pytest.approx(np.mean([dice["a"], dice["b"], dice["c"]]))
        assert list(dice) == ["a", "b", "c", "whole", "mean"]

    def test_what_the_network_finds_is_what_is_scored(self, metrics) -> None:
        scored = measure_case(volume(labels_of(1)), volume(labels_of(2)), IN_REGIONS, metrics)
        assert list(scored.counts) == ["whole", "core"]

    def test_a_network_that_keeps_a_channel_for_each_region_is_scored_alike(self, metrics) -> None:
        found, wanted = labels_of(1), labels_of(2)
        channels = np.stack([found > 0, found > 1]).astype(np.uint8)
        one = measure_case(volume(found), volume(wanted), IN_REGIONS, metrics)
        other = measure_case(volume(channels), volume(wanted), IN_REGIONS, metrics)
        assert one.counts == other.counts
        assert all(close(one.values[name], other.values[name]) for name in NAMES)

    @pytest.mark.parametrize("paint", [(1, 2), (5, 9), (2, 1)])
    def test_painted_regions_are_known_by_their_colours(self, metrics, paint) -> None:
        found, wanted = labels_of(1), labels_of(2)
        labels = replace(IN_REGIONS, paint=paint)
        painted = np.array([0, paint[0], paint[1], paint[1]], np.uint8)[found]
        one = measure_case(volume(painted), volume(wanted), labels, metrics)
        for name, members in (("whole", (1, 2, 3)), ("core", (2, 3))):
            p, r = (np.isin(array, members).astype(np.uint8) for array in (found, wanted))
            assert one.counts[name] == measure_case(volume(p), volume(r), Labels.of({name: 1}), metrics).counts[name]
        with pytest.raises(DataError, match="the value 77, which no region is painted with"):
            measure_case(volume(np.where(painted == 0, 77, painted)), volume(wanted), labels, metrics)

    @pytest.mark.parametrize("paint", [(), (1, 2)])
    def test_pictures_compare_like_with_like(self, paint) -> None:
        labels = replace(IN_REGIONS, paint=paint, ignore=(9,))
        wanted = labels_of(2)
        found = (
            np.array([0, 1, 2, 2], np.uint8)[wanted] if paint else np.stack([wanted > 0, wanted > 1]).astype(np.uint8)
        )
        wanted[4:] = labels.ignored
        one, other = comparable(volume(found), volume(wanted), labels)
        assert np.array_equal(one.array, other.array) and one.array[:, :4].any() and not one.array[:, 4:].any()

    def test_one_region_in_a_channel_is_that_region(self, metrics) -> None:
        labels = replace(LABELS, regions=(Region("core", (2, 3)),))
        wanted = labels_of(2)
        found = Volume((wanted > 1).astype(np.uint8)[None], AFFINE, dims=3)
        assert measure_case(found, volume(wanted), labels, metrics).values["dice"]["core"] == 1.0

    def test_texts_name_them_by_value_or_by_structure(self) -> None:
        assert read_regions("whole=1+2+3, core = b + 3", LABELS) == {"whole": (1, 2, 3), "core": (2, 3)}

    @pytest.mark.parametrize("text", ["", "whole", "=1", "w=", "w=1+x", "w=0", "w=1,w=2", "w=1++2", "w=99999"])
    def test_a_text_that_names_none_is_refused(self, text) -> None:
        with pytest.raises(UsageError, match="--regions"):
            read_regions(text, LABELS)

    @pytest.mark.parametrize(
        ("regions", "complaint"),
        [({"x": (1, 9)}, "the value 9, which no structure"), ({"a": (1, 2)}, "called 'a'"), ({"mean": (1,)}, "'mean'")],
    )
    def test_a_region_that_cannot_be_is_refused(self, metrics, regions, complaint) -> None:
        with pytest.raises(DataError, match=complaint):
            measure_case(volume(labels_of(1)), volume(labels_of(2)), LABELS, metrics, regions)

    def test_nnunets_files_name_regions_and_what_is_ignored(self, tmp_path) -> None:
        document = {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}}
        (tmp_path / "dataset.json").write_text(json.dumps(document))
        labels = read_labels(str(tmp_path / "dataset.json"))
        assert labels.names == ("1", "2", "enhancing") and labels.ignore == (4,)
        assert [(one.name, one.members) for one in labels.regions] == [
            ("whole", (1, 2, 3)),
            ("core", (2, 3)),
            ("enhancing", (3,)),
        ]


class TestChannels:
    @settings(max_examples=25, deadline=None)
    @given(data=st.data(), shape=st.tuples(*[st.integers(1, 5)] * 3) | st.tuples(*[st.integers(1, 6)] * 2))
    def test_each_overlapping_structure_is_scored_by_itself(self, metrics, data, shape) -> None:
        found, wanted = (data.draw(arrays(np.uint8, (3, *shape), elements=st.integers(0, 1))) for _ in range(2))
        dims = len(shape)
        scored = measure_case(volume(found, dims), volume(wanted, dims), LABELS, metrics)
        for channel, name in enumerate("abc"):
            alone = measure_case(
                volume(found[channel], dims), volume(wanted[channel], dims), Labels.of({name: 1}), metrics
            )
            assert scored.counts[name] == alone.counts[name]
            assert all(close({name: scored.values[m][name]}, alone.values[m]) for m in NAMES)

    def test_another_number_of_channels_is_refused(self, metrics) -> None:
        with pytest.raises(DataError, match=r"the prediction has 2 channels; .* each of the 3 structures"):
            measure_case(volume(np.zeros((2, 3, 3, 3), np.uint8)), volume(labels_of(1, (3, 3, 3))), LABELS, metrics)


class TestIgnore:
    labels = replace(LABELS, ignore=(9,))

    def test_ignored_voxels_count_nowhere(self, metrics) -> None:
        found, wanted = labels_of(1), labels_of(2)
        wanted[2:5] = self.labels.ignored
        scored = measure_case(volume(found), volume(wanted), self.labels, metrics)
        other = found.copy()
        other[2:5] = 3
        again = measure_case(volume(other), volume(wanted), self.labels, metrics)
        assert scored.counts == again.counts and all(close(scored.values[m], again.values[m]) for m in NAMES)
        kept = np.r_[0:2, 5:9]
        alone = measure_case(volume(found[kept]), volume(wanted[kept]), self.labels, metrics)
        assert scored.counts == alone.counts
        assert close(scored.values["dice"], alone.values["dice"])

    def test_a_structure_ends_at_them_in_both_masks(self, metrics) -> None:
        wanted, found = np.zeros((12, 8, 8), np.uint8), np.zeros((12, 8, 8), np.uint8)
        wanted[2:6, 2:6, 2:6] = 1
        wanted[6:] = self.labels.ignored
        found[2:11, 2:6, 2:6] = 1
        scored = measure_case(volume(found), volume(wanted), self.labels, metrics)
        assert scored.values["dice"]["a"] == 1.0 and scored.values["hd95"]["a"] == 0.0

    def test_they_stand_in_all_channels_of_overlapping_structures(self, metrics) -> None:
        wanted = np.stack([labels_of(2) == value for value in (1, 2, 3)]).astype(np.uint8)
        plain = np.argmax(np.concatenate([np.ones((1, 9, 8, 7)) * 0.5, wanted]), 0).astype(np.uint8)
        wanted[:, 3:5], plain[3:5] = self.labels.ignored, self.labels.ignored
        found = labels_of(1)
        one = measure_case(volume(found), volume(wanted), self.labels, metrics)
        other = measure_case(volume(found), volume(plain), self.labels, metrics)
        assert one.counts == other.counts

    def test_files_mark_them_by_the_value_that_labels_name(self, tmp_path, catalogue) -> None:
        (tmp_path / "labels.json").write_text(json.dumps({"labels": {"a": 1, "ignore": 4}}))
        wanted, found = np.zeros((6, 6, 6), np.uint8), np.zeros((6, 6, 6), np.uint8)
        wanted[:2], wanted[2:4], found[:4] = 1, 4, 1
        paths = []
        for name, array in (("p", found), ("r", wanted)):
            nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii.gz")
            paths.append(tmp_path / f"{name}.nii.gz")
        labels = read_labels(str(tmp_path / "labels.json"))
        scores = evaluate_paths(*paths, ["dice"], catalogue, labels)
        assert scores.cases["r"]["dice"]["a"] == 1.0 and scores.counts["r"]["a"] == Counts(72, 0, 0, 72)


class TestJoint:
    @pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.uint16, np.int64])
    @pytest.mark.parametrize("length", [1, 7, 8, 9, 64, 1000])
    def test_runs_and_single_voxels_are_counted_alike(self, kind, length) -> None:
        generator = np.random.default_rng(length)
        for repeats in (1, 3, 40):
            arrays_ = [np.repeat(generator.integers(0, 2, length), repeats)[:length].astype(kind) for _ in range(2)]
            joint = count(*arrays_)
            for value in (0, 1):
                counts = joint.counts([value])
                p, r = (array.astype(int) == value for array in arrays_)
                assert (counts.tp, counts.fp, counts.fn, counts.tn) == (
                    (p & r).sum(),
                    (p & ~r).sum(),
                    (~p & r).sum(),
                    (~p & ~r).sum(),
                )

    @pytest.mark.parametrize("value", [1, 255, 256, 65535])
    def test_truth_values_count_as_zero_and_one(self, value: int) -> None:
        truth = np.array([[False, True, True], [False, False, True]])
        values = np.array([[0, value, 0], [value, 0, 1]], np.uint16)
        for pair in ((values, truth), (truth, values)):
            as_numbers = count(*(array.astype(np.uint16) for array in pair))
            joint = count(*pair)
            assert np.array_equal(joint.found, as_numbers.found) and np.array_equal(joint.table, as_numbers.table)

    def test_many_values_are_counted_and_too_many_refused(self) -> None:
        some = np.arange(1000, dtype=np.uint16) * 60
        assert count(some, some).counts([60, 120]) == Counts(2, 0, 0, 998)
        with pytest.raises(DataError, match="images and not masks"):
            count(np.arange(3000, dtype=np.uint16), np.arange(3000, dtype=np.uint16))


class TestLaws:
    """What must not matter does not."""

    @settings(max_examples=25, deadline=None)
    @given(data=st.data(), shape=st.tuples(*[st.integers(1, 6)] * 3))
    def test_names_borders_and_directions_do_not_matter(self, metrics, data, shape) -> None:
        found, wanted = (data.draw(arrays(np.uint8, shape, elements=st.integers(0, 3))) for _ in range(2))
        first = measure_case(volume(found), volume(wanted), LABELS, metrics)
        swap = np.array([0, 3, 1, 2], np.uint8)
        renamed = Labels.of({"a": 3, "b": 1, "c": 2})
        around = [np.pad(array, ((1, 2), (0, 3), (4, 0))) for array in (found, wanted)]
        turned = [array[::-1, :, ::-1] for array in (found, wanted)]
        for one, other, labels, changed in (
            (swap[found], swap[wanted], renamed, ()),
            (*around, LABELS, ("specificity",)),
            (*turned, LABELS, ()),
            (np.asfortranarray(found).astype(np.int32), wanted.astype(np.float64), LABELS, ()),
        ):
            again = measure_case(volume(one), volume(other), labels, metrics)
            for metric in set(NAMES) - set(changed):
                assert close(first.values[metric], again.values[metric]), metric

    @settings(max_examples=25, deadline=None)
    @given(mask=arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 3)))
    def test_a_mask_is_like_itself(self, metrics, mask) -> None:
        best = dict(zip(NAMES, (1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0), strict=True))
        for metric, values in measure_case(volume(mask), volume(mask.copy()), LABELS, metrics).values.items():
            for label, name in enumerate("abc", 1):
                if metric == "specificity":
                    assert values[name] == 1.0 or (mask == label).all()
                else:
                    assert values[name] == best[metric] if (mask == label).any() else math.isnan(values[name])


class TestMicro:
    counts: ClassVar[dict[str, dict[str, Counts]]] = {
        "x": {"a": Counts(90, 10, 10, 890), "b": Counts(1, 9, 9, 981)},
        "y": {"a": Counts(1, 1, 1, 97), "b": Counts(0, 0, 0, 100)},
    }

    def test_counts_are_added_up_before_the_metric(self, metrics) -> None:
        micro = micro_averages(self.counts, {"x": 0, "y": 1}, metrics)
        assert set(micro) == {"dice", "recall", "specificity"}
        assert micro["dice"]["a"]["value"] == pytest.approx(2 * 91 / (2 * 91 + 22))
        assert micro["dice"]["all"]["value"] == pytest.approx(2 * 92 / (2 * 92 + 40))
        low, high = micro["dice"]["a"]["ci95"]
        assert (low, high) == (pytest.approx(0.5), pytest.approx(0.9))

    def test_regions_do_not_count_twice_and_one_patient_has_no_interval(self, metrics) -> None:
        micro = micro_averages(self.counts, {"x": 4, "y": 4}, metrics, apart=["b"])
        assert "all" not in micro["dice"] and math.isnan(micro["dice"]["a"]["ci95"][0])

    def test_metrics_that_need_more_than_counts_have_none(self, catalogue) -> None:
        chosen = [choose(catalogue, "metric", {"use": name}) for name in ("volume-difference", "ece", "hd", "f-beta")]
        assert set(micro_averages(self.counts, {"x": 0, "y": 1}, chosen)) == {"f-beta"}


class TestCalibration:
    def test_bins_hold_what_the_documentation_says(self) -> None:
        found = Reliability.nothing(4)
        found.add(np.array([0.0, 0.25, 0.3, 0.6, 1.0]), np.array([False, False, True, True, True]))
        assert found.voxels.tolist() == [1, 2, 1, 1] and found.true.tolist() == [0, 1, 1, 1]
        assert found.ece == pytest.approx((0 + abs(0.55 - 1) + 0.4 + 0) / 5)
        assert math.isnan(Reliability.nothing(4).ece)

    def test_it_agrees_with_a_loop_over_bins(self) -> None:
        generator = np.random.default_rng(1)
        p = generator.random(5000)
        truth = generator.random(5000) < p**2
        found = Reliability.nothing(15)
        found.add(p, truth)
        place = np.minimum((p * 15).astype(int), 14)
        loop = sum((place == b).mean() * abs(p[place == b].mean() - truth[place == b].mean()) for b in range(15))
        assert found.ece == pytest.approx(loop)

    @settings(max_examples=20, deadline=None)
    @given(cut=st.integers(1, 8), margin=st.none() | st.floats(0, 6))
    def test_parts_of_a_scan_add_up_to_the_whole(self, cut, margin) -> None:
        truth, p = labels_of(3, values=2) == 1, np.random.default_rng(3).random((9, 8, 7))
        truth[:, :, :3] = False
        structure, how = Structure("a", (1,)), Binning(10, margin)
        whole, parts = (
            Watch(lambda _, part: truth[part], truth.shape, (1.0, 1.5, 2.0), [structure], [how]) for _ in range(2)
        )
        whole.see((slice(0, 9), slice(0, 8), slice(0, 7)), lambda _: p)
        for start, end in ((0, cut), (cut, 9)):
            parts.see((slice(start, end), slice(0, 8), slice(0, 7)), lambda _, s=start, e=end: p[s:e])
        one, other = whole.reliability("a", how), parts.reliability("a", how)
        assert one is not None and other is not None
        assert one.voxels.tolist() == other.voxels.tolist() and one.ece == pytest.approx(other.ece)
        more = 7 if margin is None else math.ceil(margin / 2 - 1e-9)
        assert one.voxels.sum() == 9 * 8 * (7 - max(0, 3 - more))

    def test_perfect_and_hopeless_probabilities(self, catalogue) -> None:
        chosen = [choose(catalogue, "metric", {"use": "ece", "margin": None})]
        wanted, labels = labels_of(1, values=2), Labels.of({"a": 1})
        for p, expected in ((wanted, 0.0), (1 - wanted, 1.0), (np.full(wanted.shape, wanted.mean()), 0.0)):
            watch = watch_case(volume(wanted), labels, chosen)
            assert watch is not None
            watch.see(tuple(slice(0, n) for n in wanted.shape), lambda _, p=p: p.astype(float))
            scored = measure_case(volume(wanted), volume(wanted), labels, chosen, watch=watch)
            assert scored.values["ece"]["a"] == pytest.approx(expected, abs=1e-9)
            assert scored.reliability["a"].voxels.sum() == wanted.size

    def test_without_probabilities_or_without_the_structure_it_is_undefined(self, catalogue) -> None:
        chosen = [choose(catalogue, "metric", {"use": "ece"})]
        wanted = labels_of(1, values=2)
        watch = watch_case(volume(wanted), Labels.of({"a": 1, "b": 2}), chosen)
        assert watch is not None
        watch.see(tuple(slice(0, n) for n in wanted.shape), lambda _: wanted.astype(float))
        labels = Labels.of({"a": 1, "b": 2})
        scored = measure_case(volume(wanted), volume(wanted), labels, chosen, watch=watch)
        assert scored.values["ece"]["a"] == 0.0 and math.isnan(scored.values["ece"]["b"])
        assert math.isnan(measure_case(volume(wanted), volume(wanted), labels, chosen).values["ece"]["a"])
        assert watch_case(volume(wanted), labels, [choose(catalogue, "metric", {"use": "dice"})]) is None


class TestSubgroups:
    @pytest.mark.parametrize(
        ("column", "values", "groups"),
        [
            ("sex", ["M", "F", "", "F"], ["M", "F", "not known", "F"]),
            ("age", [17.9, "18", "80", "065Y"], ["0 to 17", "18 to 39", "80 and over", "65 to 79"]),
            ("age", ["006M", "-1", "44", ""], ["0 to 17", "below 0", "40 to 64", "not known"]),
            ("field", [1.5, 3, "3.0", 1.5], ["1.5", "3", "3", "1.5"]),
            ("site", ["A", "A", "A", ""], None),
            ("one", [1, 1, 1, 1], None),
            ("none", ["", "", "", ""], None),
        ],
    )
    def test_columns_become_groups(self, column, values, groups) -> None:
        found = group_of(column, {str(n): value for n, value in enumerate(values)})
        assert (list(found.values()) if found else found) == groups

    def test_numbers_are_cut_at_the_thirds(self) -> None:
        found = group_of("bmi", {str(n): n for n in range(9)})
        assert found is not None
        sizes = [list(found.values()).count(name) for name in dict.fromkeys(found.values())]
        assert sizes == [3, 3, 3] and found["0"].startswith("below 2.6")

    def test_identifiers_make_no_groups(self) -> None:
        assert group_of("name", {str(n): f"patient {n}" for n in range(30)}) is None

    def test_each_group_has_the_scores_of_its_cases(self) -> None:
        values = np.linspace(0.5, 0.9, 24)
        scores = Scores.of(
            {f"{n:02}": {"dice": {"a": value}} for n, value in enumerate(values.tolist())},
            {f"{n:02}": n // 2 for n in range(24)},
        )
        facts = {f"{n:02}": {"site": "B" if n < 20 else "A"} for n in range(24)}
        tables = subgroups(scores, facts)
        assert list(tables["site"]) == ["A", "B"]
        one = tables["site"]["B"]
        assert (one["cases"], one["patients"], one["few"]) == (20, 10, False) and tables["site"]["A"]["few"]
        assert one["summary"]["dice"]["mean"]["mean"] == pytest.approx(values[:20].mean())
        low, high = one["summary"]["dice"]["a"]["ci95"]
        assert low < values[:20].mean() < high

    @pytest.mark.parametrize("text", ["case;site\nx;A\n", "\ufeffsite,Case\nA,x\n", "id\tsite\nx\tA\n\n"])
    def test_tables_of_every_habit_are_read(self, tmp_path, text) -> None:
        (tmp_path / "facts.csv").write_text(text, encoding="utf-8")
        assert read_facts(tmp_path / "facts.csv") == {"x": {"site": "A"}}

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "expected a first line"),
            ("name,site\nx,A", "expected a first line"),
            ("case\nx", "expected a first line"),
            ("case,site\nx,A\nx,B", "appears twice"),
            ("case,site,site\nx,A,B", "two columns"),
            ("case,site\nx,A,B", "line 2 has 3 cells"),
        ],
    )
    def test_a_table_that_is_none_is_refused(self, tmp_path, text, complaint) -> None:
        (tmp_path / "facts.csv").write_text(text)
        with pytest.raises((DataError, UsageError), match=complaint):
            read_facts(tmp_path / "facts.csv")
