"""Tests of the layouts: which cases a folder holds, what is refused, and that names give no patient away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from layout_folders import read, touch
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import DataError


def decathlon(folder: Path, **changes: Any) -> Path:
    touch(folder, *(f"{part}/c_{n}.nii.gz" for part in ("imagesTr", "labelsTr") for n in (1, 2)))
    rows = [{"image": f"./imagesTr/c_{n}.nii.gz", "label": f"./labelsTr/c_{n}.nii.gz"} for n in (1, 2)]
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    document = {"modality": {"0": "MRI"}, "labels": labels, "training": rows, "test": ["./imagesTs/c_9.nii.gz"]}
    (folder / "dataset.json").write_text(json.dumps({**document, **changes}))
    return folder


def test_decathlon_reads_the_real_hippocampus(catalogue: Catalogue, data: Path) -> None:
    found = read(catalogue, "decathlon", path=data / "hippocampus")
    assert len(found.cases) == 200 and found.channels == ("MRI",) and found.notes == ()
    assert found.labels is not None and found.labels.document() == [
        {"value": 1, "name": "Anterior"},
        {"value": 2, "name": "Posterior"},
    ]
    first = found.cases[0]
    assert first.id == first.patient == "hippocampus_004"
    assert first.images[0].path.is_file() and first.label is not None and first.label.path.parent.name == "labelsTr"


def test_decathlon_leaves_out_test_cases_and_notes_unlisted_files(catalogue: Catalogue, tmp_path: Path) -> None:
    touch(decathlon(tmp_path), "imagesTr/extra.nii.gz", "imagesTr/._c_1.nii.gz", "imagesTs/c_9.nii.gz")
    found = read(catalogue, "decathlon", path=tmp_path)
    assert [case.id for case in found.cases] == ["c_1", "c_2"]
    assert found.notes == ("imagesTr holds file extra.nii.gz that dataset.json does not list",)


def test_decathlon_keeps_one_file_with_several_channels(catalogue: Catalogue, tmp_path: Path) -> None:
    found = read(catalogue, "decathlon", path=decathlon(tmp_path, modality={"1": "T1", "0": "FLAIR"}))
    assert found.channels == ("FLAIR", "T1") and all(len(case.images) == 1 for case in found.cases)


def test_nnunet_reads_one_file_a_channel(catalogue: Catalogue, tmp_path: Path) -> None:
    files = [f"imagesTr/p{case}_000{channel}.nii.gz" for case in "ab" for channel in (0, 1)]
    touch(tmp_path, *files, "labelsTr/pa.nii.gz", "labelsTr/pb.nii.gz")
    document = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    found = read(catalogue, "nnunet", path=tmp_path)
    assert [case.id for case in found.cases] == ["pa", "pb"] and found.channels == ("T2", "ADC")
    assert [ref.path.name for ref in found.cases[1].images] == ["pb_0000.nii.gz", "pb_0001.nii.gz"]
    assert found.labels is not None and found.labels.names == ("tumour",)
    (tmp_path / files[3]).unlink()
    assert read(catalogue, "nnunet", path=tmp_path).cases[1].images[1] is None
    with pytest.raises(DataError, match="set use: nnunet"):
        read(catalogue, "decathlon", path=tmp_path)


@pytest.mark.parametrize("gone", ["imagesTr/c_2.nii.gz", "labelsTr/c_1.nii.gz"])
def test_decathlon_names_a_file_that_is_not_there(catalogue: Catalogue, tmp_path: Path, gone: str) -> None:
    (decathlon(tmp_path) / gone).unlink()
    with pytest.raises(DataError, match=gone):
        read(catalogue, "decathlon", path=tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"training": []}, "no cases"),
        ({"training": {"image": "x"}}, "no cases"),
        ({"training": [{"label": "x"}]}, "entry 1"),
        ({"training": [{"image": "./imagesTr/c_1.nii.gz", "label": 3}]}, "entry 1"),
        ({"training": [{"image": "../secret.nii.gz"}]}, "inside"),
        ({"training": [{"image": "/etc/passwd"}]}, "inside"),
        ({"training": [{"image": "imagesTr\\..\\..\\x.nii.gz"}]}, "inside"),
        ({"training": [{"image": "./imagesTr/c_1.nii.gz"}] * 2}, "twice"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "the same name"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "whole number"),
        ({"labels": {"1": "a", "-1": "b"}}, "-1"),
        ({"labels": ["background", "a"]}, "whole number"),
        ({"modality": {"0": "T1", "2": "T2"}}, "modality"),
        ({"modality": "MRI"}, "modality"),
    ],
)
def test_decathlon_says_what_is_wrong(catalogue: Catalogue, tmp_path: Path, changes: Any, word: str) -> None:
    with pytest.raises(DataError, match=word) as raised:
        read(catalogue, "decathlon", path=decathlon(tmp_path, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe{}", b"[" * 100_000, b""])
def test_decathlon_refuses_a_damaged_list(catalogue: Catalogue, tmp_path: Path, text: bytes) -> None:
    (decathlon(tmp_path) / "dataset.json").write_bytes(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        read(catalogue, "decathlon", path=tmp_path)


def test_decathlon_says_where_it_looked(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.json: there is no such file"):
        read(catalogue, "decathlon", path=tmp_path / "nowhere")


def test_pairs_reads_the_real_atria(catalogue: Catalogue, data: Path) -> None:
    found = read(catalogue, "pairs", path=data / "la2018")
    assert len(found.cases) == 40 and found.cases[7].id == "la_007" and found.labels is None
    assert all(case.label is not None and case.label.path.name == case.images[0].path.name for case in found.cases)


def test_pairs_reads_named_channels_in_a_folder_per_case(catalogue: Catalogue, data: Path) -> None:
    images = {"flair": "{case}/Flair_subtrMeanDivStd.nii.gz", "t1c": "{case}/T1c_subtrMeanDivStd.nii.gz"}
    found = read(catalogue, "pairs", path=data / "brats", images=images, labels="{case}/OTMultiClass.nii.gz")
    assert found.channels == ("flair", "t1c") and len(found.cases) == 2
    assert found.cases[0].id == "brats_2013_pat0005_1"
    assert found.cases[0].images[1].path.name.startswith("T1c")
    assert "brainmask" in " ".join(found.notes)


def test_pairs_matches_names_that_differ(catalogue: Catalogue, data: Path) -> None:
    options = {"images": "images/{case}_training.tif", "labels": "1st_manual/{case}_manual1.gif"}
    found = read(catalogue, "pairs", path=data / "drive", channels=["red", "green", "blue"], **options)
    assert [case.id for case in found.cases] == [str(n) for n in range(21, 41)]
    assert found.channels == ("red", "green", "blue")


def test_pairs_takes_the_patient_from_the_name_or_the_folder(catalogue: Catalogue, tmp_path: Path) -> None:
    names = ["p1_pre.nii.gz", "p1_post.nii.gz", "p2_pre.nii"]
    touch(tmp_path, *(f"{part}/{name}" for part in ("images", "labels") for name in names))
    found = read(catalogue, "pairs", path=tmp_path, patient="{patient}_{rest}")
    assert {case.id: case.patient for case in found.cases} == {"p1_post": "p1", "p1_pre": "p1", "p2_pre": "p2"}
    touch(tmp_path, "tree/anna/v1/t1.nii", "tree/anna/v2/t1.nii", "tree/bert/v3/t1.nii")
    found = read(catalogue, "pairs", path=tmp_path / "tree", images="{patient}/{case}/t1.nii", labels=None)
    assert {case.id: case.patient for case in found.cases} == {"v1": "anna", "v2": "anna", "v3": "bert"}
    with pytest.raises(DataError, match=r"p1_post.*does not fit"):
        read(catalogue, "pairs", path=tmp_path, patient="{patient}-{rest}")


def test_pairs_refuses_or_keeps_an_image_without_its_mask(catalogue: Catalogue, tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "labels/z.nii.gz", "images/notes.txt")
    with pytest.raises(DataError, match="case b of 2 without a mask"):
        read(catalogue, "pairs", path=tmp_path)
    found = read(catalogue, "pairs", path=tmp_path, unlabelled="keep")
    assert [case.label is None for case in found.cases] == [False, True]
    assert found.notes == ("mask z.nii.gz without an image", "file notes.txt beside the images, used by no case")


def test_pairs_leaves_a_place_for_a_channel_that_is_not_there(catalogue: Catalogue, tmp_path: Path) -> None:
    touch(tmp_path, "images/a_0000.nii", "images/a_0001.nii", "images/b_0000.nii")
    images = {"t1": "images/{case}_0000.nii", "t2": "images/{case}_0001.nii"}
    found = read(catalogue, "pairs", path=tmp_path, images=images, labels=None)
    assert [case.images[1] is None for case in found.cases] == [False, True]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"images": {"t1": "t1.nii"}}, "needs a place"),
        ({"images": "img/*.nii"}, "needs a place"),
        ({"images": "../{case}.nii"}, "below"),
        ({"labels": "/abs/{case}.nii"}, "below"),
        ({"images": "{case.nii"}, "brace"),
        ({"patient": "{patient"}, "brace"),
        ({"images": {"a": "{case}.nii"}, "channels": ["a"]}, "twice"),
        ({"images": {}}, "at least 1"),
        ({"valid": "mask/*.nii"}, "needs a place"),
        ({"valid": "mask", "labels": None}, "name them under labels"),
        ({"unlabeled": "keep"}, "unlabeled"),
    ],
)
def test_pairs_options_are_refused_before_anything_is_read(catalogue: Catalogue, options: Any, word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        choose(catalogue, "layout", {"use": "pairs", "path": "x", **options})


def test_pairs_refuses_two_images_of_one_name(catalogue: Catalogue, tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii", "images/a.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii and a\.nii\.gz have the same name"):
        read(catalogue, "pairs", path=tmp_path, labels=None)


def test_pairs_takes_a_header_with_its_data_file_as_one_image(catalogue: Catalogue, tmp_path: Path) -> None:
    touch(tmp_path, "images/a.hdr", "images/a.img", "images/b.mhd", "images/b.raw")
    found = read(catalogue, "pairs", path=tmp_path, labels=None)
    assert [case.images[0].path.name for case in found.cases] == ["a.hdr", "b.mhd"]


def test_case_ids_are_safe_unique_folder_names(catalogue: Catalogue, tmp_path: Path) -> None:
    names = ["a b.nii", "a:b.nii", "Ä.nii", "..x.nii".lstrip("."), "CASE.nii", "case.nii", "n" * 200 + ".nii"]
    touch(tmp_path, *(f"images/{name}" for name in names))
    ids = [case.id for case in read(catalogue, "pairs", path=tmp_path, labels=None).cases]
    assert len({one.casefold() for one in ids}) == len(names)
    assert all(one.isascii() and 0 < len(one) < 120 and not set(one) & set("/\\: \0") for one in ids)
    assert not any(one.startswith(".") for one in ids)
