"""Prepared arrays: whole or not there, keyed by all that decides them, shared, and never too many files open."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from datasets import boxes
from training import tiny_plan

from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Case
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef
from voxgraft.preprocessing.fingerprint import measure
from voxgraft.preprocessing.plan import Plan
from voxgraft.preprocessing.prepare import load_prepared, prepare, structure_places


@pytest.fixture
def case(tmp_path) -> Case:
    data = boxes(tmp_path / "data", cases=2)
    return Case(
        "box_000",
        "p",
        (ImageRef(data / "imagesTr" / "box_000.nii.gz"),),
        ImageRef(data / "labelsTr" / "box_000.nii.gz"),
    )


@pytest.fixture
def modality(catalogue):
    return choose(catalogue, "modality", {"use": "mr"}).build()


NUMBERS = {"clip": 0.0, "stripped": 1 / 3}
PLAN = tiny_plan().model_copy(update={"spacing": (1.0, 1.0, 0.75), "normalisation": (NUMBERS,)})


def test_arrays_are_in_the_plans_grid_and_order(tmp_path, case, modality, catalogue) -> None:
    folder = tmp_path / "cache" / "one"
    assert prepare(case, folder, PLAN, modality, catalogue) is True
    stored = load_prepared("box_000", folder)
    assert stored.image.shape == (1, 20, 18, 32) and stored.label.shape == stored.shape == (20, 18, 32)
    assert stored.image.dtype == np.float32 and stored.label.dtype == np.uint8
    assert set(np.unique(stored.label)) == {0, 1}
    assert 6 * 6 * 11 <= (stored.label == 1).sum() <= 6 * 6 * 13  # six voxels of 1.5 mm are twelve of 0.75 mm
    assert stored.image[0][stored.label == 1].mean() > 1.5 > stored.image[0][stored.label == 0].mean()
    assert all(stored.label[tuple(place[1:])] == place[0] for place in stored.places) and len(stored.places) > 100


def test_what_is_there_is_not_made_again(tmp_path, case, modality, catalogue) -> None:
    folder = tmp_path / "cache" / "one"
    prepare(case, folder, PLAN, modality, catalogue)
    stamp = (folder / "image.npy").stat().st_mtime_ns
    assert prepare(case, folder, PLAN, modality, catalogue) is False
    assert (folder / "image.npy").stat().st_mtime_ns == stamp


def test_arrays_are_made_again_where_those_that_are_there_shall_not_be_trusted(
    tmp_path, case, modality, catalogue
) -> None:
    folder = tmp_path / "cache" / "one"
    prepare(case, folder, PLAN, modality, catalogue)
    np.save(folder / "image.npy", np.zeros((1, 20, 18, 32), np.float32))
    assert prepare(case, folder, PLAN, modality, catalogue, again=True) is True
    assert load_prepared("box_000", folder).image.max() > 1


def test_the_content_of_files_decides_not_their_names(tmp_path, case, catalogue) -> None:
    one = measure(case, catalogue, Labels.of({"box": 1}))["hash"]
    moved = case.images[0].path.rename(case.images[0].path.with_name("other.nii.gz"))
    other = Case("x", "y", (ImageRef(moved),), case.label)
    assert measure(other, catalogue, Labels.of({"box": 1}))["hash"] == one
    neighbour = ImageRef(case.images[0].path.with_name("box_001.nii.gz"))
    with pytest.raises(DataError, match="no name"):
        measure(other, catalogue, Labels.of({"other": 2}))
    assert measure(Case("x", "y", (neighbour,), case.label), catalogue, Labels.of({"box": 1}))["hash"] != one


def test_a_failure_leaves_nothing_behind(tmp_path, case, modality, catalogue) -> None:
    victim = case.images[0].path
    victim.write_bytes(victim.read_bytes()[:500])
    with pytest.raises(BadImage):
        prepare(case, tmp_path / "cache" / "one", PLAN, modality, catalogue)
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("name", ["image.npy", "label.npy"])
def test_a_damaged_array_is_named(tmp_path, case, modality, catalogue, name) -> None:
    folder = tmp_path / "cache" / "one"
    prepare(case, folder, PLAN, modality, catalogue)
    (folder / name).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"'box_000' are damaged; remove that folder"):
        load_prepared("box_000", folder)


def test_a_data_set_may_have_more_cases_than_open_files_are_allowed(tmp_path, case, modality, catalogue) -> None:
    folder = tmp_path / "cache" / "one"
    prepare(case, folder, PLAN, modality, catalogue)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        stored = [load_prepared(f"case{i}", folder) for i in range(300)]
        assert sum(float(one.image[0, 0, 0, 0]) for one in stored) == pytest.approx(
            300 * stored[0].image[0, 0, 0, 0], rel=1e-3
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("shape", [(40_000, 2), (3, 70_000), (2, 2, 33_000)])
def test_positions_on_long_axes_hold(shape: tuple[int, ...]) -> None:
    """int16 ends at 32,767."""
    plan = Plan.model_validate({**tiny_plan().model_dump(), "labels": ((1, "a"),)})
    label = np.zeros(shape, np.uint8)
    label[tuple(n - 1 for n in shape)] = 1
    assert structure_places(label, plan).tolist() == [[1, *(n - 1 for n in shape)]]
    label = np.ones((4, 4), np.uint8)
    assert structure_places(label, plan).dtype == np.int16
