"""The comparison of deepbet's weights with scratch: its subjects, its tables, and that its workflow runs on them."""

from __future__ import annotations

import argparse
import csv
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError
from voxgraft.workflow.workflow import read

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "workflows" / "brain_tissue_deepbet.yaml"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for few and small subjects."""
    pytest.importorskip("nilearn", reason="the MNI152 template of the nilearn package is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("brain_tissue")
    for name, value in {
        "POOL": 2,
        "TUNING": 1,
        "EVALUATED": 3,
        "SHAPE": (24, 24, 24),
        "RATES": (1e-3, 3e-3),
        "TUNED_WITH": 1,
    }.items():
        monkeypatch.setattr(script, name, value)
    return script


def test_a_seed_gives_one_subject_and_the_hard_domain_is_further_from_the_template(benchmark: ModuleType) -> None:
    template = benchmark.read_template(smoothing=0.0)
    draw = {
        name: [benchmark.draw_subject(template, domain, np.random.default_rng(3)) for _ in range(2)]
        for name, domain in (("mild", benchmark.MILD), ("hard", benchmark.HARD))
    }
    for one, again in draw.values():
        assert np.array_equal(one[0].array, again[0].array) and np.array_equal(one[1].array, again[1].array)
        assert one[0].array.shape == benchmark.SHAPE and one[0].array.dtype == np.float32
        assert set(np.unique(one[1].array)) == {0, 1, 2} and one[1].array.dtype == np.uint8
        assert np.array_equal(one[0].affine, one[1].affine)

    def roughness(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image, axis=0)).mean() / image.mean())

    mild, hard = draw["mild"][0], draw["hard"][0]
    assert roughness(hard[0].array) > 1.2 * roughness(mild[0].array)
    assert (mild[1].array != hard[1].array).mean() > 0.1


def test_the_comparison_runs_and_never_learns_from_those_it_is_scored_on(
    benchmark: ModuleType, tmp_path: Path, one_thread: None
) -> None:
    options = argparse.Namespace(
        folder=tmp_path,
        workflow=WORKFLOW,
        steps=2,
        device="cpu",
        seeds="7,8",
        arms="scratch,freeze",
        labelled="1",
        set=["training.patch=[16,16,16]", "model.encoder.levels=3"],
    )
    benchmark.make(tmp_path)
    found = benchmark.compare(options)
    with (tmp_path / "subjects.csv").open() as file:
        part = {row["case"]: row["split"] for row in csv.DictReader(file)}
    held_out = {case for case, where in part.items() if where == "validation"}
    assert held_out == {"evaluated_00", "evaluated_01", "evaluated_02"}
    assert len(found["runs"]) == 4
    for row in found["runs"]:
        assert set(row["cases"]) == held_out
        assert row["steps"] == 2
    learnt = {(row["arm"], row["draw"]): tuple(row["learnt_from"]) for row in found["runs"]}
    assert learnt["scratch", 0] == learnt["freeze", 0] and len(learnt["scratch", 0]) == 1
    assert not {case for cases in learnt.values() for case in cases} & held_out
    trained = {row["arm"]: row["fixed"] for row in found["runs"]}
    assert trained["scratch"] == 0 < trained["freeze"]
    assert set(found["rates"].values()) <= {1e-3, 3e-3}
    for arm, rate in found["rates"].items():
        assert found["tuned"][arm][f"{rate:g}"] == max(found["tuned"][arm].values())
    assert {(one["run"], one["structure"]) for one in found["comparisons"]} == {
        ("freeze", name) for name in ("mean", "grey matter", "white matter")
    }


def test_without_the_template_it_says_so_and_stops(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(smoothing: float) -> None:
        raise DataError("the demo needs the MNI152 template")

    monkeypatch.setattr(benchmark, "read_template", missing)
    monkeypatch.setattr("sys.argv", ["brain_tissue.py", "--make", str(tmp_path / "here")])
    with pytest.raises(SystemExit, match="brain_tissue: the demo needs the MNI152 template"):
        benchmark.main()


def test_the_workflow_gives_deepbet_the_images_that_it_was_trained_on(catalogue: Catalogue) -> None:
    """`normalize` of deepbet.utils, but for its last line, which the encoder does."""
    voxels = np.random.default_rng(0).gamma(2.0, 100.0, (20, 20, 20)).astype(np.float32)
    voxels[:12] = 0
    modality = read(WORKFLOW, catalogue).data.modality.build()
    found = modality.normalise(voxels[None], modality.plan([{}]))[0]
    x = torch.from_numpy(voxels)
    low, high = x.quantile(0.005), x.quantile(0.995)
    x = ((x - low) / (high - low)).clamp(min=0, max=1)
    x = (x - x.mean()) / x.std()
    assert np.allclose(found, x.numpy(), atol=1e-3)
