"""Where the body is, which windows it takes, that labels are those of the whole scan where none of the others reached,
and that it is used where the model's own cases agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batch_scans import Brightness, Found, model, write_scan
from hypothesis import given, settings
from hypothesis import strategies as st
from training import tiny_plan

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import BrokenPlugin
from voxgraft.imaging.body import ALL, NONE, SMALL, body_box
from voxgraft.imaging.structures import Labels, Region
from voxgraft.imaging.volume import Volume
from voxgraft.inference.around import covering, on_grid, search_of
from voxgraft.inference.array import segment_array
from voxgraft.inference.need import column_bytes
from voxgraft.inference.sliding import window_starts
from voxgraft.packages.facts import applied_around, failed, joined, judge, said_around, used_around
from voxgraft.preprocessing.modality import HOUNSFIELD_LEVELS
from voxgraft.runs.shortcuts import try_shortcuts
from voxgraft.support.progress import Progress

SPACING = (4.0, 4.0, 5.0)
SHAPE = (60, 50, 20)


def scan(*boxes: tuple[tuple[slice, slice, slice], float], air: float = -1000.0) -> Any:
    """Noisy air with boxes of other intensities in it."""
    array = np.random.default_rng(0).normal(air, 20, SHAPE)
    for where, value in boxes:
        array[where] = value
    return np.asfortranarray(array.round().astype(np.int16))


def block(*ends: tuple[int, int]) -> tuple[slice, slice, slice]:
    first, second, third = (slice(*one) for one in ends)
    return first, second, third


TORSO = (block((20, 40), (15, 35), (0, 20)), 40.0)
LUNG = (block((24, 30), (18, 30), (0, 20)), -860.0)


def found(array: Any) -> Any:
    return body_box(array, SPACING, *HOUNSFIELD_LEVELS)


def test_the_box_holds_the_body_with_a_margin_whatever_lies_in_it_or_in_the_order_of_axes() -> None:
    box = ((18, 42), (13, 37), (0, 20))
    assert found(scan(TORSO)) == box == found(scan(TORSO, LUNG))
    assert found(np.ascontiguousarray(scan(TORSO))[::-1]) == box
    metal = (block((30, 32), (20, 22), (5, 7)), 30000.0)
    assert found(scan(TORSO, metal)) == box
    floats = scan(TORSO).astype(np.float32)
    floats[:5], floats[25, 20, 10] = np.nan, np.inf
    assert found(floats) == box


def test_arms_count_and_tables_do_not() -> None:
    arm = (block((6, 9), (20, 23), (0, 20)), 20.0)
    assert found(scan(TORSO, arm))[0] == (4, 42)
    fine = np.kron(scan(TORSO), np.ones((4, 1, 1)))
    fine[100, 5:45] = 300  # a shell of 1 mm
    assert body_box(fine, (1.0, 4.0, 5.0), *HOUNSFIELD_LEVELS) == ((72, 168), (13, 37), (0, 20))
    foam = (block((18, 42), (40, 42), (0, 20)), -870.0)
    assert found(scan(TORSO, foam)) == ((18, 42), (13, 37), (0, 20))


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (scan(), NONE),
        (scan((block((30, 32), (20, 22), (0, 20)), 40.0)), SMALL),
        (scan(air=40.0), ALL),
        (scan(TORSO, air=-1000.0) + 1024, ALL),  # unsigned, as it is stored
        (np.where(scan(TORSO) < -900, 0, scan(TORSO)), ALL),  # padded with water
        (np.full(SHAPE, np.nan), NONE),
        (np.zeros((1, 1, 1)), ALL),
    ],
)
def test_where_no_body_stands_out_the_whole_scan_is_searched(array: Any, why: str) -> None:
    assert found(array) == why


def test_padding_darker_than_air_is_air_and_a_round_field_of_view_does_no_harm() -> None:
    rows, columns = np.ogrid[:60, :50]
    outside = (rows - 30) ** 2 + (columns - 25) ** 2 > 25**2
    array = scan(TORSO)
    array[outside] = -2000
    assert found(array) == ((18, 42), (13, 37), (0, 20))


def test_where_another_channel_alone_looks_is_not_cut_off() -> None:
    narrow = scan(TORSO)
    narrow[:14] = -1024  # beyond the field of view of the CT; the PET sees an arm there
    noise = np.random.default_rng(1).gamma(1, 0.01, SHAPE).astype(np.float32)
    assert found(narrow) == ((18, 42), (13, 37), (0, 20))
    for others in ([noise], [np.zeros(SHAPE), noise], [np.where(np.isnan(noise), 0, noise)[::-1]]):
        assert body_box(narrow, SPACING, *HOUNSFIELD_LEVELS, others) == ((0, 42), (13, 37), (0, 20))
    for others in ([np.zeros(SHAPE)], [np.full(SHAPE, np.nan)], [narrow], []):
        assert body_box(narrow, SPACING, *HOUNSFIELD_LEVELS, others) == found(narrow)


def test_a_lung_that_the_border_cuts_is_not_cut_off() -> None:
    array = scan((block((0, 60), (0, 50), (0, 20)), -850.0), (block((30, 60), (0, 50), (0, 20)), 30.0))
    assert found(array) == ALL
    assert found(scan((block((0, 30), (5, 40), (0, 20)), -850.0), (block((30, 50), (5, 40), (0, 20)), 30.0)))[0][0] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(4, 20), st.sampled_from([0.0, 0.25, 0.5]), st.data())
def test_windows_over_a_box_are_some_of_the_scans_and_cover_it(size: int, edge: int, overlap: float, data: Any) -> None:
    low = data.draw(st.integers(0, size - 1))
    high = data.draw(st.integers(low + 1, size))
    cover = covering((size,), (edge,), overlap, ((low, high),))
    (starts,), ((begin, end),) = cover.starts, cover.part
    assert set(starts) <= set(window_starts(size, edge, overlap))
    assert begin <= low and end >= min(high, size) and starts[0] == begin and end == min(size, starts[-1] + edge)
    assert {v for s in starts for v in range(s, min(size, s + edge))} == set(range(begin, end))
    whole = covering((size,), (edge,), overlap, None)
    assert list(whole.starts[0]) == list(window_starts(size, edge, overlap)) and whole.part == ((0, size),)


class Pattern(torch.nn.Module):
    """Classes everywhere, by the values of a window and by where they lie in it; windows are counted."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.windows = torch.nn.Conv3d(1, classes, 3, padding=1), 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.windows += len(windows)
        return self.body(windows)


