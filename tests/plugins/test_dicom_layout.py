"""The layout `dicom`: which series become cases, what is left out and told, and that names give nobody away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pydicom.uid import generate_uid

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Dataset, Described
from voxgraft.datasets.dataset import read_layout
from voxgraft.errors import DataError
from voxgraft.imaging.read import read as read_image
from voxgraft.imaging.volume import Align


def read(catalogue: Catalogue, **options: Any) -> Dataset:
    found: Dataset = read_layout(choose(catalogue, "layout", {"use": "dicom", **options}), catalogue)
    return found


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def series(folder: Path, patient: str, **changes: Any) -> None:
    array = np.arange(8 * 6 * 5, dtype=np.int16).reshape(8, 6, 5)
    make_series(folder, array, np.diag([2.0, 2.0, 3.0, 1.0]), PatientID=patient, **changes)


def test_dicom_makes_a_case_of_every_series_that_fits(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "tree/DOE^JANE/ct1", "MRN-777", Modality="CT", SeriesDescription="Thorax")
    series(tmp_path / "tree/DOE^JANE/ct2", "MRN-777", Modality="CT", SeriesDescription="Abdomen Venous")
    series(tmp_path / "tree/other/mr", "MRN-888", Modality="MR", SeriesDescription="t1 abdomen")
    touch(tmp_path, "masks/ct2.nii.gz", "masks/stray.nii.gz")
    everything = read(catalogue, path=tmp_path / "tree")
    assert len(everything.cases) == 3 and len({case.patient for case in everything.cases}) == 2
    options = {"modality": "CT", "description": "*abdomen*", "labels": tmp_path / "masks"}
    found = read(catalogue, path=tmp_path / "tree", **options)
    (case,) = found.cases
    assert case.label is not None and case.label.path.name == "ct2.nii.gz" and case.images[0].series
    assert found.notes == (
        "2 patients, 2 studies, 3 series: 2 CT, 1 MR",
        "2 of 3 series left out by the rules: 1 another description, 1 another modality",
        "1 of 2 masks belong to no series",
    )


def test_dicom_names_give_no_patient_away(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "DOE^JANE/MRN-777", "MRN-777")
    (case,) = read(catalogue, path=tmp_path).cases
    assert not any(
        word in case.id + case.patient for word in ("DOE", "JANE", "777", "Test", str(case.images[0].series))
    )
    (named,) = read(catalogue, path=tmp_path, ids="folder", patient="folder").cases
    assert named.id == "DOE-JANE-MRN-777"


def test_dicom_cases_keep_their_names_when_folders_move(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "a" / "s", "1")
    (before,) = read(catalogue, path=tmp_path / "a").cases
    (tmp_path / "a").rename(tmp_path / "b")
    (after,) = read(catalogue, path=tmp_path).cases
    assert before.id == after.id and before.patient == after.patient


def test_dicom_finds_masks_by_series_uid_and_by_case(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "tree/a", "1")
    series(tmp_path / "tree/b", "2")
    first, second = read(catalogue, path=tmp_path / "tree").cases
    touch(tmp_path, f"masks/{first.images[0].series}.nii.gz", f"masks/{second.id}.nii.gz")
    found = read(catalogue, path=tmp_path / "tree", labels=tmp_path / "masks", unlabelled="error")
    assert [case.label.path.name for case in found.cases if case.label] == [
        f"{first.images[0].series}.nii.gz",
        f"{second.id}.nii.gz",
    ]


def test_dicom_refuses_when_nothing_fits(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read(catalogue, path=tmp_path / "none")
    series(tmp_path / "a", "1", Modality="MR")
    with pytest.raises(DataError, match=r"none of its 1 series \(1 MR\)"):
        read(catalogue, path=tmp_path, modality=["CT"])
    with pytest.raises(DataError, match="without a mask"):
        (tmp_path / "masks").mkdir()
        read(catalogue, path=tmp_path / "a", labels=tmp_path / "masks", unlabelled="error")


def stack(folder: Path, shape: tuple[int, int, int] = (8, 6, 5), affine: Any = None, **changes: Any) -> list[Path]:
    """A series of noise; the study, unless told otherwise, is that of its parent folder."""
    array = np.random.default_rng(len(str(folder))).integers(0, 99, shape).astype(np.int16)
    study = {"StudyInstanceUID": generate_uid(entropy_srcs=[str(folder.parent)])}
    return make_series(
        folder, array, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine, **(study | changes)
    )


def turned(
    plane: str, steps: tuple[float, float, float] = (1.0, 1.0, 2.0), degrees: float = 0.0
) -> np.ndarray[Any, Any]:
    """An affine of slices that lie so, tilted by some degrees about the rows."""
    columns = {
        "axial": [(-1, 0, 0), (0, -1, 0)],
        "sagittal": [(0, -1, 0), (0, 0, -1)],
        "coronal": [(-1, 0, 0), (0, 0, -1)],
    }
    along, down = (np.array(column, float) for column in columns[plane])
    normal = np.cross(along, down)
    angle = np.radians(degrees)
    down, normal = down * np.cos(angle) + normal * np.sin(angle), normal * np.cos(angle) - down * np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along, down, normal], 1) * np.array(steps)
    return affine


def names_of(found: Dataset) -> set[str]:
    return {ref.path.name for case in found.cases for ref in case.present}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"modality": "ct"}, {"ct", "thin", "scout"}),
        ({"modality": ["MR", "CT"]}, {"ct", "thin", "scout", "sagittal", "coronal", "oblique", "tilted"}),
        ({"description": ["th*", "COR*"]}, {"thin", "coronal"}),
        ({"orientation": "sagittal"}, {"sagittal"}),
        ({"orientation": "oblique"}, {"oblique"}),
        ({"orientation": "axial", "modality": "MR"}, {"tilted"}),
        ({"spacing": {"slice": [None, 1]}}, {"thin"}),
        ({"spacing": {"slice": {"min": 1.5, "max": 2.5}, "in_plane": [0.9, 1.1]}, "modality": "CT"}, {"ct"}),
        ({"spacing": {"x": [3, 4]}}, {"sagittal"}),
        ({"spacing": {"z": [3, 4]}}, {"scout"}),
        ({"min_slices": 5, "max_slices": 5, "modality": "CT"}, {"ct"}),
        ({"rows": [7, 8], "columns": [7, 9]}, {"coronal"}),
        ({"modality": "CT", "exclude": [{"description": "scout"}, {"min_slices": 6}]}, {"ct"}),
    ],
)
def test_rules_let_through_what_fits(
    catalogue: Catalogue, tmp_path: Path, options: dict[str, Any], expected: set[str]
) -> None:
    stack(tmp_path / "ct")
    stack(tmp_path / "thin", (8, 6, 12), turned("axial", (1, 1, 0.5)))
    stack(tmp_path / "scout", (8, 6, 3), turned("axial", (1, 1, 4)))
    stack(tmp_path / "sagittal", affine=turned("sagittal", (1, 1, 3)), Modality="MR")
    stack(tmp_path / "coronal", (8, 8, 5), affine=turned("coronal"), Modality="MR")
    stack(tmp_path / "oblique", affine=turned("coronal", degrees=35), Modality="MR")
    stack(tmp_path / "tilted", affine=turned("axial", degrees=12), Modality="MR")
    assert names_of(read(catalogue, path=tmp_path, **options)) == expected


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"spacing": {"slice": [3, 1]}}, "below its beginning"),
        ({"spacing": {"slice": [3]}}, "two values"),
        ({"spacing": {"slice": {}}}, "needs a smallest"),
        ({"orientation": "axail"}, "axial"),
        ({"take": "all", "channels": {"t1": {}}}, "one series"),
        ({"channels": {"t1": {}}, "grid": "t2"}, "no channel 't2'"),
        ({"channels": {"t1": {}}, "optional": ["t1"]}, "needed"),
        ({"channels": {"t1": {}}, "optional": ["t3"]}, "no channel 't3'"),
        ({"labels": {"source": "nifti"}}, "folder of masks"),
        ({"labels": {"source": "seg", "path": "masks"}}, "folder of masks"),
        ({"labels": {"source": "seg", "nmes": {}}}, "nmes"),
        ({"exclude": [{"take": "one"}]}, "take"),
    ],
)
def test_options_are_refused_before_anything_is_read(catalogue: Catalogue, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        choose(catalogue, "layout", {"use": "dicom", "path": "x", **options})


def two_of_one_study(folder: Path) -> None:
    stack(folder / "s/a", (8, 6, 5), AcquisitionDate="20200102", AcquisitionTime="0900", SeriesDescription="early")
    stack(folder / "s/b", (8, 6, 9), turned("axial", (1, 1, 1)), AcquisitionDate="20200102", AcquisitionTime="1000")
    stack(folder / "t/c")


@pytest.mark.parametrize(
    ("take", "expected"),
    [("first", {"a", "c"}), ("last", {"b", "c"}), ("largest", {"b", "c"}), ("thinnest", {"b", "c"}), ("all", {*"abc"})],
)
def test_take_chooses_among_the_series_of_a_study(
    catalogue: Catalogue, tmp_path: Path, take: str, expected: set[str]
) -> None:
    two_of_one_study(tmp_path)
    found = read(catalogue, path=tmp_path, take=take)
    assert names_of(found) == expected and not found.problems


def test_a_study_in_which_several_series_fit_is_a_problem_and_the_others_go_on(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    two_of_one_study(tmp_path)
    found = read(catalogue, path=tmp_path, take="one")
    assert names_of(found) == {"c"}
    (problem,) = found.problems
    assert problem.code == "ambiguous-study" and problem.severity == "error" and "'early'" in problem.message
    skipped = read(catalogue, path=tmp_path, take="one", incomplete="skip")
    assert names_of(skipped) == {"c"} and not skipped.problems and any("2 series" in note for note in skipped.notes)


def test_what_nothing_tells_apart_is_not_guessed(catalogue: Catalogue, tmp_path: Path) -> None:
    stack(tmp_path / "s/a")
    stack(tmp_path / "s/b")
    stack(tmp_path / "t/c")
    for take in ("first", "last", "largest", "thinnest"):
        found = read(catalogue, path=tmp_path, take=take)
        assert names_of(found) == {"c"} and [one.code for one in found.problems] == ["ambiguous-study"]


CHANNELS = {"t1": {"description": "*t1*", "exclude": [{"description": "*post*"}]}, "flair": {"description": "*flair*"}}


def test_channels_are_the_series_of_a_study_in_their_order(catalogue: Catalogue, tmp_path: Path) -> None:
    for study in ("p1/s1", "p2/s1"):
        stack(tmp_path / study / "a", Modality="MR", SeriesDescription="FLAIR", PatientID=study)
        stack(tmp_path / study / "b", Modality="MR", SeriesDescription="sag T1", PatientID=study)
        stack(tmp_path / study / "c", Modality="MR", SeriesDescription="T1 post", PatientID=study)
    stack(tmp_path / "p3/s1/ct", PatientID="p3")
    found = read(catalogue, path=tmp_path, channels=CHANNELS, grid="flair")
    assert found.channels == ("t1", "flair") and len(found.cases) == 2 and not found.problems
    assert {tuple(ref.path.name for ref in case.present) for case in found.cases} == {("b", "a")}
    assert found.align == Align(1, "frame") and "1 study without any of the channels" in found.notes
    assert len({case.id for case in found.cases}) == len({case.patient for case in found.cases}) == 2


def test_the_rules_that_choose_series_go_along_with_the_data_set(catalogue: Catalogue, tmp_path: Path) -> None:
    for name in ("T1", "FLAIR"):
        stack(tmp_path / "s" / name, Modality="MR", SeriesDescription=name, PatientID="1")
    assert read(catalogue, path=tmp_path).chosen is None
    rule = {"description": "*t1*", "modality": "MR", "exclude": [{"description": "*mip*"}, {"orientation": "coronal"}]}
    chosen = Described(("*t1*",), ("*mip*",), ("MR",), ("axial", "sagittal", "oblique"))
    one = read(catalogue, path=tmp_path, **rule)
    assert len(one.cases) == 1 and one.chosen == chosen and one.described == ()
    assert Described.of(chosen.document()) == chosen
    several = read(catalogue, path=tmp_path, channels=CHANNELS, modality=["MR"])
    assert several.chosen == Described(modality=("MR",))
    assert several.described == (Described(("*t1*",), ("*post*",)), Described(("*flair*",)))


def test_a_study_without_a_channel_or_with_two_of_one_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    for study, names in {
        "s1": ["T1", "FLAIR"],
        "s2": ["T1"],
        "s3": ["T1", "T1 again", "FLAIR"],
        "s4": ["T1 FLAIR"],
    }.items():
        for name in names:
            stack(tmp_path / study / name, SeriesDescription=name)
    found = read(catalogue, path=tmp_path, channels=CHANNELS)
    assert len(found.cases) == 1 and len(found.problems) == 3
    said = " ".join(problem.message for problem in found.problems)
    for text in (
        "channel flair missing",
        "for the channel 't1' 2 series",
        "one series fits the channels 't1' and 'flair'",
    ):
        assert text in said
    lenient = read(catalogue, path=tmp_path, channels=CHANNELS, optional=["flair"])
    assert sorted(len(case.present) for case in lenient.cases) == [1, 2] and lenient.optional == ("flair",)


def test_ids_are_keyed_where_there_is_a_key(catalogue: Catalogue, tmp_path: Path) -> None:
    stack(tmp_path / "tree/a", PatientID="MRN-1")
    (tmp_path / "key").write_bytes(b"0123456789abcdef0123")
    plain, keyed = (read(catalogue, path=tmp_path / "tree", **options) for options in ({}, {"key": tmp_path / "key"}))
    assert plain.cases[0].patient != keyed.cases[0].patient and plain.cases[0].id != keyed.cases[0].id
    again = read(catalogue, path=tmp_path / "tree", key=tmp_path / "key")
    assert [(case.id, case.patient) for case in again.cases] == [(case.id, case.patient) for case in keyed.cases]
    (tmp_path / "key").write_bytes(b"short")
    for wrong in (tmp_path / "key", tmp_path / "none"):
        with pytest.raises(DataError, match="key"):
            read(catalogue, path=tmp_path / "tree", key=wrong)


def test_facts_of_patient_and_scanner_go_to_the_case(catalogue: Catalogue, tmp_path: Path) -> None:
    stack(tmp_path / "a", PatientSex="F", PatientAge="041Y", Manufacturer="Acme", InstitutionName="Saint Elsewhere")
    (case,) = read(catalogue, path=tmp_path).cases
    assert case.facts["sex"] == "F" and case.facts["age"] == 41.0 and "Acme" in str(case.facts["scanner"])
    assert case.facts["site"] and "Elsewhere" not in str(case.facts)


def test_damaged_series_stay_cases_or_are_left_out_and_told(catalogue: Catalogue, tmp_path: Path) -> None:
    stack(tmp_path / "good")
    stack(tmp_path / "gap")[2].unlink()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    kept = read(catalogue, path=tmp_path, modality="CT")
    assert names_of(kept) == {"good", "gap"} and any(
        "1 of 3 series left out, they cannot be read" in n for n in kept.notes
    )
    skipped = read(catalogue, path=tmp_path, modality="CT", damaged="skip")
    assert names_of(skipped) == {"good"} and any(
        "2 of 3 series left out, they cannot" in note for note in skipped.notes
    )


def test_a_case_is_read_from_its_own_files_in_a_folder_of_many_series(catalogue: Catalogue, tmp_path: Path) -> None:
    for number in range(3):
        uids = {"SeriesInstanceUID": f"1.2.{number + 1}", "SeriesDescription": f"s{number}"}
        stack(tmp_path / "flat", name=f"{number}-{{:04d}}", **uids)
    found = read(catalogue, path=tmp_path / "flat", description="s1")
    (case,) = found.cases
    (ref,) = case.present
    assert len(ref.files) == 5 and all(file.name.startswith("1-") for file in ref.files)
    assert read_image(ref, catalogue).shape == (8, 6, 5)
    whole = read_image(replace(ref, files=()), catalogue)
    assert np.array_equal(whole.array, read_image(ref, catalogue).array)


def test_a_folder_of_dicom_files_is_known_by_its_names_and_first_file(catalogue: Catalogue, tmp_path: Path) -> None:
    guess = catalogue.get("layout", "dicom").guess
    stack(tmp_path / "tree/a", name="IM{:06d}")
    touch(tmp_path, "tree/readme.txt", "tree/.hidden.nii")
    assert guess(tmp_path / "tree") == {"path": tmp_path / "tree", "labels": {"source": "auto"}}
    touch(tmp_path, "tree/a/mask.nii.gz", "empty/1.dcm")
    assert guess(tmp_path / "tree") is None and guess(tmp_path / "empty") is None and guess(tmp_path / "none") is None


def test_studies_in_one_folder_have_names_of_their_own(catalogue: Catalogue, tmp_path: Path) -> None:
    for study in (1, 2):
        for place, name in enumerate(("T1", "FLAIR")):
            uids = {"StudyInstanceUID": f"1.2.{study}", "SeriesInstanceUID": f"1.2.{study}.{place + 1}"}
            stack(tmp_path / "flat", name=f"{study}{place}{{:03d}}", SeriesDescription=name, **uids)
    for ids in ("hash", "folder"):
        found = read(catalogue, path=tmp_path / "flat", channels=CHANNELS, ids=ids)
        assert len({case.id for case in found.cases}) == 2


def test_options_written_out_give_the_same_options(catalogue: Catalogue) -> None:
    options = {
        "path": "x",
        "spacing": {"slice": [None, 2], "x": {"min": 1}},
        "exclude": [{"description": "scout", "orientation": "oblique"}],
        "channels": {"t1": {"modality": "MR", "exclude": [{"min_slices": 3}]}},
        "labels": {"names": {"b": "B*", "a": []}},
        "index": "some/where.sqlite",
    }
    chosen = choose(catalogue, "layout", {"use": "dicom", **options})
    again = choose(catalogue, "layout", chosen.document())
    assert again.options == chosen.options and list(again.options.labels.names) == ["b", "a"]
    assert (
        choose(catalogue, "layout", {"use": "dicom", "path": "x", "labels": "masks"}).document()["labels"]["path"]
        == "masks"
    )
