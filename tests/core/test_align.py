"""Channels on grids of their own: when they are brought together, where their voxels go, and the same in prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import CONTRACT, Brightness, model

from dicom_series import make_series
from dicom_structures import make_seg
from voxgraft.batch.segment import segment
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Case
from voxgraft.errors import DataError
from voxgraft.imaging.channels import aligned, stack_channels
from voxgraft.imaging.orientation import reoriented
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import Align, ImageRef, Item, Volume
from voxgraft.preprocessing.fingerprint import read_case

FINE = np.diag([-1.0, -1.0, 1.0, 1.0])
COARSE = np.array([[-2.0, 0, 0, -0.5], [0, -2.0, 0, -0.5], [0, 0, 2.0, 0.5], [0, 0, 0, 1]])
"""The same extent in voxels of twice the size."""


def volume(
    affine: Any = FINE, shape: tuple[int, ...] = (12, 10, 8), frame: str | None = "1.2", value: float = 1
) -> Volume:
    facts = {} if frame is None else {"frame": frame}
    item = Item(Path(f"f{value:g}"), "x", shape, np.asarray(affine), facts=facts)
    return Volume(np.full(shape, value, np.float32), affine, item=item)


def ramp(affine: Any, shape: tuple[int, int, int], frame: str = "1.2") -> Volume:
    """A volume whose voxels say their own place along the foot-head and left-right axes, in millimetres."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = places @ affine[:3, :3].T + affine[:3, 3]
    array = (world[..., 2] + 100 * world[..., 0]).astype(np.float32)
    return replace(volume(affine, shape, frame), array=array)


def test_a_channel_lands_where_its_voxels_are_in_millimetres() -> None:
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    target = ramp(turn @ FINE, (8, 8, 8))
    moved = ramp(COARSE + _shift(8, 8, -14), (16, 16, 20))
    first, second = aligned([target, moved], Align())
    assert first is target and second.shape == target.shape and second.item is target.item
    assert np.abs(second.array - target.array).max() < 1e-2