def plan_of(**changes: Any) -> Any:
    labels = tuple((value, str(value)) for value in (1, 2))
    return tiny_plan().model_copy(update={"labels": labels, "patch": (8, 8, 8), **changes})


IMAGE = torch.randn(1, 40, 30, 24, generator=torch.manual_seed(1))
BOX = ((13, 27), (5, 25), (3, 20))


def alone(starts: Any, size: int) -> tuple[int, int]:
    """The positions along an axis that no other window reaches."""
    others = [start for start in window_starts(size, 8, 0.5) if start not in starts]
    reached = {voxel for start in others for voxel in range(start, start + 8)}
    free = [voxel for voxel in range(starts[0], starts[-1] + 8) if voxel not in reached]
    return free[0], free[-1] + 1


@pytest.mark.parametrize("shape", [(40, 30, 24), (61, 47, 40), (30, 20, 24)])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("regions", [False, True])
def test_labels_are_those_of_the_whole_scan_where_no_other_window_reached(
    shape: tuple[int, ...], narrow: bool, regions: bool
) -> None:
    network = Pattern(2 if regions else 3)
    plan = plan_of(regions=(Region("a", (1,)), Region("b", (2,)))) if regions else plan_of()
    whole, _ = segment_array(network, IMAGE, shape, plan)
    all_, network.windows = network.windows, 0
    box = on_grid(BOX, (40, 30, 24), shape)
    room = 14.0 * column_bytes(plan, (40, 30, 24), shape) if narrow else None
    part, _ = segment_array(network, IMAGE, shape, plan, box=box, room=room)
    assert narrow or network.windows < 0.7 * all_
    cover = covering((40, 30, 24), (8, 8, 8), 0.5, on_grid(box, shape, (40, 30, 24)))
    same = tuple(slice(*ends) for ends in on_grid(tuple(map(alone, cover.starts, (40, 30, 24))), (40, 30, 24), shape))
    same = tuple(slice(one.start + 2 * (one.start > 0), one.stop - 2) for one in same)
    assert whole[same].size and (whole[same] == part[same]).all() and (whole[same] > 0).any()
    outer = tuple(
        slice(int(np.floor((low - 1) * new / old)), int(np.ceil((high + 1) * new / old)))
        if low
        else slice(None, int(np.ceil((high + 1) * new / old)))
        for (low, high), old, new in zip(cover.part, (40, 30, 24), shape, strict=True)
    )
    beyond = np.ones(shape, bool)
    beyond[outer] = False
    assert not part[beyond].any() and whole[beyond].any()


