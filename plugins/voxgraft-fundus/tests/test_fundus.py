"""Photographs of the retina: conformance, fields of view, layouts, and photographs that are not as they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import voxgraft as vg
from voxgraft.plugin import Dataset
from voxgraft.testing import NotApplicable, Subject, conformance_checks
from voxgraft_fundus.field import find_field
from voxgraft_fundus.layouts import ChaseLayout, DriveLayout
from voxgraft_fundus.modality import FundusModality
from voxgraft_fundus.options import ChaseOptions, DriveOptions, FundusOptions
from voxgraft_fundus.widths import ceiling

SIZE = (96, 80)
"""Columns and rows of the made-up photographs."""

PARTS = [
    *[("modality", "fundus", check) for check in conformance_checks("modality")],
    *[("metric", name, check) for name in ("f1", "sensitivity", "auc") for check in conformance_checks("metric")],
    *[("layout", name, check) for name in ("drive", "chase-db1") for check in conformance_checks("layout")],
    *[("step", "vessel-widths", check) for check in conformance_checks("step")],
]


def disc(radius: float = 36.0) -> np.ndarray:
    """A field of view, bool (rows, columns), cut off above and below as DRIVE's are."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return (rows - 39.5) ** 2 + (columns - 47.5) ** 2 < radius**2


def vessels() -> np.ndarray:
    """Bool (rows, columns): a vessel of four pixels and one of one, within the disc."""
    drawn = np.zeros(disc().shape, bool)
    drawn[38:42], drawn[10:70, 60] = True, True
    return drawn & disc(33)


def photograph(seed: int = 0, inside: np.ndarray | None = None) -> np.ndarray:
    """A picture, uint8 (rows, columns, colour): noisy, darker to one side, black around the disc, dark vessels."""
    rng = np.random.default_rng(seed)
    shade = np.linspace(0.5, 1.0, SIZE[0])[None, :, None]
    retina = np.array([200.0, 110.0, 60.0]) * shade * np.where(vessels(), 0.6, 1.0)[..., None]
    field = disc() if inside is None else inside
    return np.clip(np.where(field[..., None], retina, 4) + rng.normal(0, 3, retina.shape), 0, 255).astype(np.uint8)


def drive(folder: Path, parts: tuple[str, ...] = ("training",), number: int = 3) -> Path:
    """A small DRIVE with its folders and names; of the test part only there is a second observer."""
    for part in parts:
        place = folder / part
        for name in ("images", "1st_manual", "2nd_manual", "mask"):
            (place / name).mkdir(parents=True)
        for index in range(21, 21 + number):
            Image.fromarray(photograph(index)).save(place / "images" / f"{index}_{part}.tif")
            Image.fromarray(disc()).save(place / "mask" / f"{index}_{part}_mask.gif")
            for observer, name in (("1st", "manual1"), ("2nd", "manual2"))[: 1 + (part == "test")]:
                drawn = Image.fromarray((vessels() * 255).astype(np.uint8))
                drawn.save(place / f"{observer}_manual" / f"{index}_{name}.gif")
    return folder


