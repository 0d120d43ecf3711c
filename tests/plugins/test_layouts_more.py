"""Tests of the layouts nnunet, bids and csv, and of masks in several files: what is found, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layout_folders import read, touch
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Split
from voxgraft.errors import DataError
from voxgraft.imaging.structures import Region
from voxgraft.imaging.volume import Align, MaskRef

BRATS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": [3], "ignore": 4}


def nnunet(folder: Path, **changes: Any) -> Path:
    touch(folder, *(f"imagesTr/{case}_0000.nii.gz" for case in "ab"), *(f"labelsTr/{case}.nii.gz" for case in "ab"))
    document = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz", **changes}
    (folder / "dataset.json").write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    return folder


class TestNnunet:
    def test_regions_come_with_their_order_and_the_ignore_label(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "nnunet", path=nnunet(tmp_path, labels=BRATS, regions_class_order=[1, 2, 3]))
        labels = found.labels
        assert labels is not None and labels.regions[:2] == (
            Region("whole tumor", (1, 2, 3)),
            Region("tumor core", (2, 3)),
        )
        assert labels.paint == (1, 2, 3) and labels.ignore == (4,) and labels.ignored == 255
        assert labels.names == ("label 1", "label 2", "enhancing") and found.notes == ()

    def test_plain_labels_may_have_an_ignore_label(self, catalogue: Catalogue, tmp_path: Path) -> None:
        labels = read(catalogue, "nnunet", path=nnunet(tmp_path, labels={"background": 0, "x": 1, "ignore": 2})).labels
        assert labels is not None and labels.names == ("x",) and 2 in labels.ignore and labels.regions == ()

    def test_an_order_that_could_not_be_read_back_keeps_channels(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "nnunet", path=nnunet(tmp_path, labels=BRATS, regions_class_order=[2, 1, 3]))
        assert found.labels is not None and found.labels.paint == () and "a channel for each region" in found.notes[0]

    def test_cases_may_lie_anywhere(self, catalogue: Catalogue, tmp_path: Path, monkeypatch: Any) -> None:
        touch(tmp_path, "other/a.nii.gz", "other/a_seg.nii.gz", "abs/b.nii.gz", "abs/b_seg.nii.gz")
        monkeypatch.setenv("VOXGRAFT_TEST_PLACE", str(tmp_path / "abs"))
        rows = {
            "a": {"images": ["../other/a.nii.gz"], "label": "../other/a_seg.nii.gz"},
            "b": {"images": ["$VOXGRAFT_TEST_PLACE/b.nii.gz"], "label": str(tmp_path / "abs" / "b_seg.nii.gz")},
        }
        found = read(catalogue, "nnunet", path=nnunet(tmp_path / "raw", dataset=rows, file_ending=None))
        assert [case.images[0].path.name for case in found.cases] == ["a.nii.gz", "b.nii.gz"]
        assert all(case.label is not None and case.label.path.is_file() for case in found.cases)

    def test_one_file_may_hold_all_channels(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "nnunet", path=nnunet(tmp_path, channel_names={"0": "R", "1": "G", "2": "B"}))
        assert found.channels == ("R", "G", "B") and all(len(case.images) == 1 for case in found.cases)

    def test_its_splits_are_offered(self, catalogue: Catalogue, tmp_path: Path) -> None:
        folder = nnunet(tmp_path)
        rows = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
        (folder / "splits_final.json").write_text(json.dumps(rows))
        assert read(catalogue, "nnunet", path=folder).splits == (Split(("a",), ("b",)), Split(("b",), ("a",)))
        (folder / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["q"]}]))
        with pytest.raises(DataError, match="names case q that the data set does not have"):
            read(catalogue, "nnunet", path=folder)

    def test_what_is_passed_over_is_noted(self, catalogue: Catalogue, tmp_path: Path) -> None:
        folder = nnunet(tmp_path, overwrite_image_reader_writer="SimpleITKIO", numTraining=7)
        touch(folder, "labelsTr/z.nii.gz")
        notes = " ".join(read(catalogue, "nnunet", path=folder).notes)
        assert (
            "overwrite_image_reader_writer" in notes and "z.nii.gz without an image" in notes and "7 training" in notes
        )

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"labels": None}, "'labels' must give"),
            ({"labels": {"x": -1}}, "whole number from 0"),
            ({"labels": {"x": True}}, "whole number from 0"),
            ({"labels": {"x": []}}, "whole number from 0"),
            ({"labels": {"background": 0, "x": [0, 1]}}, "holds the value of background"),
            ({"labels": {"x": [1, 2], "ignore": 2}}, "holds the value of background or of 'ignore'"),
            ({"labels": {"x": 1, "ignore": [2, 3]}}, "'ignore' must have one value"),
            ({"labels": {"x": [1, 2], "y": 2}, "regions_class_order": [1]}, "a value for each of the 2 regions"),
            ({"file_ending": "nii"}, "must be the ending"),
            ({"file_ending": "./../x"}, "must be the ending"),
            ({"file_ending": ".mha"}, "no file that ends in _0000.mha"),
            ({"channel_names": {"1": "T1"}}, "'channel_names' must name"),
            ({"dataset": {}}, "'dataset' must give"),
            ({"dataset": {"a": {"images": ["x.nii"]}}}, "needs a list of images and a label"),
            ({"dataset": {"a": {"images": ["x.nii"], "label": "y.nii"}}}, "not there"),
            ({"dataset": {"a": {"images": ["x\0.nii"], "label": "y.nii"}}}, "is not a path"),
        ],
    )
    def test_what_is_wrong_is_said(self, catalogue: Catalogue, tmp_path: Path, changes: Any, word: str) -> None:
        with pytest.raises(DataError, match=word) as raised:
            read(catalogue, "nnunet", path=nnunet(tmp_path, **changes))
        assert "\n" not in str(raised.value)

    def test_a_mask_that_is_not_there_is_named(self, catalogue: Catalogue, tmp_path: Path) -> None:
        (nnunet(tmp_path) / "labelsTr" / "b.nii.gz").unlink()
        with pytest.raises(DataError, match=r"label labelsTr/b\.nii\.gz, named for training"):
            read(catalogue, "nnunet", path=tmp_path)


def bids(folder: Path) -> Path:
    touch(
        folder,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
        "sub-02/anat/sub-02_acq-fast_T1w.nii.gz",
        "sub-02/anat/sub-02_acq-fast_FLAIR.nii",
        "sub-03/func/sub-03_bold.nii.gz",
        "derivatives/manual/sub-01/ses-a/anat/sub-01_ses-a_space-orig_dseg.nii.gz",
        "derivatives/manual/sub-01/ses-b/anat/sub-01_ses-b_space-orig_dseg.nii.gz",
        "derivatives/manual/sub-02/anat/sub-02_dseg.nii.gz",
    )
    (folder / "dataset_description.json").write_text("{}")
    (folder / "participants.tsv").write_text(
        "participant_id\tage\tsex\tsite\nsub-01\t61.5\tF\t03\nsub-02\tn/a\tM\tnorth\n"
    )
    (folder / "derivatives/manual/dseg.tsv").write_text("index\tname\n0\tbackground\n1\tGrey Matter\n7\tlesion\n")
    return folder


class TestBids:
    def test_sessions_are_cases_and_subjects_are_patients(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "bids", path=bids(tmp_path), suffixes=["T1w", "FLAIR"])
        assert [case.id for case in found.cases] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02"]
        assert [case.patient for case in found.cases] == ["sub-01", "sub-01", "sub-02"]
        assert found.channels == ("T1w", "FLAIR") and found.cases[1].images[1] is None
        assert found.cases[2].images[1].path.name == "sub-02_acq-fast_FLAIR.nii"
        assert [case.label.path.name for case in found.cases] == [
            "sub-01_ses-a_space-orig_dseg.nii.gz",
            "sub-01_ses-b_space-orig_dseg.nii.gz",
            "sub-02_dseg.nii.gz",
        ]
        assert found.notes == ("subject sub-03 without such an image",)

    def test_names_and_facts_come_from_the_tables(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "bids", path=bids(tmp_path))
        assert found.labels is not None and dict(zip(found.labels.names, found.labels.values, strict=True)) == {
            "Grey Matter": 1,
            "lesion": 7,
        }
        assert found.cases[0].facts == {"age": 61.5, "sex": "F", "site": "03"}
        assert found.cases[2].facts == {"sex": "M", "site": "north"}

    def test_masks_of_one_structure_each_are_joined(self, catalogue: Catalogue, tmp_path: Path) -> None:
        touch(
            tmp_path,
            "sub-1/anat/sub-1_T1w.nii.gz",
            "derivatives/x/sub-1/anat/sub-1_label-WM_mask.nii.gz",
            "derivatives/x/sub-1/anat/sub-1_label-lesion_mask.nii.gz",
        )
        label = read(catalogue, "bids", path=tmp_path).cases[0].label
        assert isinstance(label, MaskRef) and [name for name, _ in label.named] == ["WM", "lesion"]

    def test_what_is_not_unique_must_be_chosen(self, catalogue: Catalogue, tmp_path: Path) -> None:
        folder = bids(tmp_path)
        touch(folder, "sub-02/anat/sub-02_acq-slow_T1w.nii.gz")
        with pytest.raises(DataError, match=r"sub-02 has 2 T1w images .*say under entities"):
            read(catalogue, "bids", path=folder)
        found = read(catalogue, "bids", path=folder, entities={"acq": "slow"})
        assert [case.images[0].path.name for case in found.cases] == ["sub-02_acq-slow_T1w.nii.gz"]
        touch(folder, "derivatives/other/sub-02/anat/sub-02_desc-auto_dseg.nii.gz")
        with pytest.raises(DataError, match="sub-02 has 2 masks"):
            read(catalogue, "bids", path=folder, entities={"acq": "slow"})
        options = {"entities": {"acq": "slow"}, "mask_entities": {"desc": "auto"}}
        assert "desc-auto" in str(read(catalogue, "bids", path=folder, **options).cases[0].label)

    def test_missing_masks_are_refused_or_kept(self, catalogue: Catalogue, tmp_path: Path) -> None:
        folder = bids(tmp_path)
        (folder / "derivatives/manual/sub-02/anat/sub-02_dseg.nii.gz").unlink()
        with pytest.raises(DataError, match="case sub-02 of 3 without a mask"):
            read(catalogue, "bids", path=folder)
        kept = read(catalogue, "bids", path=folder, unlabelled="keep")
        assert [case.label is None for case in kept.cases] == [False, False, True]
        with pytest.raises(DataError, match="no such folder; set masks: null"):
            read(catalogue, "bids", path=folder, masks="nowhere")

    @pytest.mark.parametrize(
        ("table", "word"),
        [
            ("index\tname\nx\tGM\n", "line 2 has no whole number"),
            ("index\tname\n1\tGM\n2\tGM\n", "two values"),
            ("index\tname\n", "no row below"),
            ("index\tname\n1\tGM\textra\n", "line 2 has 3 cells"),
            ("index\tindex\n1\t2\n", "name of its own"),
            ("\0\0", "not a text file"),
        ],
    )
    def test_a_bad_table_of_names_is_told(self, catalogue: Catalogue, tmp_path: Path, table: str, word: str) -> None:
        (bids(tmp_path) / "derivatives/manual/dseg.tsv").write_text(table)
        with pytest.raises(DataError, match=word):
            read(catalogue, "bids", path=tmp_path)

    def test_a_folder_that_is_none_is_told(self, catalogue: Catalogue, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no folder sub-"):
            read(catalogue, "bids", path=tmp_path)
        touch(tmp_path, "sub-1/anat/sub-1_T2w.nii.gz")
        with pytest.raises(DataError, match=r"no subject has an image \*_T1w"):
            read(catalogue, "bids", path=tmp_path)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    touch(folder, "img/a.nii", "img/b.nii", "seg/a.nii", "seg/b.nii", "seg/a2.nii", "seg/b2.nii")
    (folder / "cases.csv").write_bytes(text.encode(encoding))
    return folder / "cases.csv"


class TestCsv:
    def test_channels_come_onto_the_grid_of_one_of_them(self, catalogue: Catalogue, tmp_path: Path) -> None:
        path = table(tmp_path, "case,image_pet,image_ct,label\na,img/a.nii,img/b.nii,seg/a.nii\n")
        assert read(catalogue, "csv", path=path, grid="ct").align == Align(1, "any")
        assert read(catalogue, "csv", path=path).align is None
        with pytest.raises(DataError, match="grid names no channel: 'mr'; they are pet, ct"):
            read(catalogue, "csv", path=path, grid="mr")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_it_is_read_as_people_export_it(
        self, catalogue: Catalogue, tmp_path: Path, encoding: str, delimiter: str
    ) -> None:
        rows = [
            "case,image,label,patient,Site,age",
            "A 1,img/a.nii,seg\\a.nii,p1,Köln,061",
            "B,img/b.nii,seg/b.nii,p1,,7",
        ]
        text = "\r\n".join(row.replace(",", delimiter) for row in rows) + "\r\n\r\n"
        found = read(catalogue, "csv", path=table(tmp_path, text, encoding))
        assert [case.id for case in found.cases] == ["A-1", "B"] and {case.patient for case in found.cases} == {"p1"}
        assert found.cases[0].label is not None and found.cases[0].label.path.is_file()
        assert found.cases[0].facts == {"site": "Köln", "age": "061"} and found.cases[1].facts == {"age": 7.0}
        assert bool(found.notes) == (encoding == "cp1252")

    def test_columns_are_channels_and_raters(self, catalogue: Catalogue, tmp_path: Path) -> None:
        rows = ["img/a.nii,img/b.nii,seg/a.nii,seg/a2.nii", "img/b.nii,n/a,seg/b.nii,"]
        text = "\n".join(["image_t1,image_t2,label_anna,label_bert", *rows])
        found = read(catalogue, "csv", path=table(tmp_path, text))
        assert found.channels == ("t1", "t2") and [case.images[1] is None for case in found.cases] == [False, True]
        assert set(found.cases[0].raters) == {"anna", "bert"} and set(found.cases[1].raters) == {"anna"}
        assert all(case.label is None for case in found.cases)

    def test_the_split_is_offered(self, catalogue: Catalogue, tmp_path: Path) -> None:
        rows = ["a,img/a.nii,seg/a.nii,Train", "b,img/b.nii,seg/b.nii,val", "c,img/a.nii,seg/a.nii,test"]
        text = "\n".join(["case,image,label,split", *rows])
        found = read(catalogue, "csv", path=table(tmp_path, text))
        assert found.splits == (Split(("a",), ("b",)),) and "1 rows belong neither" in found.notes[0]
        with pytest.raises(DataError, match="line 2 says 'fold1' under 'split'"):
            read(catalogue, "csv", path=table(tmp_path, text.replace("Train", "fold1")))

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            (
                "image,label\nimg/a.nii,seg/x.nii\nimg/y.nii,seg/b.nii\n",
                r"2 of the files it names are not there: .*img/y.*seg/x",
            ),
            ("scan,label\nimg/a.nii,seg/a.nii\n", "no column 'image'"),
            ("image,label\nimg/a.nii,\n", "row 2 without a mask"),
            ("image,label\n,seg/a.nii\n", "row 2 without any image"),
            ("case,image\nx,img/a.nii\nx,img/b.nii\n", "'x' does not"),
            ("image\n", "no row below"),
            ("", "no row below"),
            ('image\n"img/a.nii\n', "not a readable table"),
            ("image\nimg/\0a.nii\n", "not a text file"),
            ("image,image\nimg/a.nii,img/b.nii\n", "name of its own"),
        ],
    )
    def test_what_is_wrong_is_said(self, catalogue: Catalogue, tmp_path: Path, text: str, word: str) -> None:
        with pytest.raises(DataError, match=word):
            read(catalogue, "csv", path=table(tmp_path, text))

    def test_rows_of_one_image_have_names_of_their_own(self, catalogue: Catalogue, tmp_path: Path) -> None:
        found = read(catalogue, "csv", path=table(tmp_path, "image\nimg/a.nii\nimg/a.nii\nimg/b.nii\n"))
        assert [case.id for case in found.cases] == ["a-row-2", "a-row-3", "b"]

    def test_a_table_that_is_not_there_is_told(self, catalogue: Catalogue, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            read(catalogue, "csv", path=tmp_path / "none.csv")
        with pytest.raises(DataError, match="no column 'scan'; its columns are image"):
            read(catalogue, "csv", path=table(tmp_path, "image\nimg/a.nii\n"), images=["scan"])


class TestValid:
    def test_each_case_with_a_mask_has_its_file(self, catalogue: Catalogue, tmp_path: Path) -> None:
        touch(tmp_path, *(f"{part}/{case}.nii" for part in ("images", "labels") for case in "ab"), "images/c.nii")
        touch(tmp_path, "images/a_fov.gif", "images/b_fov.gif")
        options = {"images": "images/{case}.nii", "unlabelled": "keep"}
        found = read(catalogue, "pairs", path=tmp_path, valid="images/{case}_fov.gif", **options)
        names = [case.valid.path.name if case.valid else None for case in found.cases]
        assert names == ["a_fov.gif", "b_fov.gif", None] and found.bounded and found.notes == ()
        assert [len(case.references) for case in found.cases] == [3, 3, 1]
        (tmp_path / "images" / "b_fov.gif").unlink()
        with pytest.raises(
            DataError, match=r"case b of 2 without a file of where it counts in 'images/\{case\}_fov.gif'"
        ):
            read(catalogue, "pairs", path=tmp_path, valid="images/{case}_fov.gif", **options)
        with pytest.raises(DataError, match="there is no such folder"):
            read(catalogue, "pairs", path=tmp_path, valid="nowhere", **options)
        assert not read(catalogue, "pairs", path=tmp_path, **options).bounded

    def test_a_column_of_a_table_names_the_files(self, catalogue: Catalogue, tmp_path: Path) -> None:
        text = "image,label,valid,site\nimg/a.nii,seg/a.nii,seg/a2.nii,x\nimg/b.nii,seg/b.nii,,y\n"
        found = read(catalogue, "csv", path=table(tmp_path, text))
        assert [case.valid.path.name if case.valid else None for case in found.cases] == ["a2.nii", None]
        assert [dict(case.facts) for case in found.cases] == [{"site": "x"}, {"site": "y"}]
        other = table(tmp_path, text.replace("valid", "fov"))
        assert read(catalogue, "csv", path=other, valid="fov").cases[0].valid == found.cases[0].valid
        with pytest.raises(DataError, match="no column 'where'; its columns are image"):
            read(catalogue, "csv", path=other, valid="where")
        with pytest.raises(DataError, match=r"1 of the files it names are not there: .*gone\.nii"):
            read(catalogue, "csv", path=table(tmp_path, text.replace("seg/a2.nii", "gone.nii")))


class TestPairs:
    def test_raters_and_structures_are_places_of_a_pattern(self, catalogue: Catalogue, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.nii", "images/b.nii", *(f"masks/{who}/{case}.nii" for who in "xy" for case in "ab"))
        found = read(catalogue, "pairs", path=tmp_path, labels="masks/{rater}/{case}.nii")
        assert [sorted(case.raters) for case in found.cases] == [["x", "y"]] * 2 and found.cases[0].label is None
        found = read(catalogue, "pairs", path=tmp_path, labels="masks/{structure}/{case}.nii")
        label = found.cases[1].label
        assert isinstance(label, MaskRef) and [name for name, _ in label.named] == ["x", "y"] and found.notes == ()

    def test_two_files_of_one_rater_are_refused(self, catalogue: Catalogue, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.nii", "masks/x/a.nii", "masks/x/a.nii.gz")
        with pytest.raises(DataError, match=r"both fit .* the rater 'x' of the case 'a'"):
            read(catalogue, "pairs", path=tmp_path, labels="masks/{rater}/{case}.*")


@pytest.mark.parametrize(("make", "name"), [(nnunet, "nnunet"), (bids, "bids")])
def test_a_folder_is_known_by_its_layout(catalogue: Catalogue, tmp_path: Path, make: Any, name: str) -> None:
    make(tmp_path)
    fitting = [spec.name for _, spec in catalogue.of("layout") if spec.guess is not None and spec.guess(tmp_path)]
    assert fitting == [name]