@pytest.mark.parametrize("flat", [False, True])
def test_each_voxel_is_shown_once_and_nothing_is_found_for_certain_beyond(flat: bool) -> None:
    plan = plan_of(dims=2, patch=(8, 8), slice_axis=2) if flat else plan_of()
    network: Any = Pattern()
    if flat:
        network = lambda windows: torch.cat([windows, -windows, windows * 0], 1)  # noqa: E731
    sums, shares = np.zeros((40, 30, 24)), np.zeros((3, 40, 30, 24))

    def see(part: tuple[slice, ...], probabilities: Any) -> None:
        sums[part] += 1
        shares[(slice(None), *part)] = probabilities

    labels, _ = segment_array(network, IMAGE, (40, 30, 24), plan, box=BOX, see=see)
    quiet, _ = segment_array(network, IMAGE, (40, 30, 24), plan, box=BOX)
    assert (sums == 1).all() and np.allclose(shares.sum(0), 1, atol=1e-6)
    assert np.array_equal(labels, quiet) and np.array_equal(shares.argmax(0), labels) and labels.any()
    assert (shares[0, :4] == 1).all() and (shares[0, ..., 23] == 1).all()


def test_modalities_say_how_a_body_is_told_from_air(catalogue: Catalogue) -> None:
    def search(kind: str, array: Any, **more: Any) -> Any:
        modality: Any = choose(catalogue, "modality", {"use": kind}).build()
        image = Volume(array, np.diag([*SPACING, 1.0]), dims=3)
        plan = plan_of(spacing=SPACING, patch=more.pop("patch", (16, 16, 16)))
        return search_of(modality, image, more.get("missing", ()), [plan], 0.5)

    ct = search("ct", scan(TORSO))
    assert ct.box == ((18, 42), (13, 37), (0, 20)) and ct.said.startswith("around the body: voxels 18 to 41, 13 to 36,")
    assert search("ct", scan(TORSO), patch=(64, 64, 64)).said.endswith("the body takes as many windows")
    assert search("ct", scan(TORSO), missing=[0]).box is None
    assert search("ct", scan()).said == "the whole scan: no body was found"
    mr = np.abs(scan(air=0)) + 600 * (scan(TORSO) > 0)
    assert search("mr", mr).box == ct.box == search("mr", np.where(mr > 500, mr, 0)).box
    assert search("mr", mr - 300).box is None and search("mr", np.zeros(SHAPE)).box is None
    assert "does not distinguish the body from air" in search("image", mr).said
    two = np.stack([scan(), scan(TORSO)])
    wrong = SimpleNamespace(
        **dict.fromkeys(("augmentation", "plan", "normalise", "window"), print), body_levels=lambda _: (2, 0, 1)
    )
    with pytest.raises(BrokenPlugin, match="channel 2 of 2"):
        search_of(wrong, Volume(two, np.diag([*SPACING, 1.0]), dims=3), (), [plan_of()], 0.5)


def test_slices_without_the_body_are_left_out(catalogue: Catalogue) -> None:
    array = scan((block((5, 55), (3, 47), (8, 14)), 40.0))
    modality: Any = choose(catalogue, "modality", {"use": "ct"}).build()
    plan = plan_of(dims=2, patch=(64, 64), slice_axis=2, spacing=SPACING)
    assert search_of(modality, Volume(array, np.diag([*SPACING, 1.0])), (), [plan], 0.5).box is not None


AGREED = {"body": judge("body", {"a": 0.9}, {"a": 0.9004}, 3)}
SPOILT: list[Any] = [None, True, 3, "x", [], {"agrees": True}, {"agrees": 1, "difference": 0.0}]
SPOILT += [{"agrees": agrees, "difference": value} for agrees in (True, False) for value in ("x", [1], float("nan"))]
SPOILT += [{"agrees": True, "difference": None}, {"agrees": "yes", "difference": 0.0}]


