"""Half precision: allowed by the model's own cases, used where there are units for it, said where it is used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batch_scans import Brightness, model, write_scan
from training import tiny_network, tiny_plan

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.inference import precision as numbers
from voxgraft.inference.array import segment_array
from voxgraft.inference.precision import Half, applied, precision_on
from voxgraft.inference.sliding import logits_by_slab
from voxgraft.packages.facts import allowed, applied_in, common, failed, judge, said
from voxgraft.packages.model_card import model_card
from voxgraft.runs.shortcuts import TRIED, mean_dice, try_shortcuts
from voxgraft.scoring.pair import Counts
from voxgraft.support.machine import has_bf16
from voxgraft.support.progress import Progress

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
YES = {"precision": {"bf16": judge("bf16", {"a": 0.9}, {"a": 0.9004}, 8)}}


@pytest.mark.parametrize(
    ("plain", "fast", "agrees"),
    [
        ({"a": 0.9, "b": 0.8}, {"a": 0.9009, "b": 0.7991}, True),
        ({"a": 0.9, "b": 0.8}, {"a": 0.9, "b": 0.7989}, False),
        ({"a": 0.9, "b": math.nan}, {"a": 0.9, "b": 0.0}, True),
        ({"a": math.nan}, {"a": math.nan}, False),
        ({"a": 0.9}, {"a": math.nan}, False),
        ({}, {}, False),
    ],
)
def test_every_structure_must_agree(plain: dict[str, float], fast: dict[str, float], agrees: bool) -> None:
    verdict = judge("bf16", plain, fast, 8)
    assert verdict["agrees"] is agrees and json.loads(json.dumps(verdict, allow_nan=False)) == verdict
    assert allowed({"precision": {"bf16": verdict}}, "bf16") is agrees
    (sentence,) = said({"precision": {"bf16": verdict}})
    assert ("so float32 is used" in sentence) is not agrees


@pytest.mark.parametrize("facts", [{}, {"precision": 5}, {"precision": {"bf16": 1}}, {"precision": {"16": {}}}])
def test_facts_that_say_nothing_allow_nothing(facts: dict[str, Any]) -> None:
    assert not allowed(facts, "bf16") and not allowed(facts, "16")


def test_a_structure_that_no_held_out_case_holds_is_named_and_float32_is_used() -> None:
    verdict = judge("bf16", {"a": 0.9, "b": 0.0}, {"a": 0.9002, "b": 0.0}, 8, ["b"])
    facts = {"precision": {"bf16": verdict}}
    assert not allowed(facts, "bf16") and list(verdict["dice"]) == ["a"]
    assert said(facts)[0].endswith("0.0002 on 8 held-out cases, and none of them holds b, so float32 is used")
    assert applied_in(facts, "bf16").endswith(
        "as asked; that changes the Dice of no structure by more than 0.0002"
        " on 8 held-out cases, and none of them holds b"
    )
    assert common([YES, facts])["bf16"]["not_compared"] == ["b"] and not common([YES, facts])["bf16"]["agrees"]


@pytest.mark.parametrize("fast", [0.0, 0.0005])
def test_a_model_that_finds_nothing_of_a_structure_proves_nothing_of_it(fast: float) -> None:
    verdict = judge("bf16", {"a": 0.9, "b": 0.0}, {"a": 0.9, "b": fast}, 8)
    facts = {"precision": {"bf16": verdict}}
    assert not allowed(facts, "bf16") and verdict["missed"] == ["b"]
    assert said(facts)[0].endswith("8 held-out cases, but the model finds nothing of b in them, so float32 is used")
    assert common([YES, facts])["bf16"]["missed"] == ["b"] and not allowed({"precision": common([YES, facts])}, "bf16")


def test_cases_are_tried_until_each_structure_was_in_one(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = Labels.of({"organ": 1, "lesion": 2, "stone": 3})
    seen: list[str] = []

    class Fake:
        def __init__(self, *_: Any, precision: str, body: str, **__: Any) -> None:
            self.precision = precision

        def predict(self, scan: Volume, missing: Any) -> Any:
            seen.append(self.precision)
            return SimpleNamespace(labels=scan)

    def read(name: str) -> tuple[Volume, Volume, list[int]]:
        mask = np.zeros((6, 6, 6), np.uint8)
        mask[1:3], mask[4:] = 1, 2 * (name == "11")
        return Volume(mask, np.eye(4)), Volume(mask, np.eye(4)), []

    run = SimpleNamespace(
        workflow=SimpleNamespace(inference=SimpleNamespace(device="cpu", precision="auto", body="off")),
        split=SimpleNamespace(validation=[str(number) for number in range(14)]),
        catalogue=catalogue,
        progress=Progress(quiet=True),
    )
    monkeypatch.setattr("voxgraft.runs.shortcuts.fast_precision", lambda device: "bf16")
    monkeypatch.setattr("voxgraft.runs.shortcuts.predictor_of", Fake)
    (verdict,) = try_shortcuts(run, None, labels, read)["precision"].values()  # type: ignore[arg-type]
    assert verdict["cases"] == TRIED + 1 == seen.count("bf16") == seen.count("32")
    assert verdict["not_compared"] == ["stone"] and not verdict["agrees"] and verdict["difference"] == 0


def test_networks_that_decide_together_must_all_agree() -> None:
    no = {"precision": {"bf16": failed("RuntimeError")}}
    assert common([YES, YES])["bf16"]["agrees"] and not common([YES, no])["bf16"]["agrees"]
    assert common([YES, {}]) == {} == common([])


def test_the_mean_leaves_out_cases_in_which_dice_is_not_defined() -> None:
    rows = [{"a": Counts(2, 0, 2, 9)}, {"a": Counts(0, 0, 0, 9)}, {"a": Counts(3, 0, 0, 9), "b": Counts(0, 0, 0, 9)}]
    means = mean_dice(rows)
    assert means["a"] == pytest.approx((2 / 3 + 1) / 2) and math.isnan(means["b"])


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("flags\t\t: fpu avx512_bf16 avx512f", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("model name: bf16", False),
    ],
)
def test_the_processor_says_what_it_has(tmp_path: Path, line: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert has_bf16(tmp_path / "cpuinfo") is has and not has_bf16(tmp_path / "none")


@pytest.mark.parametrize(
    "spoilt",
    [None, True, 3, "x", [], {}, {"agrees": True}, {"agrees": 1, "difference": 0.0}]
    + [{"agrees": agrees, "difference": value} for agrees in (True, False) for value in ("x", [1], math.nan)]
    + [{"agrees": True, "difference": None}],
    ids=str,
)
def test_what_is_no_verdict_allows_nothing_and_says_nothing(spoilt: Any) -> None:
    for facts in ({"precision": {"bf16": spoilt}}, {"precision": spoilt}):
        assert not allowed(facts, "bf16") and said(facts) == [] and "no held-out case" in applied_in(facts, "bf16")
        assert common([facts, YES]) == {}


def test_half_precision_needs_units_and_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "has_bf16", lambda: True)
    assert precision_on(CPU, "auto", YES) == "bf16" and precision_on(CPU, "auto", {}) == "32"
    assert precision_on(CPU, "32", YES) == "32" and precision_on(CPU, "bf16", {}) == "bf16"
    monkeypatch.setattr(numbers, "has_bf16", lambda: False)
    assert precision_on(CPU, "auto", YES) == "32"
    with pytest.raises(UsageError, match="needs a GPU"):
        precision_on(CPU, "16", YES)
    for new, word in ((True, "bf16"), (False, "32")):  # an old GPU computes in float16, which nobody has tried here
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, new=new: new)
        assert precision_on(CUDA, "auto", YES) == word
    assert precision_on(CUDA, "auto", {"precision": {"16": {"agrees": True, "difference": 0.0}}}) == "16"


def test_a_network_in_half_precision_finds_the_same_and_in_float32_it_is_left_alone() -> None:
    network, image = tiny_network().eval(), torch.randn(1, 12, 11, 10, generator=torch.manual_seed(0))
    assert applied(network, "32", CUDA) is network
    half = applied(network, "bf16", CPU)
    logits = half(image[None, :, :8, :8, :8]).logits
    assert logits.dtype == torch.bfloat16
    plain, _ = segment_array(network, image, (12, 11, 10), tiny_plan())
    found, _ = segment_array(half, image, (12, 11, 10), tiny_plan(), device=CPU)
    assert (found == plain).mean() > 0.9  # weights are random: many logits are close


class Clock:
    """Seconds that pass with each call of a network."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self, device: torch.device) -> float:
        return self.now