def chase(folder: Path, children: tuple[int, ...] = (1, 2, 11)) -> Path:
    """A small CHASE_DB1 with its names."""
    folder.mkdir(parents=True)
    for child in children:
        for eye in "LR":
            Image.fromarray(photograph(child)).save(folder / f"Image_{child:02}{eye}.jpg", quality=95)
            for observer in ("1st", "2nd"):
                Image.fromarray(vessels()).save(folder / f"Image_{child:02}{eye}_{observer}HO.png")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {"drive": drive(folder / "drive", ("training", "test")), "chase-db1": chase(folder / "chase")}


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data; the test is skipped where it is not."""
    folder = Path(os.environ.get("VOXGRAFT_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data are not at {folder}; set VOXGRAFT_DATA")
    return folder


@pytest.mark.parametrize(("kind", "name", "check"), PARTS, ids=str)
def test_it_passes_the_checks_of_its_kind(kind: str, name: str, check, sets: dict[str, Path], tmp_path: Path) -> None:
    options = {"path": sets[name]} if kind == "layout" else {}
    try:
        check.run(Subject.of(kind, name, options=options), tmp_path)
    except NotApplicable as reason:
        pytest.skip(str(reason))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("scale", [1 / 255, 1, 257])
def test_the_field_of_view_is_found_at_any_brightness(scale: float) -> None:
    found = find_field(photograph().transpose(2, 1, 0) * np.float32(scale))
    assert found is not None and overlap(found, disc().T) > 0.98


def test_a_grey_photograph_has_a_field_of_view_as_well() -> None:
    found = find_field(photograph()[..., 1].T[None])
    assert found is not None and overlap(found, disc().T) > 0.98


@pytest.mark.parametrize(
    "picture",
    [
        photograph(inside=np.ones(disc().shape, bool)).transpose(2, 1, 0),
        np.zeros((3, 40, 40), np.uint8),
        np.full((3, 40, 40), np.nan, np.float32),
        np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8),
        np.zeros((3, 1, 1), np.uint8),
    ],
    ids=["no border", "black", "nan", "noise", "one pixel"],
)
def test_what_has_no_border_counts_whole(picture: np.ndarray) -> None:
    assert find_field(picture) is None
    assert np.isfinite(FundusModality(FundusOptions()).normalise(picture, [{}] * 3)).all()


def test_the_retina_alone_is_normalised_and_the_border_is_zero() -> None:
    picture = photograph().transpose(2, 1, 0)
    seen = FundusModality(FundusOptions()).normalise(picture, [{}] * 3)
    inside = find_field(picture)
    assert inside is not None and np.abs(seen[:, inside].mean(1)).max() < 1e-5 and not seen[:, ~inside].any()
    assert np.allclose(seen[:, inside].std(1), 1, atol=1e-5)
    deep = FundusModality(FundusOptions()).normalise(picture.astype(np.uint16) * 257, [{}] * 3)
    assert np.allclose(seen, deep, atol=1e-4)  # 8 and 16 bits make no difference


def test_green_stands_in_all_channels_and_clahe_evens_the_light() -> None:
    picture = photograph().transpose(2, 1, 0)
    plain, green, evened = (
        FundusModality(FundusOptions.model_validate(options)).normalise(picture, [{}] * 3)
        for options in ({}, {"colour": "green"}, {"colour": "green", "clahe": True, "clip_limit": 0.5})
    )
    assert all(np.array_equal(channel, plain[1]) for channel in green) and evened.shape == plain.shape
    left, right = np.s_[0, 20:40, 25:35], np.s_[0, 60:75, 25:35]  # the retina is twice as bright on the right
    assert abs(evened[left].mean() - evened[right].mean()) < 0.5 * abs(green[left].mean() - green[right].mean())


def test_drive_is_read_as_it_comes(sets: dict[str, Path]) -> None:
    dataset = DriveLayout(DriveOptions(path=sets["drive"])).read()
    assert [case.id for case in dataset.cases][:3] == ["21_training", "22_training", "23_training"]
    assert all(case.valid is not None for case in dataset.cases) and len(dataset.cases) == 6
    assert [sorted(case.raters) for case in dataset.cases] == [["first"]] * 3 + [["first", "second"]] * 3
    (split,) = dataset.splits
    assert set(split.train) == {case.id for case in dataset.cases[:3]} and len(split.validation) == 3
    test = DriveLayout(DriveOptions(path=sets["drive"] / "test")).read()
    assert [case.id for case in test.cases] == ["21_test", "22_test", "23_test"] and not test.splits
    loose = DriveLayout(DriveOptions(path=sets["drive"], part="training", field_of_view="found")).read()
    assert len(loose.cases) == 3 and all(case.valid is None for case in loose.cases)


def test_both_eyes_of_a_child_are_one_patient(sets: dict[str, Path]) -> None:
    dataset = ChaseLayout(ChaseOptions(path=sets["chase-db1"])).read()
    assert [case.patient for case in dataset.cases] == [f"child{n}" for n in ("01", "01", "02", "02", "11", "11")]
    assert dataset.splits[0].validation == ("Image_11L", "Image_11R") and dataset.names_patients
    assert sorted(dataset.cases[0].raters) == ["first", "second"] and dataset.cases[1].facts == {"eye": "R"}


WORKFLOW = """\
voxgraft: 1
name: fundus
data:
  layout: {{use: drive, path: {path}, field_of_view: {field}}}
  modality: fundus
  raters: first
  split: {{folds: 2, fold: 0}}
model: {{dims: 2, encoder: {{use: residual, width: 8}}, decoder: unet}}
training: {{budget: 2 steps, batch: 2, patch: [32, 32], device: cpu}}
evaluation: {{metrics: [f1, sensitivity, auc]}}
tracking: null
steps: [check, plan, vessel-widths, prepare, train, evaluate]
"""


def spoilt(tmp_path: Path, spoil: Callable[[Path], object], field: str = "files") -> dict[str, str]:
    """What `check` says of a DRIVE after something was done to it: severities by code."""
    folder = drive(tmp_path / "drive")
    spoil(folder / "training")
    workflow = tmp_path / "fundus.yaml"
    workflow.write_text(WORKFLOW.format(path=folder.as_posix(), field=field))
    findings = vg.check(workflow)
    assert all(problem.message.isprintable() for problem in findings.problems)
    return {problem.code: problem.severity for problem in findings.problems}


def saved(array: np.ndarray, name: str) -> Callable[[Path], object]:
    """Writes a picture in place of one of the set."""
    return lambda folder: Image.fromarray(array).save(folder / name)


def cut(name: str) -> Callable[[Path], object]:
    """Truncates a file of the set."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-400])


