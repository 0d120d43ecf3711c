"""Tests of scores as files and pages: what is written of them, and names that mean harm."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mask_pairs import AFFINE, LABELS, NAMES, labels_of, volume
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Selected, choose
from voxgraft.discovery import discover
from voxgraft.errors import DataError, UsageError
from voxgraft.reports.drawing import Picture
from voxgraft.reports.pictures import worst_slice
from voxgraft.reports.plots import box_plot
from voxgraft.reports.scores import about, page, worst_cases
from voxgraft.scoring.case import measure_case
from voxgraft.scoring.naming import read_labels
from voxgraft.scoring.pair import Counts
from voxgraft.scoring.paths import Extras, evaluate_paths
from voxgraft.scoring.scores import Scores, gathered
from voxgraft.scoring.subgroups import read_facts


@pytest.fixture(scope="module")
def metrics(catalogue: Catalogue) -> list[Selected[Any]]:
    return [choose(catalogue, "metric", {"use": name}) for name in NAMES]


HOSTILE = '<script>alert("x")</script>&\'"'


class Names(HTMLParser):
    """Collects the tags and the addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


class TestPage:
    @pytest.fixture
    def scores(self, metrics) -> Scores:
        found = {
            f"{HOSTILE}{n}": measure_case(volume(labels_of(n)), volume(labels_of(n + 50)), LABELS, metrics)
            for n in range(4)
        }
        facts = {case: {HOSTILE: "AB"[n % 2], "patient": str(n)} for n, case in enumerate(found)}
        scores = gathered(found, metrics, facts)
        bins = {"voxels": [3, 0, 2], "confidence": [0.3, 0.0, 1.9], "true": [0, 0, 2]}
        return replace(scores, failed={HOSTILE: HOSTILE}, unmatched=(HOSTILE,), calibration={HOSTILE: bins})

    def test_it_is_one_file_that_escapes_everything(self, scores) -> None:
        cards = about(scores, discover())
        pictures = dict.fromkeys(worst_cases(scores, cards), Picture(b"drawn", b"plain", HOSTILE))
        text = page(scores, cards, HOSTILE, pictures)
        names = Names()
        names.feed(text)
        assert names.tags.count("script") == 1 and "alert(" in text and "<script>alert" not in text
        assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in names.addresses)
        assert not re.search(r"https?://", text) and "$" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)
        assert text.count("data:image/jpeg") == 8, "each with contours and without"
        assert "nan" not in re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
        assert names.tags.count("svg") == len(NAMES) + 1

    def test_scores_without_any_value_have_a_page_too(self, scores) -> None:
        empty = Scores.of({"x": {"dice": {"a": math.nan}}})
        assert "No case has a value" in page(empty, {}, "x", {})
        assert page(Scores.of({}), {}, "x", {})

    def test_the_worst_come_first(self) -> None:
        scores = Scores.of(
            {case: {"hd": {"a": value}} for case, value in zip("pqrs", (1, math.nan, 9, 4), strict=True)}
        )
        assert worst_cases(scores, about(scores, discover())) == ["r", "s", "p"]
        dice = Scores.of({case: {"dice": {"a": value}} for case, value in zip("pqr", (0.5, 0.0, 0.7), strict=True)})
        assert worst_cases(dice, about(dice, discover()))[:2] == ["q", "p"]

    def test_nothing_is_worst_where_nothing_is_wrong(self) -> None:
        best = Scores.of({"p": {"dice": {"a": 1.0}}, "q": {"dice": {"a": math.nan}}})
        assert worst_cases(best, about(best, discover())) == []
        counts = {"p": {"a": Counts(5, 0, 0, 9)}, "q": {"a": Counts(5, 1, 0, 9)}}
        near = Scores.of({case: {"nsd": {"a": 1.0}} for case in "pq"}, counts=counts)
        assert worst_cases(near, about(near, discover())) == ["q"], "one voxel is wrong, whatever the metric says"

    def test_a_missed_structure_is_the_worst_though_its_distance_is_undefined(self) -> None:
        counts = {"p": {"a": Counts(5, 1, 0, 9)}, "q": {"a": Counts(0, 0, 5, 9)}}
        distances = {"p": {"hd": {"a": 7.0}}, "q": {"hd": {"a": math.nan}}}
        scores = Scores.of(distances, counts=counts)
        assert worst_cases(scores, about(scores, discover())) == ["q", "p"]
        text = page(scores, about(scores, discover()), "x", {})
        assert ">undefined</span>" in text and "1 of 2" in text

    @pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [-3.0, 1e6], [1e-9, 2e-9], [0.0]])
    def test_boxes_of_odd_values_are_drawn_inside(self, values) -> None:
        text = box_plot({"a": dict(enumerate_cases(values))}, None, "mm")
        places = [float(x) for x in re.findall(r'cx="([-\d.]+)"', text)]
        assert len(places) == len(values) and all(189 <= place <= 661 for place in places)

    def test_of_many_cases_only_the_odd_ones_have_dots(self) -> None:
        values = {str(n): 0.8 + 0.001 * (n % 50) for n in range(5000)} | {"odd": 0.1}
        text = box_plot({"a": values}, (0, 1), "")
        assert text.count("<circle") == 1 and "odd: 0.1" in text

    @pytest.mark.parametrize("shape", [(9, 8, 7), (12, 10), (1, 1, 1), (1, 5), (40, 3, 3)])
    @pytest.mark.parametrize("with_scan", [True, False])
    def test_a_picture_is_drawn_of_any_case(self, shape, with_scan) -> None:
        dims = len(shape)
        scan = volume(np.random.default_rng(0).normal(0, 1, shape).astype(np.float32), dims) if with_scan else None
        found, wanted = labels_of(1, shape), labels_of(2, shape)
        for one in (found, np.zeros_like(found)):
            shown = worst_slice(volume(one, dims), volume(wanted, dims), scan, labels=LABELS)
            sizes = [Image.open(BytesIO(data)).size for data in (shown.drawn, shown.plain)]
            assert max(sizes[0]) == 560 and min(sizes[0]) >= 8 and sizes[0] == sizes[1]
            assert "wrong voxel" in shown.caption and (dims == 2 or "slice" in shown.caption)

    def test_the_slice_with_most_wrong_voxels_is_shown(self) -> None:
        wanted, found = np.zeros((30, 30, 12), np.uint8), np.zeros((30, 30, 12), np.uint8)
        wanted[10:20, 10:20, 2:10] = 1
        found[10:20, 10:20, 2:10] = 1
        found[:, :, 7] = 1
        picture = np.array(Image.open(BytesIO(worst_slice(volume(found), volume(wanted)).drawn))).astype(int)
        orange, blue = ((abs(picture - colour) < 40).all(-1) for colour in ((255, 140, 40), (64, 196, 255)))
        assert not orange.any() and blue.any()
        found[:, :, 7] = 0
        found[5:25, 5:25, 7] = 1
        shown = worst_slice(volume(found), volume(wanted), labels=LABELS)
        picture = np.array(Image.open(BytesIO(shown.drawn))).astype(int)
        orange, blue = ((abs(picture - colour) < 40).all(-1) for colour in ((255, 140, 40), (64, 196, 255)))
        assert orange.any() and blue.any() and shown.caption.startswith("axial slice 8 of 12; a; 300 wrong voxels")