@pytest.mark.parametrize(("faster", "kept"), [(0.5, True), (1.0, False), (None, False)])
def test_a_compiled_network_is_kept_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, faster: float | None, kept: bool
) -> None:
    """No GPU is needed to follow what is done on one: the network is a fake, and so is the clock."""
    clock, calls = Clock(), []
    monkeypatch.setattr(numbers, "WORTH_COMPILING", 2)
    monkeypatch.setattr(torch, "autocast", lambda device, kind: torch.inference_mode())

    class Network(torch.nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            clock.now += 1.0
            calls.append("plain")
            return windows

    def compiler(network: torch.nn.Module) -> Any:
        if faster is None:
            raise RuntimeError("no compiler here")

        def compiled(windows: torch.Tensor) -> torch.Tensor:
            clock.now += faster
            calls.append("compiled")
            return windows

        return compiled

    half = Half(Network(), torch.bfloat16, CUDA, compiler, clock)
    for _ in range(3):
        half(torch.zeros(1, 1, 4, 4, 4))
    assert calls[-1] == ("compiled" if kept else "plain")
    half(torch.zeros(2, 1, 4, 4, 4))  # of another shape it would be compiled anew
    assert calls[-1] == "plain"


def test_nothing_waits_for_the_device_between_windows() -> None:
    """Tensors of torch's device `meta` have no values: whatever asked for one would raise."""
    network = tiny_network().eval().to("meta")
    slabs = [slab.shape for _, slab in logits_by_slab(network, torch.zeros(1, 20, 9, 9), (8, 8, 8), device="meta")]
    assert sum(shape[1] for shape in slabs) == 20


def test_the_card_says_what_half_precision_changes() -> None:
    facts = {
        "name": "m",
        "training": {"steps": 1, "seconds": 1, "device": "cpu", "parameters": 1},
        "split": {"train": ["a"], "validation": ["b"]},
        "data": {"hash": "0" * 64},
        "voxgraft": "0",
        "created": "now",
        **YES,
    }
    assert "Bfloat16 changes the Dice of no structure by more than 0.0004" in model_card(facts, tiny_plan())
    assert "as asked" in applied_in({}, "bf16") and "by more than 0.0004" in applied_in(YES, "bf16")


def test_a_batch_says_in_what_numbers_and_is_done_again_in_others(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "has_bf16", lambda: True)
    package = model(tmp_path / "model", facts=YES)
    scan = write_scan(tmp_path / "in" / "a.nii.gz")

    def go(precision: str | None) -> tuple[int, dict[str, Any]]:
        batch = segment(
            package, [scan], tmp_path / "out", catalogue, device="cpu", precision=precision, predictor=Brightness()
        )
        report = json.loads((tmp_path / "out" / "a" / "report.json").read_text())
        return batch.done, report["model"]

    done, told = go(None)
    assert done == 1 and told["precision"] == "bfloat16"
    assert "bfloat16" in (tmp_path / "out" / "report.html").read_text()
    assert go("bf16")[0] == 0
    done, told = go("32")
    assert done == 1 and told["precision"] == "float32"