PICTURE, MANUAL, MASK = "images/21_training.tif", "1st_manual/21_manual1.gif", "mask/21_training_mask.gif"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (saved(photograph()[..., 1], PICTURE), "channel-count"),
        (cut(PICTURE), "unreadable"),
        (cut(MANUAL), "unreadable"),
        (saved(disc()[:-1], MASK), "valid-region-mismatch"),
        (saved(np.zeros(disc().shape, np.uint8), MASK), "empty-valid-region"),
        (saved(photograph(), MASK.replace(".gif", ".png")), None),
        (saved(vessels()[:, 1:].astype(np.uint8) * 255, MANUAL), "shape-mismatch"),
        (saved(np.dstack([photograph(), np.full(disc().shape, 255, np.uint8)]), PICTURE), None),
        (saved(photograph(inside=np.ones(disc().shape, bool)), PICTURE), None),
    ],
    ids=["grey", "cut tif", "cut gif", "other field", "no field", "stray", "other mask", "RGBA", "no border"],
)
def test_what_is_wrong_with_a_photograph_is_told(
    spoil: Callable[[Path], object], code: str | None, tmp_path: Path
) -> None:
    found = spoilt(tmp_path, spoil)
    errors = {name for name, severity in found.items() if severity == "error"}
    assert errors == ({code} if code else set()), found


def test_a_photograph_of_16_bits_is_taken(tmp_path: Path) -> None:
    import tifffile

    def deepen(folder: Path) -> None:
        tifffile.imwrite(folder / PICTURE, photograph().astype(np.uint16) * 257, photometric="rgb")

    assert "error" not in spoilt(tmp_path, deepen).values()


def test_a_lacking_field_of_view_is_told_or_found(tmp_path: Path) -> None:
    folder = drive(tmp_path / "drive")
    (folder / "training" / MASK).unlink()
    with pytest.raises(vg.VoxGraftError, match=r"21_training_mask\.gif: there is no such file"):
        DriveLayout(DriveOptions(path=folder)).read()
    assert len(DriveLayout(DriveOptions(path=folder, field_of_view="found")).read().cases) == 3


def test_training_and_scores_stay_within_the_field_of_view(tmp_path: Path) -> None:
    workflow = tmp_path / "fundus.yaml"
    workflow.write_text(WORKFLOW.format(path=drive(tmp_path / "drive", number=4).as_posix(), field="found"))
    out = tmp_path / "run"
    vg.run(workflow, out=out)
    counts = json.loads((out / "fingerprint.json").read_text())["cases"]["21_training"]["labels"]
    assert counts["255"] == pytest.approx(int((~disc()).sum()), rel=0.02)
    widths = json.loads((out / "vessel_widths.json").read_text())
    assert widths["planned"] == {"f1": 1.0, "thin": 0.0} and 0.1 < widths["half"]["thin"] < 0.5
    scores = json.loads((out / "evaluate" / "scores.json").read_text())
    assert 0 <= scores["summary"]["auc"]["mean"]["mean"] <= 1
    mask = vg.segment(out / "package", vg.read(tmp_path / "drive" / "training" / PICTURE)).array
    assert mask.shape == disc().T.shape and not mask[~disc(38).T].any()


def test_the_ceiling_counts_what_a_coarser_grid_loses() -> None:
    thin, counted = np.zeros((32, 32), bool), np.ones((32, 32), bool)
    thin[:, 10] = True
    assert ceiling(thin, counted, (1, 1)) == {"f1": 1.0, "thin": 0.0}
    assert ceiling(thin, counted, (2, 2)) == {"f1": 0.0, "thin": 1.0}
    thin[:, 11] = True
    assert ceiling(thin, counted, (2, 2))["f1"] == 1.0


def test_the_fields_of_view_of_drive_and_chase_are_found(data: Path) -> None:
    for name in ("21", "30", "40"):
        picture = np.asarray(Image.open(data / "drive" / "images" / f"{name}_training.tif")).transpose(2, 1, 0)
        truth = np.asarray(Image.open(data / "drive" / "mask" / f"{name}_training_mask.gif")).T > 0
        found = find_field(picture)
        assert found is not None and overlap(found, truth) > 0.994
    picture = np.asarray(Image.open(data / "chase_db1" / "images" / "Image_01L.jpg")).transpose(2, 1, 0)
    found = find_field(picture)
    assert found is not None and found.mean() == pytest.approx(np.pi / 4 * 920**2 / (999 * 960), rel=0.02)


def test_the_real_sets_are_read(data: Path) -> None:
    read: Dataset = DriveLayout(DriveOptions(path=data / "drive")).read()
    assert len(read.cases) == 20 and all(case.valid for case in read.cases)
    children = ChaseLayout(ChaseOptions(path=data / "chase_db1")).read()
    assert len({case.patient for case in children.cases}) == 10 and all(
        len(case.raters) == 2 for case in children.cases
    )