def enumerate_cases(values: list[float]) -> list[tuple[str, float]]:
    return [(str(number), value) for number, value in enumerate(values)]


class TestFiles:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> Path:
        for n in range(3):
            for name, seed in (("p", n), ("r", n + 9)):
                (tmp_path / name).mkdir(exist_ok=True)
                nib.save(nib.Nifti1Image(labels_of(seed), AFFINE), tmp_path / name / f"=case {n}.nii.gz")
            p = np.random.default_rng(n).dirichlet(np.ones(4), (9, 8, 7)).astype(np.float32)
            (tmp_path / "maps").mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(p, AFFINE), tmp_path / "maps" / f"=case {n}.nii.gz")
            (tmp_path / "scans").mkdir(exist_ok=True)
            scan = np.random.default_rng(n).normal(0, 1, (9, 8, 7)).astype(np.float32)
            nib.save(nib.Nifti1Image(scan, AFFINE), tmp_path / "scans" / f"=case {n}_0000.nii.gz")
        lines = ["case,patient,site", *(f"=case {n},p{n // 2},{'AB'[n % 2]}" for n in range(3))]
        (tmp_path / "facts.csv").write_text("\n".join(lines))
        return tmp_path

    def call(self, folder: Path, *more: Any) -> Any:
        arguments = ["evaluate", folder / "p", folder / "r", *more]
        return CliRunner().invoke(main, list(map(str, arguments)))

    def test_everything_at_once(self, folders) -> None:
        done = self.call(
            folders,
            *("--labels", "a=1,b=2,c=3", "--regions", "whole=1+2+c", "--metrics", "dice,hd95,ece:bins=5"),
            *("--groups", folders / "facts.csv", "--images", folders / "scans"),
            *("--probabilities", folders / "maps", "--json"),
            *(option for end in ("json", "csv", "html") for option in ("--out", folders / f"s.{end}")),
        )
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert json.loads((folders / "s.json").read_text()) == document
        assert document["regions"] == ["whole"] and document["groups"] == {"=case 0": 0, "=case 1": 0, "=case 2": 1}
        assert set(document["micro"]) == {"dice"} and set(document["subgroups"]) == {"site"}
        assert all(value > 0 for value in document["cases"]["=case 0"]["ece"].values())
        assert len(document["calibration"]["whole"]["voxels"]) == 5
        again = Scores.from_json(folders / "s.json")
        assert again.document() == document
        with (folders / "s.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3 * 3 * 5 and {row["case"] for row in rows} == {f"'=case {n}" for n in range(3)}
        assert (folders / "s.html").read_text().count("data:image/jpeg") == 6

    def test_regions_without_names_of_structures(self, folders) -> None:
        document = json.loads(self.call(folders, "--regions", "low=1+2,odd=1+77", "--json").stdout)
        assert list(document["summary"]["dice"]) == ["1", "2", "3", "77", "low", "odd", "mean"]

    @pytest.mark.parametrize(
        ("wrong", "code", "words"),
        [
            (("--probabilities", "maps", "--metrics", "ece"), 2, "need the names of the structures"),
            (("--probabilities", "maps", "--labels", "a=1,b=2,c=3"), 2, "ask for ece"),
            (
                ("--probabilities", "scans", "--labels", "a=1,b=2,c=3", "--metrics", "ece"),
                1,
                "1 channels; 3 structures",
            ),
            (("--probabilities", "none", "--labels", "a=1,b=2,c=3", "--metrics", "ece"), 2, "no such file or folder"),
            (("--groups", "none.csv"), 2, "no such file"),
            (("--regions", "x"), 2, "expected name=1"),
            (("--out", "x.pdf"), 2, "must end in .json, .csv or .html"),
        ],
    )
    def test_a_wrong_call_is_said_in_a_sentence(self, folders, wrong, code, words) -> None:
        paths = ("maps", "scans", "none", "none.csv")
        done = self.call(folders, *(folders / one if one in paths else one for one in wrong))
        assert done.exit_code == code and words in done.stderr, done.output

    def test_probabilities_that_are_none_are_refused(self, folders, catalogue) -> None:
        for n in range(3):
            path = folders / "maps" / f"=case {n}.nii.gz"
            array = np.asanyarray(nib.load(path).dataobj) * 3
            nib.save(nib.Nifti1Image(array, AFFINE), path)
        extras = Extras(probabilities=folders / "maps")
        scores = evaluate_paths(folders / "p", folders / "r", ["ece"], catalogue, LABELS, extras=extras)
        assert len(scores.failed) == 3 and "not probabilities from 0 to 1" in next(iter(scores.failed.values()))

    def test_a_scan_of_another_grid_is_not_shown(self, folders) -> None:
        nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), AFFINE), folders / "scans" / "=case 1_0000.nii.gz")
        done = self.call(folders, "--images", folders / "scans", "--out", folders / "s.html")
        assert done.exit_code == 0 and "not shown" in done.stderr
        assert (folders / "s.html").read_text().count("data:image/jpeg") == 6

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_pictures_are_masks_in_whatever_colours_they_were_saved(self, tmp_path, catalogue, mode) -> None:
        grey = Image.fromarray(labels_of(1, (12, 10)) * 60)
        grey.save(tmp_path / "p.png")
        grey.convert(mode).save(tmp_path / "r.png")
        scores = evaluate_paths(tmp_path / "p.png", tmp_path / "r.png", ["dice"], catalogue)
        assert scores.cases["r"]["dice"] == {"60": 1.0, "120": 1.0, "180": 1.0, "mean": 1.0}

    def test_one_voxel_is_a_case(self, tmp_path, catalogue) -> None:
        for name in ("p", "r"):
            nib.save(nib.Nifti1Image(np.ones((1, 1, 1), np.uint8), AFFINE), tmp_path / f"{name}.nii")
        every = ["dice", "hd95", "hd95:surface=area", "nsd", "lesion-f1", "specificity"]
        scores = evaluate_paths(tmp_path / "p.nii", tmp_path / "r.nii", every, catalogue)
        assert [scores.cases["r"][name]["1"] for name in ("dice", "hd95", "nsd", "lesion-f1")] == [1.0, 0.0, 1.0, 1.0]
        assert scores.cases["r"]["hd95_surface_area"]["1"] == 0.0
        assert math.isnan(scores.cases["r"]["specificity"]["1"])