def test_facts_decide_and_are_said() -> None:
    assert used_around("auto", AGREED) and not used_around("off", AGREED) and used_around("on", {})
    assert said_around(AGREED)[0].startswith(
        "searching the body alone changes the Dice of no structure by more than 0.0004"
    )
    assert "by more than 0.0004" in applied_around(AGREED) and "as asked; no held-out case" in applied_around({})
    doubts = {
        "loses b on a held-out case": judge("body", {"a": 0.9, "b": 0.0001}, {"a": 0.9, "b": 0.0}, 3, lost=["b"]),
        "none of them holds b": judge("body", {"a": 0.9}, {"a": 0.9}, 3, ["b"]),
        "changes the Dice of a structure by 0.0100": judge("body", {"a": 0.9}, {"a": 0.89}, 3),
        "leaves Dice undefined": judge("body", {"a": 0.9}, {}, 3),
        "failed (RuntimeError on x)": failed("RuntimeError on x"),
    }
    for said, verdict in doubts.items():
        facts = {"body": verdict}
        assert not used_around("auto", facts) and said in said_around(facts)[0]
        assert said_around(facts)[0].endswith("so whole scans are searched") and "as asked; " in applied_around(facts)
    assert not any(used_around("auto", facts) for facts in ({}, {"body": 5}, {"body": {}}, {"body": {"agrees": 1}}))
    assert said_around({}) == said_around({"body": {}}) == []
    for spoilt in SPOILT:  # anybody may have written a package
        assert not used_around("auto", {"body": spoilt}) and said_around({"body": spoilt}) == []
        assert "no held-out case" in applied_around({"body": spoilt})
    both = joined([AGREED["body"], doubts["loses b on a held-out case"]])
    assert both["lost"] == ["b"] and not both["agrees"] and joined([AGREED["body"]] * 2)["agrees"]


Loses = Callable[[bool, str], bool]


@pytest.mark.parametrize(
    ("loses", "agrees", "half"),
    [
        (lambda around, numbers: False, True, True),
        (lambda around, numbers: around, False, True),
        (lambda around, numbers: around and numbers == "bf16", False, True),
        (lambda around, numbers: numbers == "bf16", True, False),  # which is never applied, together or alone
    ],
    ids=["nothing", "the body", "both together", "half precision"],
)
@pytest.mark.parametrize("precision", ["32", "auto"])
def test_held_out_cases_whose_body_takes_fewer_windows_decide(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, loses: Loses, agrees: bool, half: bool, precision: str
) -> None:
    labels, calls = Labels.of({"organ": 1}), []

    class Fake:
        def __init__(self, *_: Any, body: str, precision: str, **__: Any) -> None:
            self.around, self.numbers = body == "on", precision

        def saves(self, scan: Volume, missing: Any) -> bool:
            return scan.array[0, 0, 0] == 0

        def predict(self, scan: Volume, missing: Any) -> Any:
            calls.append((self.around, self.numbers))
            return Found(scan.with_array(scan.array * (not loses(self.around, self.numbers))), {})

    def read(name: str) -> tuple[Volume, Volume, list[int]]:
        mask = np.zeros((6, 6, 6), np.uint8)
        mask[1:3], mask[0] = 1, int(name) % 2
        return Volume(mask, np.eye(4)), Volume(mask, np.eye(4)), []

    run = SimpleNamespace(
        workflow=SimpleNamespace(
            inference=SimpleNamespace(device="cpu", precision=precision, body="auto"),
            data=SimpleNamespace(modality=choose(catalogue, "modality", {"use": "ct"})),
        ),
        split=SimpleNamespace(validation=[str(number) for number in range(4)]),
        catalogue=catalogue,
        progress=Progress(quiet=True),
    )
    monkeypatch.setattr("voxgraft.runs.shortcuts.predictor_of", Fake)
    monkeypatch.setattr("voxgraft.runs.shortcuts.fast_precision", lambda device: "bf16")
    tried = try_shortcuts(run, None, labels, read)  # type: ignore[arg-type]
    alone = precision == "32"
    assert {word: one["agrees"] for word, one in tried["precision"].items()} == ({} if alone else {"bf16": half})
    assert tried["body"]["cases"] == 2
    assert tried["body"]["agrees"] is (not loses(True, "32") if alone else agrees)
    assert calls.count((True, "32")) == 2, "cases that would be searched whole cost nothing"
    assert calls.count((False, "32")) == (2 if alone else 4)
    assert calls.count((True, "bf16")) == (0 if alone else 2)
    run.split.validation = ["1", "3"]
    assert try_shortcuts(run, None, labels, read)["body"] == {}  # type: ignore[arg-type]


def test_a_batch_says_where_it_looked_and_looks_again_when_asked_to(tmp_path: Path, catalogue: Catalogue) -> None:
    package, scan = model(tmp_path / "model", facts=AGREED), write_scan(tmp_path / "in" / "a.nii.gz")

    def go(body: str | None) -> tuple[int, Any]:
        batch = segment(package, [scan], tmp_path / "out", catalogue, device="cpu", body=body, predictor=Brightness())
        return batch.done, json.loads((tmp_path / "out" / "a" / "report.json").read_text())["searched"]

    assert go(None) == (1, None), "this predictor does not say where it looked"
    assert "the body alone, where it is found" in (tmp_path / "out" / "report.html").read_text()
    assert [go(body)[0] for body in ("auto", "on", "off", "off", "on")] == [0, 0, 1, 0, 1]
