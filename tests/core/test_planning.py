"""The plan follows from the fingerprint by the stated rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import workflow as workflow_file

from voxgraft.datasets.cases import Case, Dataset, Described
from voxgraft.errors import DataError, ModelError, TrainingError, WorkflowError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef
from voxgraft.preprocessing.plan import Plan, read_plan
from voxgraft.preprocessing.planning import derive_plan, network_strides
from voxgraft.workflow.workflow import Workflow, read

LABELS = Labels.of({"organ": 3, "tumour": 7})


def fingerprint(shape: tuple[int, ...], spacing: tuple[float, ...], number: int = 5) -> dict[str, Any]:
    case = {"shape": list(shape), "spacing": list(spacing), "modality": "MR", "hash": "0"}
    measured = {"min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.2, "p00_5": 0.0, "p50": 0.5, "p99_5": 1.0}
    return {"cases": {f"case{i}": dict(case) for i in range(number)}, "intensities": [measured]}


@pytest.fixture
def workflow(tmp_path: Path, catalogue):
    def make(*overrides: str) -> Workflow:
        return read(workflow_file(tmp_path, tmp_path), catalogue, ["training.patch=auto", *overrides])

    return make


def plan_for(found: dict[str, Any], options: Workflow, device: str = "cpu") -> Plan:
    ref = ImageRef(Path("x.nii.gz"))
    dataset = Dataset((Case("a", "a", (ref,), ref),), channels=("t1",))
    return derive_plan(
        found,
        dataset,
        LABELS,
        options.data,
        options.data.modality.build(),
        device,
        dims=options.model.dims,
        patch=options.training.patch,
        batch=options.training.batch,
    )


def test_small_scans_are_taken_whole_in_sizes_that_every_level_divides(workflow) -> None:
    plan = plan_for(fingerprint((35, 50, 36), (1, 1, 1)), workflow())
    assert plan.patch == (40, 56, 40) and plan.strides[-1] == (8, 8, 8)
    assert plan.labels == ((3, "organ"), (7, "tumour")) and plan.values == (0, 3, 7) and plan.classes == 3
    assert plan.contract == {
        "modality": ["MR"],
        "channels": 1,
        "spacing_mm": [[1.0, 1.0]] * 3,
        "size_mm": [[35.0, 35.0], [50.0, 50.0], [36.0, 36.0]],
        "values": [[0.0, 1.0]],
    }


def test_the_rule_that_chose_the_series_stands_in_the_contract(workflow) -> None:
    options, ref = workflow(), ImageRef(Path("x"))
    dataset = Dataset((Case("a", "a", (ref,), ref),), chosen=Described(("*t1*",), modality=("MR",)))
    found = fingerprint((35, 50, 36), (1, 1, 1))
    plan = derive_plan(
        found, dataset, LABELS, options.data, options.data.modality.build(), "cpu", dims=options.model.dims
    )
    assert plan.contract["series"] == {"takes": ["*t1*"], "modality": ["MR"]} and "described" not in plan.contract


def test_a_channel_in_hounsfield_units_is_a_ct_beside_others(workflow) -> None:
    class Two:
        def plan(self, intensities: Any) -> list[dict[str, float]]:
            return [{} for _ in intensities]

        def units(self, params: Any) -> list[str]:
            return ["g/ml", "HU"]

        augmentation: dict[str, float] = {}  # noqa: RUF012
        normalise = window = plan

    options, ref = workflow(), ImageRef(Path("x"))
    found = fingerprint((35, 50, 36), (1, 1, 1))
    found["intensities"] *= 2
    dataset = Dataset((Case("a", "a", (ref, ref), ref),), channels=("pet", "ct"))
    plan = derive_plan(found, dataset, LABELS, options.data, Two(), "cpu", dims=3)
    assert plan.contract["modality"] == ["CT", "MR"] and plan.contract["units"] == ["g/ml"]
    found["cases"]["case0"]["unit"] = "g/ml LBMJANMA"  # what files say comes first
    plan = derive_plan(found, dataset, LABELS, options.data, Two(), "cpu", dims=3)
    assert plan.contract["units"] == ["g/ml LBMJANMA"]


def test_large_scans_are_cut_to_what_the_device_holds(workflow) -> None:
    found = fingerprint((512, 512, 300), (0.8, 0.8, 1.0))
    small, large = plan_for(found, workflow()), plan_for(found, workflow(), "cuda")
    for plan in (small, large):
        assert all(n % s == 0 for n, s in zip(plan.patch, plan.strides[-1], strict=True))
        assert plan.patch[0] == plan.patch[1]
    assert small.patch[0] * small.patch[1] * small.patch[2] < 200_000
    assert 1_500_000 < large.patch[0] * large.patch[1] * large.patch[2] < 4_000_000


def test_a_thick_axis_is_halved_later_and_keeps_its_spacing_if_all_have_it(workflow) -> None:
    plan = plan_for(fingerprint((320, 320, 20), (0.6, 0.6, 3.6)), workflow())
    assert plan.spacing == (0.6, 0.6, 3.6)
    assert plan.strides[1] == (2, 2, 1) and plan.strides[2] == (4, 4, 1)


def test_a_thick_axis_takes_the_finer_spacings_where_some_have_them(workflow) -> None:
    found = fingerprint((320, 320, 20), (0.6, 0.6, 3.6), 10)
    for name in ("case0", "case1", "case2"):
        found["cases"][name]["spacing"] = [0.6, 0.6, 1.8]
    assert plan_for(found, workflow()).spacing == (0.6, 0.6, 1.8)


def test_slices_are_cut_across_the_coarsest_axis_or_from_foot_to_head(workflow) -> None:
    flat = workflow("model.dims=2")
    assert plan_for(fingerprint((190, 140, 88), (0.625, 0.625, 0.625)), flat).slice_axis == 2
    assert plan_for(fingerprint((20, 300, 300), (5.0, 0.7, 0.7)), flat).slice_axis == 0
    plan = plan_for(fingerprint((190, 140, 88), (0.625, 0.625, 0.625)), flat)
    assert len(plan.patch) == 2 and plan.image_dims == 3


def test_images_of_two_axes_need_a_network_of_two(workflow) -> None:
    with pytest.raises(DataError, match=r"set model\.dims to 2"):
        plan_for(fingerprint((565, 584), (1, 1)), workflow())
    assert plan_for(fingerprint((565, 584), (1, 1)), workflow("model.dims=2")).image_dims == 2


def test_numbers_that_do_not_fit_are_refused(workflow) -> None:
    found = fingerprint((35, 50, 36), (1, 1, 1))
    with pytest.raises(WorkflowError, match="patch has 2 numbers, a network of 3D needs 3; change one of the two"):
        workflow("training.patch=[32, 32]")
    with pytest.raises(TrainingError, match="2 numbers, the images have 3 axes"):
        plan_for(found, workflow("data.spacing=[1, 1]"))
    assert plan_for(found, workflow("data.spacing=[2, 2, 2]")).patch[0] < 40


@pytest.mark.parametrize("step", [1e-7, 1e6])
def test_a_spacing_beyond_what_a_plan_holds_is_named(workflow, step) -> None:
    found = fingerprint((35, 50, 36), (step, step, step))
    with pytest.raises(
        DataError, match=r"no plan can be made of these scans: spacing\.0: .*; compare .*voxgraft inspect"
    ):
        plan_for(found, workflow())


def test_levels_end_where_few_voxels_are_left() -> None:
    assert network_strides((8, 8, 8), (1, 1, 1), 6) == ((1, 1, 1), (2, 2, 2))
    assert network_strides((64, 64, 8), (1, 1, 4), 3)[-1] == (4, 4, 1)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', "\x00"])
def test_what_is_no_plan_is_refused(tmp_path, text) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ModelError, match="is not a plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(ModelError, match="there is no plan"):
        read_plan(tmp_path / "absent.json")


def of_shapes(*shapes: tuple[int, ...]) -> dict[str, Any]:
    found = fingerprint((1, 1, 1), (1, 1, 1), len(shapes))
    for case, shape in zip(found["cases"].values(), shapes, strict=True):
        case["shape"] = list(shape)
    return found


def test_a_patch_covers_scans_whole_as_long_as_that_makes_prediction_cheaper(workflow) -> None:
    around = [(40, 40, 40)] * 5 + [(44, 44, 44)] * 5  # the median would cut half of them into eight windows
    assert plan_for(of_shapes(*around), workflow(), "cuda").patch == (48, 48, 48)
    one_large = [(40, 40, 40)] * 19 + [(90, 90, 90)]  # which needs not decide about all
    assert plan_for(of_shapes(*one_large), workflow(), "cuda").patch == (40, 40, 40)
    assert np.prod(plan_for(of_shapes(*[(90, 90, 90)] * 5), workflow()).patch) <= 48**3  # memory is kept to