class TestHostile:
    """What comes from outside is bad at times; that is said in a sentence, and nothing else happens."""

    @settings(max_examples=80, deadline=None)
    @given(data=st.data(), shape=st.tuples(*[st.integers(1, 4)] * 3) | st.tuples(*[st.integers(1, 5)] * 2))
    def test_any_two_arrays_are_scored_or_refused(self, metrics, data, shape) -> None:
        kinds = st.sampled_from([np.bool_, np.uint8, np.int8, np.int16, np.uint16, np.int64, np.float32, np.float64])
        volumes = []
        for _ in range(2):
            array = data.draw(arrays(data.draw(kinds), shape))
            if data.draw(st.booleans()):
                array = np.nan_to_num(array.astype(np.float64)).clip(0, 1e6).astype(np.int64) % 4
            if data.draw(st.integers(0, 9)) == 0:
                array = np.stack([array] * 3)
            volumes.append(volume(array, len(shape)))
        try:
            scored = measure_case(*volumes, LABELS, metrics)
        except DataError as error:
            assert str(error)
        else:
            for metric, values in scored.values.items():
                assert set(values) == {"a", "b", "c"}
                assert all(math.isnan(value) or 0 <= value < 100 for value in values.values()), metric

    @settings(max_examples=150, deadline=None)
    @given(text=st.text(st.sampled_from('case,id;\t\n"x1 \x00é='), max_size=60))
    def test_any_text_is_a_table_of_facts_or_is_refused(self, tmp_path_factory, text) -> None:
        path = tmp_path_factory.getbasetemp() / "facts.csv"
        path.write_text(text, encoding="utf-8")
        try:
            facts = read_facts(path)
        except (DataError, UsageError):
            return
        assert all(isinstance(one, dict) for one in facts.values())

    @settings(max_examples=150, deadline=None)
    @given(
        document=st.recursive(
            st.none() | st.booleans() | st.integers(-3, 70000) | st.floats() | st.sampled_from(["a", "1", "mean", ""]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["labels", "a", "b", "1", "name", "value", "ignore", "mean"]), inner)
            ),
            max_leaves=8,
        )
    )
    def test_any_file_names_structures_or_is_refused(self, tmp_path_factory, document) -> None:
        path = tmp_path_factory.getbasetemp() / "labels.json"
        path.write_text(json.dumps(document))
        try:
            labels = read_labels(str(path))
        except (DataError, UsageError):
            return
        assert all(0 < value <= 65535 for value in labels.values)

    @settings(max_examples=100, deadline=None)
    @given(
        part=st.sampled_from(["cases", "groups", "failed", "unmatched", "metrics", "micro", "counts", "regions"]),
        value=st.none()
        | st.integers()
        | st.floats()
        | st.lists(st.integers())
        | st.just({"x": {"dice": {"a": 1e400}}}),
    )
    def test_any_file_holds_scores_or_is_refused(self, tmp_path_factory, part, value) -> None:
        path = tmp_path_factory.getbasetemp() / "scores.json"
        path.write_text(json.dumps({"cases": {"x": {"dice": {"a": 0.5}}}, part: value}))
        try:
            assert Scores.from_json(path).summary is not None
        except DataError:
            return


def test_a_list_of_structures_may_be_longer_than_any_file_name() -> None:
    assert len(read_labels(",".join(f"structure {value}={value}" for value in range(1, 60))).items) == 59
