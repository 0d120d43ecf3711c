"""Advice compares slices with volumes and coarse voxels with fine ones, by what a reader gets."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

import voxgraft.advice.advise as advising
import voxgraft.advice.shapes as shaping
from voxgraft.advice.clock import Clock, TimeUp
from voxgraft.advice.shape_verdict import better_of, sentence
from voxgraft.advice.shapes import Shape, compare_shapes, not_compared, shapes_of
from voxgraft.cli import main
from voxgraft.discovery import discover
from voxgraft.errors import TrainingError
from voxgraft.preprocessing.planning import affordable_spacing
from voxgraft.scoring.scores import Scores
from voxgraft.workflow.workflow import read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((35, 50, 36), (1.0, 1.0, 1.0), None),
        ((190, 140, 88), (0.625, 0.625, 0.625), (1.13, 1.13, 1.13)),
        ((512, 512, 400), (0.8, 0.8, 1.0), (1.6, 1.6, 1.6)),
        ((512, 512, 30), (0.8, 0.8, 5.0), (1.6, 1.6, 5.0)),
    ],
)
def test_a_spacing_that_a_cpu_can_train(shape, spacing, expected) -> None:
    assert affordable_spacing(shape, spacing) == expected


def planned(dims: int, spacing=(1.0, 1.0, 1.0), shape=(180, 140, 90), image_dims: int = 3) -> SimpleNamespace:
    cases = {f"c{n}": {"shape": list(shape), "spacing": list(spacing)} for n in range(4)}
    return SimpleNamespace(
        plan=SimpleNamespace(dims=dims, image_dims=image_dims, spacing=tuple(spacing)),
        split=SimpleNamespace(train=list(cases), validation=["v"]),
        read=lambda name: {"cases": cases},
        catalogue=discover(),
        models=SimpleNamespace(catalogue=discover()),
        cache=None,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    return read(workflow(folder, boxes(folder / "boxes", cases=9)), discover(), ())


def test_of_a_fine_volume_a_coarser_one_and_slices_come_into_question(own, monkeypatch) -> None:
    pretrained = {"use": "efficientnet-lite0", "weights": "imagenet"}
    monkeypatch.setattr(shaping, "encoders_at_hand", lambda *_: ([pretrained], []))
    found = shapes_of(own, planned(3))
    assert [(shape.dims, shape.own) for shape in found] == [(3, True), (3, False), (2, False)]
    assert found[1].spacing == affordable_spacing((180, 140, 90), (1.0, 1.0, 1.0))
    assert found[2].encoder == pretrained and found[2].label.startswith("slices at 1.78 x 1.78 x 1.78 mm")


def test_of_slices_volumes_of_both_spacings_come_into_question(own) -> None:
    assert [shape.dims for shape in shapes_of(own, planned(2))] == [2, 3, 3]


def test_small_volumes_are_not_made_coarser(own, monkeypatch) -> None:
    monkeypatch.setattr(shaping, "encoders_at_hand", lambda *_: ([], []))
    found = shapes_of(own, planned(3, shape=(35, 50, 36)))
    assert [shape.dims for shape in found] == [3, 2] and found[1].encoder["weights"] == "none"


def test_pictures_have_one_shape(own) -> None:
    assert len(shapes_of(own, planned(2, image_dims=2))) == 1


def test_a_shape_changes_nothing_of_the_workflow_but_what_it_names(own) -> None:
    shape = Shape(3, (2.0, 2.0, 2.0), {"use": "residual", "weights": "none"}, ())
    before, after = own.document(), shape.workflow(own, planned(3)).document()
    assert after["data"]["spacing"] == [2.0, 2.0, 2.0] and after["data"]["split"] == before["data"]["split"]
    assert after["training"]["budget"] == before["training"]["budget"] and after["evaluation"] == before["evaluation"]


def scores(values) -> Scores:
    return Scores.of({f"p{n}": {"dice": {"box": float(value)}} for n, value in enumerate(values)}, {})


def made(*shapes: Shape, steps: int = 200, seconds: float = 60.0) -> list[dict]:
    """The rows of trainings that are made up."""
    return [{"shape": shape.label, "own": shape.own, "steps": steps, "seconds": seconds} for shape in shapes]


SLICES, VOLUMES = Shape(2, (1.0,) * 3, {"use": "a"}, (), own=True), Shape(3, (2.0,) * 3, {"use": "b"}, ())


@pytest.mark.parametrize(("gain", "taken"), [(0.05, True), (-0.05, False)])
def test_where_few_patients_cannot_tell_volumes_that_led_take_the_place_of_slices(gain: float, taken: bool) -> None:
    rows = made(SLICES, VOLUMES)
    base = np.array([0.6, 0.7, 0.8])
    found = better_of([SLICES, VOLUMES], {SLICES.label: scores(base), VOLUMES.label: scores(base + gain)}, rows)
    assert (found is VOLUMES) is taken
    said = sentence(rows, found)
    assert said.startswith("3 held-out patients cannot tell, but volumes" if taken else "no evidence")
    assert ("on another data set (atrium" in said) is taken


def test_slices_that_only_learn_faster_do_not_take_the_place_of_volumes() -> None:
    own, other = Shape(3, (2.0,) * 3, {"use": "b"}, (), own=True), Shape(2, (1.0,) * 3, {"use": "a"}, ())
    base = np.linspace(0.5, 0.6, 8)
    for seconds, expected in ((60.0, None), (3600.0, other)):
        rows = made(own, other, seconds=seconds)
        both = {own.label: scores(base), other.label: scores(base + 0.1)}
        assert better_of([own, other], both, rows) is expected
        assert rows[1]["evidence"] == "better", "what was found is kept"
        assert ("slices learn faster" in sentence(rows, expected)) is (expected is None)


def test_a_shape_that_took_a_few_steps_is_evidence_of_nothing() -> None:
    rows = made(SLICES, VOLUMES)
    rows[1]["steps"] = 1
    both = {SLICES.label: scores(np.full(8, 0.6)), VOLUMES.label: scores(np.full(8, 0.1))}
    assert better_of([SLICES, VOLUMES], both, rows) is None
    assert rows[1]["evidence"] == "too early to tell"
    assert sentence(rows, None).startswith("too early to tell whether another shape does better: volumes at")


def test_few_minutes_are_said_not_to_suffice() -> None:
    assert "were not compared, which takes 6 minutes or more" in not_compared(3)
    assert "on another data set (atrium" in not_compared(2), "and what is known beforehand of slices"


@pytest.mark.parametrize(("gain", "chosen"), [(0.1, True), (0.0, False), (-0.1, False)])
def test_only_a_shape_that_does_better_takes_the_place(gain: float, chosen: bool) -> None:
    base = np.linspace(0.6, 0.8, 8) + np.array([0, 0.01, -0.01, 0.005, -0.005, 0.01, -0.01, 0])
    mine, other = Shape(2, (1.0,) * 3, {"use": "a"}, (), own=True), Shape(3, (2.0,) * 3, {"use": "b"}, ())
    rows = made(mine, other)
    noise = np.array([0.004, -0.004] * 4)
    better = better_of([mine, other], {mine.label: scores(base), other.label: scores(base + noise + gain)}, rows)
    assert (better is other) is chosen
    said = sentence(rows, better)
    assert said.startswith("volumes at 2 x 2 x 2 mm, b scratch does better") if chosen else said.startswith("no evid")


def test_a_shape_that_cannot_be_trained_is_told_and_the_others_go_on(own, monkeypatch, tmp_path) -> None:
    def trained(shape, *_):
        if not shape.own:
            raise TrainingError("the patch does not fit\nmore")
        return {"dice": 0.5, "volumes": 1, "defined": 1, "steps": 9, "seconds": 1.0}, scores([0.5])

    monkeypatch.setattr(shaping, "_trained", trained)
    rows, said = [], []
    assert compare_shapes(own, planned(3), Clock(9), tmp_path, rows, said.append) is None
    assert [row.get("error") for row in rows] == [None, "the patch does not fit", "the patch does not fit"]
    assert said[1].startswith("advise: shape 2 of 3, volumes at") and said[1].endswith("the patch does not fit")


def test_the_whole_round_on_small_volumes(tmp_path, monkeypatch) -> None:
    """Real trainings of a few steps; the advice ends there, for the clock has no more time."""

    def stop(*_):
        raise TimeUp

    monkeypatch.setattr(advising, "MINUTES", 0.0)
    monkeypatch.setattr(shaping, "TRAINING", 0.005)
    monkeypatch.setattr(advising, "encoders_at_hand", stop)
    path = workflow(tmp_path, boxes(tmp_path / "boxes", cases=9))
    arguments = ["advise", str(path), "--minutes", "5", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "advice.json").read_text())
    assert found["shapes"][0]["own"] and len(found["shapes"]) >= 2, found
    assert all(row["steps"] > 0 and row["volumes"] > 0 for row in found["shapes"])
    assert found["shape"] and found["shape"] in result.stdout
    assert not list((tmp_path / "out" / "work").glob("shape_*")), "what the trainings left is not kept"
    assert "Slices or volumes" in (tmp_path / "out" / "advice.html").read_text()


def test_a_shape_that_takes_too_long_leaves_what_was_found_of_the_others(own, monkeypatch, tmp_path) -> None:
    def trained(shape, *_):
        if not shape.own:
            raise TimeUp
        return {"dice": 0.5, "volumes": 1, "defined": 1, "steps": 99, "seconds": 1.0}, scores([0.5])

    monkeypatch.setattr(shaping, "_trained", trained)
    rows: list[dict] = []
    assert compare_shapes(own, planned(2), Clock(9), tmp_path, rows, lambda _: None) is None
    assert rows[0]["dice"] == 0.5 and rows[1]["error"] == "the time for comparing shapes was up"
    with pytest.raises(TimeUp):
        compare_shapes(own, planned(2), Clock(0.0), tmp_path, rows, lambda _: None)


def test_where_time_is_short_fewer_shapes_are_compared(own, monkeypatch, tmp_path) -> None:
    seen: list[tuple[str, float]] = []

    def trained(shape, _own, _run, _folder, seconds, *_):
        seen.append((shape.label, seconds))
        raise TrainingError("no")

    monkeypatch.setattr(shaping, "_trained", trained)
    for minutes, expected in ((5.0, 2), (30.0, 3)):
        seen.clear()
        compare_shapes(own, planned(2), Clock(minutes), tmp_path, [], lambda _: None)
        assert len(seen) == expected and len({round(seconds) for _, seconds in seen}) == 1, "as long for each"
        assert seen[0][1] >= 30
