"""Models are loaded at their first use, one thread predicts, memory is looked at; marks pick the structure meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Sides, affine, kidneys, package

from voxgraft.errors import ModelError
from voxgraft.imaging.structures import Region
from voxgraft.imaging.volume import Volume
from voxgraft.serve import models as served_models
from voxgraft.serve.engine import Scan, Work
from voxgraft.serve.models import Found, Models, Served
from voxgraft.serve.pieces import Pieces
from voxgraft.serve.refused import Refused


def scan() -> Volume:
    return Volume(kidneys(), affine())


def test_a_model_is_loaded_at_its_first_use_and_a_scan_predicted_once(tmp_path, catalogue) -> None:
    predictor = Sides()
    packages = [package(tmp_path / "a"), package(tmp_path / "b", hash="b" * 64)]
    models = Models(packages, catalogue, tmp_path / "kept", load=predictor)
    assert list(models.served) == ["kidneys", "kidneys-2"] and predictor.loaded == 0
    for _ in range(2):
        found = models.find(models.get(), scan())
        assert set(np.unique(found.labels)) == {0, 1, 2} and found.confidence["left kidney"] == 0.8
    assert (predictor.loaded, predictor.seen) == (1, 1)
    models.find(models.get("kidneys-2"), scan())
    assert (predictor.loaded, predictor.seen) == (2, 2)
    kept = sorted((tmp_path / "kept").glob("*/labels.npz"))[0]
    kept.write_bytes(b"damaged")
    models.find(models.get(), scan())
    models.find(models.get("kidneys-2"), scan())
    assert predictor.seen == 3, "what is damaged is predicted again"
    models.close()


def test_where_memory_is_short_it_is_said_before_anything_is_loaded(tmp_path, catalogue, monkeypatch) -> None:
    predictor = Sides()
    models = Models([package(tmp_path / "a")], catalogue, tmp_path / "kept", load=predictor)
    monkeypatch.setattr(served_models, "free_memory", lambda: 100)
    with pytest.raises(Refused, match="of memory at least, and") as caught:
        models.find(models.get(), scan())
    assert caught.value.status == 503 and predictor.loaded == 0
    models.close()


def test_a_model_that_takes_long_or_fails_is_told(tmp_path, catalogue) -> None:
    models = Models([package(tmp_path / "a")], catalogue, tmp_path / "kept", load=Sides(slow=0.5))
    with pytest.raises(Refused, match="still busy") as caught:
        models.find(models.get(), scan(), 0.01)
    assert caught.value.status == 409 and models.waiting == 1
    assert models.find(models.get(), scan()).labels.any() and models.waiting == 0
    models.close()

    def broken(_: Any) -> Any:
        raise ModelError(f"{tmp_path}/a: the weights do not fit the network it describes")

    models = Models([package(tmp_path / "a")], catalogue, tmp_path / "none", load=broken)
    with pytest.raises(Refused, match=r"^a: the weights do not fit") as caught:
        models.find(models.get(), scan())
    models.close()


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({}, "not stated by the makers of m; trained from scratch"),
        ({"licence": "MIT"}, "MIT"),
        (
            {"weights": {"origin": "deepbet", "licence": "MIT"}},
            "not stated by the makers of m; its encoder began with deepbet (MIT)",
        ),
        (
            {"weights": {"origin": "file", "licence": ""}},
            "not stated by the makers of m; its encoder began with file (licence not stated)",
        ),
    ],
)
def test_the_licence_is_that_of_the_model(facts, says, tmp_path) -> None:
    assert Served("m", package(tmp_path, **facts)).licence == says


def work(folder: Path, found: Found, structures: dict[str, int]) -> Work:
    shape = found.labels.shape[-3:]
    return Work(Scan(np.zeros(shape, np.float32), (1.0, 1.0, 4.0), found, structures), Pieces(folder, shape))


def test_a_first_point_means_the_nearest_structure_in_millimetres(tmp_path) -> None:
    labels = np.zeros((20, 20, 9), np.uint8)
    labels[3:8, 3:8, 4], labels[13:18, 3:8, 3:6] = 1, 2
    drawing = work(tmp_path, Found(labels, {}), {"one": 1, "two": 2})
    assert drawing.scan.near((9, 5, 4)) == "one" and drawing.scan.near((11, 5, 4)) == "two"
    assert drawing.scan.near((5, 5, 5)) == "", "a slice away is 4 mm away"
    box = drawing.point((12, 5, 4), True)
    assert box == (slice(13, 18), slice(3, 8), slice(3, 6)) and np.array_equal(drawing.mask > 0, labels == 2)
    assert drawing.point((0, 0, 0), False) is None, "what lies outside stays outside"


def test_structures_that_overlap_are_each_by_itself(tmp_path) -> None:
    labels = np.zeros((2, 12, 12, 12), np.uint8)
    labels[0, 2:10, 2:10, 2:10] = labels[1, 4:8, 4:8, 4:8] = 1
    regions = (Region("whole", (1, 2)), Region("core", (2,)))
    model = Served("m", package(tmp_path, **{}))
    plan = model.package.plan.model_copy(update={"regions": regions, "paint": ()})
    object.__setattr__(model.package, "plan", plan)
    assert model.structures == {"whole": 1, "core": 2}
    drawing = work(tmp_path / "d", Found(labels, {}), model.structures)
    drawing.point((5, 5, 5), True)
    assert drawing.mask.sum() == 64, "of two that hold the point the smaller one is meant"
    drawing.put_aside()
    drawing.point((3, 3, 3), True)
    assert drawing.mask.sum() == 512
    drawing.put_aside()


def test_a_later_click_leaves_an_earlier_one_as_it_was(tmp_path) -> None:
    labels = np.zeros((40, 40, 12), np.uint8)
    labels[10:30, 10:30, 3:9] = 1
    drawing = work(tmp_path, Found(labels, {}), {"one": 1})
    drawing.point((20, 20, 5), True)
    drawing.point((32, 20, 5), True)
    drawing.point((34, 22, 5), False)
    drawing.point((33, 18, 5), True)
    assert drawing.mask[32, 20, 5] and drawing.mask[33, 18, 5] and not drawing.mask[34, 22, 5]