def _shift(x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    affine = np.zeros((4, 4))
    affine[:3, 3] = x, y, z
    return affine


def test_the_named_channel_gives_the_grid() -> None:
    fine, coarse = volume(), volume(COARSE, (6, 5, 4), value=2)
    onto_first, onto_second = stack_channels([fine, coarse], Align(0)), stack_channels([fine, coarse], Align(1))
    assert onto_first.shape == (12, 10, 8) and np.array_equal(onto_first.affine, FINE)
    assert onto_second.shape == (6, 5, 4) and np.array_equal(onto_second.affine, COARSE)
    assert onto_second.item is coarse.item and onto_first.item is fine.item
    assert (onto_first.array[1] == 2).all() and (onto_second.array[0] == 1).all()
    with pytest.raises(DataError, match="voxels"):
        stack_channels([fine, coarse])


@pytest.mark.parametrize(
    ("one", "other", "grid", "word"),
    [
        ("1.2", "1.3", COARSE, "have different frames"),
        ("1.2", "1.3", FINE, "have different frames"),
        ("1.2", None, COARSE, "do not both name"),
        (None, None, COARSE, "do not both name"),
        ("1.2", None, FINE, ""),
        (None, None, FINE, ""),
        ("1.2", "1.2", COARSE, ""),
    ],
)
def test_only_what_shares_a_frame_is_brought_together_unless_the_user_says_so(
    one: str | None, other: str | None, grid: Any, word: str
) -> None:
    shape = (12, 10, 8) if grid is FINE else (6, 5, 4)
    pair = [volume(frame=one), volume(grid, shape, other, 2)]
    if word:
        with pytest.raises(DataError, match=f"f2: .*{word}.*align: any"):
            stack_channels(pair, Align())
    else:
        assert stack_channels(pair, Align()).channels == 2
    assert (stack_channels(pair, Align(across="any")).array[1] == 2).all()


def test_channels_that_lie_apart_are_refused() -> None:
    with pytest.raises(DataError, match="does not overlap"):
        stack_channels([volume(), volume(FINE + _shift(500, 0, 0), value=2)], Align())
    with pytest.raises(DataError, match="channel 3"):
        stack_channels([volume(), volume()], Align(2))


def test_an_optional_channel_that_is_missing_does_not_move_the_grid() -> None:
    coarse, fine = volume(COARSE, (6, 5, 4), value=2), volume()
    found = stack_channels([None, coarse, fine], Align(2))
    assert found.shape == fine.shape and (found.array[0] == 0).all() and (found.array[1] == 2).all()
    with pytest.raises(DataError, match="is missing"):
        stack_channels([coarse, None], Align(1))


def study(folder: Path, affine: Any = COARSE) -> tuple[list[Path], list[Path]]:
    """A T1 of 12x10x8 voxels and a FLAIR of twice the spacing, of one study and frame."""
    dice = np.random.default_rng(5)
    same = {"Modality": "MR", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    t1, flair = (dice.integers(0, 200, shape).astype(np.int16) for shape in ((12, 10, 8), (6, 5, 4)))
    one = make_series(folder / "a", t1, FINE, SeriesDescription="T1", SeriesInstanceUID="1.2.3.1", **same)
    other = make_series(folder / "b", flair, affine, SeriesDescription="FLAIR", SeriesInstanceUID="1.2.3.2", **same)
    return one, other


class Sees(Brightness):
    """A predictor that keeps what it was given."""

    def predict(self, volume: Volume) -> Any:
        self.given = volume
        return super().predict(volume)


@pytest.mark.parametrize("onto", [0, 1])
def test_prediction_brings_channels_together_as_training_does(tmp_path: Path, catalogue: Catalogue, onto: int) -> None:
    study(tmp_path / "tree")
    align = Align(onto)
    case = Case("x", "p", (ImageRef(tmp_path / "tree/a"), ImageRef(tmp_path / "tree/b")), align=align)
    trained, _ = read_case(case, catalogue)
    spacing = [[1.0, 1.0]] * 3 if onto == 0 else [[2.0, 2.0]] * 3
    contract = {**CONTRACT, "channels": 2, "spacing_mm": spacing, "size_mm": [[5.0, 20.0]] * 3}
    package = model(tmp_path / "model", channels=("t1", "flair"), align=align, contract=contract)
    assert type(package.plan).model_validate_json(package.plan.model_dump_json()).align == align
    sees = Sees()
    batch = segment(
        package, [tmp_path / "tree"], tmp_path / "out", catalogue=catalogue, writers=["nifti"], predictor=sees
    )
    assert [scan.state for scan in batch.scans] == ["done"], batch.scans
    assert sees.given.shape == ((12, 10, 8), (6, 5, 4))[onto]
    seen, _ = reoriented(sees.given)
    assert np.array_equal(seen.array, trained.array) and np.array_equal(seen.affine, trained.affine)
    mask = read(next((tmp_path / "out").rglob("mask.nii.gz")), catalogue)
    grid = read(tmp_path / "tree" / "ab"[onto], catalogue)
    assert mask.shape == grid.shape and np.allclose(mask.affine, grid.affine, atol=1e-4)


def test_without_the_plan_s_word_prediction_refuses_channels_on_two_grids(tmp_path: Path, catalogue: Catalogue) -> None:
    study(tmp_path / "tree")
    package = model(tmp_path / "model", channels=("t1", "flair"), contract={})
    batch = segment(
        package, [tmp_path / "tree"], tmp_path / "out", catalogue=catalogue, writers=["nifti"], predictor=Brightness()
    )
    assert [scan.state for scan in batch.scans] == ["failed"]


def test_objects_beside_images_are_no_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    one, _ = study(tmp_path / "tree")
    make_seg(tmp_path / "tree/a/seg.dcm", one, {"Liver": np.ones((12, 10, 8), bool)})
    make_seg(tmp_path / "alone/seg.dcm", one, {"Liver": np.ones((12, 10, 8), bool)})
    plan = model(tmp_path / "model", contract={}).plan
    entries = Finder(catalogue, plan, tmp_path / "out").find([tmp_path / "tree", tmp_path / "alone"])
    waiting = [entry for entry in entries if entry.state == "waiting"]
    assert {item.kind for entry in waiting for item in entry.items} == {"image"} and len(waiting) == 2
    left = [entry for entry in entries if entry.code == "structures"]
    assert len(left) == 2 and all(entry.state == "left-out" and "structures" in entry.reason for entry in left)


def test_prediction_knows_channels_by_the_descriptions_of_training(tmp_path: Path, catalogue: Catalogue) -> None:
    study(tmp_path / "tree")
    described = [{"takes": ["*T1*"], "leaves": ["*post*"]}, {"takes": ["fl*"], "leaves": []}]
    changes = {"channels": ("mprage", "dark fluid"), "align": Align()}
    silent = model(tmp_path / "silent", contract={}, **changes).plan
    plan = model(tmp_path / "model", contract={"described": described}, **changes).plan
    unknown, known = (Finder(catalogue, one, tmp_path / "out").find([tmp_path / "tree"]) for one in (silent, plan))
    assert all(entry.state == "left-out" for entry in unknown)
    (entry,) = known
    assert entry.state == "waiting" and [item.description for item in entry.items] == ["T1", "FLAIR"]
    same = {"Modality": "MR", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    array = np.ones((6, 5, 4), np.int16)
    make_series(tmp_path / "tree/c", array, COARSE, SeriesDescription="T1 post", SeriesInstanceUID="1.2.3.3", **same)
    states = {
        entry.description: entry.state for entry in Finder(catalogue, plan, tmp_path / "out").find([tmp_path / "tree"])
    }
    assert states == {"T1 + FLAIR": "waiting", "T1 post": "left-out"}
