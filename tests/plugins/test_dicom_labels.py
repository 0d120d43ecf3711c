"""Tests of labels in a DICOM tree: SEG and RTSTRUCT objects go to the series they refer to, or it is told why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset as Header

from dicom_series import make_series
from dicom_structures import make_rtstruct, make_seg
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Case, Dataset
from voxgraft.datasets.dataset import read_layout, with_rater
from voxgraft.errors import DataError
from voxgraft.imaging.read import read as read_image
from voxgraft.labels.masks import read_mask
from voxgraft.preprocessing.fingerprint import content_hash
from voxgraft.preprocessing.state import data_state
from voxgraft.support.contents import Contents

SHAPE = (12, 10, 8)
BOX = (slice(2, 6), slice(3, 7), slice(2, 5))
OTHER = (slice(7, 10), slice(3, 7), slice(2, 5))


def read(catalogue: Catalogue, path: Path, labels: Any = None, **options: Any) -> Dataset:
    rules = {"use": "dicom", "path": path, "labels": labels or {"source": "auto"}, **options}
    found: Dataset = read_layout(choose(catalogue, "layout", rules), catalogue)
    return found


def series(folder: Path, **changes: Any) -> list[Path]:
    array = np.random.default_rng(len(str(folder))).integers(0, 99, SHAPE).astype(np.int16)
    return make_series(folder, array, np.diag([-1.0, -1.0, 2.0, 1.0]), **changes)


def mask(box: tuple[slice, slice, slice] = BOX) -> np.ndarray[Any, Any]:
    array = np.zeros(SHAPE, bool)
    array[box] = True
    return array


def labels_of(found: Dataset) -> dict[str, str | None]:
    """The file of the label by the folder of the series."""
    return {case.present[0].path.name: _label(case) for case in found.cases}


def _label(case: Case) -> str | None:
    return None if case.label is None else " + ".join(file.name for file in case.label.files)


def without_references(made: Header) -> None:
    for name in ("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "SourceImageSequence"):
        if name in made:
            delattr(made, name)
    for group in made.get("SharedFunctionalGroupsSequence", []), made.get("PerFrameFunctionalGroupsSequence", []):
        for one in group:
            if "DerivationImageSequence" in one:
                del one.DerivationImageSequence
    for roi in made.get("ROIContourSequence", []):
        for contour in roi.ContourSequence:
            del contour.ContourImageSequence


def without_series(made: Header) -> None:
    """Keep the references to instances, and lose the series they are in."""
    if "ReferencedSeriesSequence" in made:
        del made.ReferencedSeriesSequence
    for frame in made.get("ReferencedFrameOfReferenceSequence", []):
        del frame.RTReferencedStudySequence


def refer_elsewhere(made: Header) -> None:
    for one in made.get("ReferencedSeriesSequence", []):
        one.SeriesInstanceUID = "1.2.3.4.5"
    for frame in made.get("ReferencedFrameOfReferenceSequence", []):
        frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.4.5"


Maker = Callable[..., Path]


def seg(path: Path, files: list[Path], edit: Any = None) -> Path:
    return make_seg(path, files, {"Liver": mask()}, edit)


def rtstruct(path: Path, files: list[Path], edit: Any = None) -> Path:
    return make_rtstruct(path, files, {"Liver": BOX}, edit)


MAKERS = pytest.mark.parametrize("make", [seg, rtstruct])


@MAKERS
def test_an_object_goes_to_the_series_it_refers_to(catalogue: Catalogue, tmp_path: Path, make: Maker) -> None:
    files = [series(tmp_path / name) for name in "abc"]
    make(tmp_path / "objects/x.dcm", files[1])
    make(tmp_path / "c/y.dcm", files[2])
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"a": None, "b": "x.dcm", "c": "y.dcm"} and not found.problems
    assert found.labels is not None and found.labels.names == ("Liver",) and found.labels.values == (1,)
    assert found.cases[1].label is not None and found.cases[1].label.structures == (("Liver", "Liver"),)


@MAKERS
def test_without_a_series_the_instances_decide(catalogue: Catalogue, tmp_path: Path, make: Maker) -> None:
    files = [series(tmp_path / name) for name in "abc"]
    make(tmp_path / "x.dcm", files[1], without_series)
    assert labels_of(read(catalogue, tmp_path)) == {"a": None, "b": "x.dcm", "c": None}


@MAKERS
def test_without_references_the_frame_decides_where_only_one_series_has_it(
    catalogue: Catalogue, tmp_path: Path, make: Maker
) -> None:
    files = [series(tmp_path / name, FrameOfReferenceUID=f"1.2.{n}") for n, name in enumerate("abc", 1)]
    keep = "1.2.2"

    def edit(made: Header) -> None:
        without_references(made)
        made.FrameOfReferenceUID = keep

    make(tmp_path / "x.dcm", files[1], edit)
    assert labels_of(read(catalogue, tmp_path)) == {"a": None, "b": "x.dcm", "c": None}
    series(tmp_path / "d", FrameOfReferenceUID=keep)
    found = read(catalogue, tmp_path)
    assert [problem.code for problem in found.problems] == ["ambiguous-structures"]
    assert labels_of(found) == {"a": None, "c": None}
    assert labels_of(read(catalogue, tmp_path, exclude=[{"description": "d"}])) == {"a": None, "b": "x.dcm", "c": None}


@MAKERS
def test_references_to_what_is_not_here_are_not_mended_by_guessing(
    catalogue: Catalogue, tmp_path: Path, make: Maker
) -> None:
    files = series(tmp_path / "a")
    make(tmp_path / "x.dcm", files, refer_elsewhere)
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"a": None} and any("refers to a series that is not here" in n for n in found.notes)
    with pytest.raises(DataError, match="without a mask"):
        read(catalogue, tmp_path, {"source": "auto", "missing": "error"})
    with pytest.raises(DataError, match="no case is left"):
        read(catalogue, tmp_path, {"source": "auto", "missing": "skip"})


@MAKERS
def test_an_object_in_another_frame_than_its_series_is_a_problem(
    catalogue: Catalogue, tmp_path: Path, make: Maker
) -> None:
    files = series(tmp_path / "a")
    series(tmp_path / "b", StudyInstanceUID="1.2.9")

    def edit(made: Header) -> None:
        made.FrameOfReferenceUID = "1.2.77"
        for one in (*made.get("ReferencedFrameOfReferenceSequence", []),):
            one.FrameOfReferenceUID = "1.2.77"

    make(tmp_path / "x.dcm", files, edit)
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"b": None} and [problem.code for problem in found.problems] == ["other-frame"]
    assert labels_of(read(catalogue, tmp_path, align="any")) == {"a": "x.dcm", "b": None}


def test_objects_of_different_structures_are_one_mask(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    make_seg(tmp_path / "x.dcm", files, {"Spleen": mask(OTHER)})
    make_seg(tmp_path / "y.dcm", files, {"liver": mask()})
    shutil.copy(tmp_path / "y.dcm", tmp_path / "z.dcm")
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"a": "x.dcm + y.dcm"} and not found.problems
    assert found.labels is not None and found.labels.names == ("liver", "Spleen")


def test_two_objects_of_one_structure_are_a_problem_or_two_raters(catalogue: Catalogue, tmp_path: Path) -> None:
    for name in "ab":
        files = series(tmp_path / name)
        make_seg(tmp_path / f"{name}1.dcm", files, {"Liver": mask()}, description="Reader 1")
    make_seg(tmp_path / "b2.dcm", files, {"Liver": mask(OTHER)}, description="Reader 2")
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"a": "a1.dcm"} and [problem.code for problem in found.problems] == ["several-masks"]
    chosen = read(catalogue, tmp_path, {"description": "*2"})
    assert labels_of(chosen) == {"a": None, "b": "b2.dcm"} and any("2 of 3 objects" in note for note in chosen.notes)
    raters = read(catalogue, tmp_path, {"several": "raters", "missing": "error"})
    assert [sorted(case.raters) for case in raters.cases] == [[], ["Reader 1", "Reader 2"]]
    assert raters.cases[1].label is None and raters.cases[1].raters["Reader 2"].files == (tmp_path / "b2.dcm",)


def test_names_join_structures_and_fix_the_values(catalogue: Catalogue, tmp_path: Path) -> None:
    one, two = series(tmp_path / "a"), series(tmp_path / "b")
    make_seg(tmp_path / "x.dcm", one, {"LIVER left": mask(), "Liver right": mask(OTHER), "couch": mask(OTHER)})
    make_rtstruct(tmp_path / "y.dcm", two, {"spleen": BOX, "BODY": OTHER})
    names = {"spleen": [], "liver": ["liver*", "foie"], "kidney": "kidney*"}
    found = read(catalogue, tmp_path, {"names": names})
    assert found.labels is not None and dict(zip(found.labels.names, found.labels.values, strict=True)) == {
        "spleen": 1,
        "liver": 2,
        "kidney": 3,
    }
    assert [case.label.structures for case in found.cases if case.label] == [
        (("LIVER left", "liver"), ("Liver right", "liver")),
        (("spleen", "spleen"),),
    ]
    assert any("'couch' (1)" in note and "'BODY' (1)" in note for note in found.notes)
    with pytest.raises(DataError, match="'LIVER left' fits 'liver' and 'left'"):
        read(catalogue, tmp_path, {"names": {"liver": "liver*", "left": "*left"}})


def test_coded_terms_of_segments_are_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    make_seg(tmp_path / "x.dcm", files, {"Liver": mask(), "Spleen": mask(OTHER)})
    found = read(catalogue, tmp_path)
    assert found.labels is not None
    assert [label.code for label in found.labels.items] == [
        ("10200001", "SCT", "Structure 1"),
        ("10200002", "SCT", "Structure 2"),
    ]


def test_seg_comes_before_rtstruct_and_sources_can_be_named(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    seg(tmp_path / "s.dcm", files)
    rtstruct(tmp_path / "r.dcm", files)
    assert labels_of(read(catalogue, tmp_path)) == {"a": "s.dcm"}
    assert labels_of(read(catalogue, tmp_path, {"source": "rtstruct"})) == {"a": "r.dcm"}
    found = read(catalogue, tmp_path, {"source": "seg"})
    assert labels_of(found) == {"a": "s.dcm"} and "1 RTSTRUCT object not used: labels.source is another" in found.notes


def test_structures_are_drawn_on_the_channel_that_gives_the_grid(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "s/t1", SeriesDescription="T1")
    flair = series(tmp_path / "s/flair", SeriesDescription="FLAIR")
    seg(tmp_path / "s/x.dcm", flair)
    channels = {"t1": {"description": "T1"}, "flair": {"description": "FLAIR"}}
    with pytest.raises(DataError, match="drawn on the channel 'flair'"):
        read(catalogue, tmp_path, channels=channels)
    found = read(catalogue, tmp_path, channels=channels, grid="flair")
    assert found.cases[0].label is not None and found.cases[0].label.path.name == "x.dcm"


def test_structures_may_be_drawn_on_other_channels_too(catalogue: Catalogue, tmp_path: Path) -> None:
    pet = series(tmp_path / "s/pet", SeriesDescription="PET")
    seg(tmp_path / "s/x.dcm", pet)
    seg(tmp_path / "s/y.dcm", series(tmp_path / "s/ct", SeriesDescription="CT"))
    channels = {"pet": {"description": "PET"}, "ct": {"description": "CT"}}
    for grid, name in (("pet", "x.dcm"), ("ct", "y.dcm")):
        found = read(catalogue, tmp_path, channels=channels, grid=grid)
        assert [case.label.path.name for case in found.cases if case.label] == [name] and not found.problems
        assert any("is not used: others were drawn on the one that gives the grid" in note for note in found.notes)


def test_a_damaged_object_is_told_and_the_rest_goes_on(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    made = seg(tmp_path / "x.dcm", files)
    seg(tmp_path / "b.dcm", series(tmp_path / "b"))
    made.write_bytes(made.read_bytes()[:1500])
    found = read(catalogue, tmp_path)
    assert labels_of(found) == {"a": None, "b": "b.dcm"}
    assert [problem.code for problem in found.problems] == ["damaged-structures"]


def test_objects_that_nobody_asked_for_are_told(catalogue: Catalogue, tmp_path: Path) -> None:
    seg(tmp_path / "x.dcm", series(tmp_path / "a"))
    layout = choose(catalogue, "layout", {"use": "dicom", "path": tmp_path})
    found: Dataset = read_layout(layout, catalogue)
    assert found.cases[0].label is None and any("1 SEG with structures not used" in note for note in found.notes)


def values(found: Dataset, case: Case, catalogue: Catalogue) -> np.ndarray[Any, Any]:
    """The label map of a case in the grid of its image."""
    assert case.label is not None and case.images[0] is not None
    array: np.ndarray[Any, Any] = read_mask(
        case.label, read_image(case.images[0], catalogue), found.labels, catalogue
    ).array
    return array


def test_voxels_of_several_objects_and_names_come_together(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    third = (slice(0, 2), slice(0, 2), slice(6, 8))
    make_seg(tmp_path / "x.dcm", files, {"Liver left": mask(), "couch": mask()})
    make_seg(tmp_path / "y.dcm", files, {"SPLEEN": mask(third), "couch": mask(OTHER)})
    names = {"spleen": [], "liver": "liver*"}
    found = read(catalogue, tmp_path, {"names": names})
    array = values(found, found.cases[0], catalogue)
    assert np.array_equal(array, np.where(mask(), 2, np.where(mask(third), 1, 0)))
    shutil.rmtree(tmp_path / "a")
    files = series(tmp_path / "a")
    make_rtstruct(tmp_path / "z.dcm", files, {"Liver left": BOX, "Liver right": OTHER, "empty": third, "BODY": BOX})
    joined = read(catalogue, tmp_path, {"source": "rtstruct", "names": {"empty": [], "liver": "liver*"}})
    array = values(joined, joined.cases[0], catalogue)
    assert np.array_equal(array, np.where(mask() | mask(OTHER), 2, np.where(mask(third), 1, 0)))


def test_raters_are_brought_together_by_the_workflow_s_rule(catalogue: Catalogue, tmp_path: Path) -> None:
    files = series(tmp_path / "a")
    for number, box in enumerate((BOX, BOX, OTHER), 1):
        make_seg(tmp_path / f"{number}.dcm", files, {"Liver": mask(box)}, description=f"Reader {number}")
    found = read(catalogue, tmp_path, {"several": "raters"})
    agreed = with_rater(found.cases[0], "majority")
    assert np.array_equal(values(found, agreed, catalogue), mask().astype(int))
    third = with_rater(found.cases[0], "Reader 3")
    assert np.array_equal(values(found, third, catalogue), mask(OTHER).astype(int))


def test_another_choice_of_structures_is_another_state_and_another_content(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    files = series(tmp_path / "a")
    make_seg(tmp_path / "x.dcm", files, {"A": mask(), "B": mask(OTHER)})
    one, two = (read(catalogue, tmp_path, {"names": {"x": name}}) for name in "AB")
    assert one.labels is not None and two.labels is not None and one.labels.names == two.labels.names
    contents = Contents(tmp_path / "contents.json")
    assert data_state(one, catalogue, contents) != data_state(two, catalogue, contents)
    assert content_hash(one.cases[0].references, catalogue) != content_hash(two.cases[0].references, catalogue)
