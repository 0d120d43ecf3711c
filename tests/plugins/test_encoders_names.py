"""Weights under the names of other programs: whatever their prefix, the encoder computes what those compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError
from voxgraft.networks.weights import LoadReport, load_weights
from voxgraft_plugins.timm_encoder.backbone import import_timm

pytestmark = pytest.mark.usefixtures("one_thread")

State = Mapping[str, Tensor]


def made(catalogue: Catalogue, dims: int, channels: int, path: Path, **options: Any) -> tuple[nn.Module, LoadReport]:
    """An encoder with the weights of a file."""
    factory = choose(catalogue, "encoder", {**options, "weights": f"file:{path}"}).build()
    strides = [(2**level,) * dims for level in range(3)]
    net, weights = factory.make(dims, channels, strides), factory.weights()
    return net.eval(), load_weights(net, weights)


def error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def under(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": one for name, one in state.items()}


def noise(state: State) -> dict[str, Tensor]:
    """Another network of the same form: the copy that is not the one to use."""
    return {name: torch.randn_like(one) if one.is_floating_point() else one for name, one in state.items()}


def without_head(state: State) -> dict[str, Tensor]:
    return {name: one for name, one in state.items() if not name.startswith("fc.")}


FORMS: dict[str, Any] = {
    "plain": dict,
    "DataParallel": lambda state: {"epoch": 3, "state_dict": under("module.", state)},
    "MoCo": lambda state: {
        "arch": "resnet18",
        "epoch": 199,
        "state_dict": {
            **under("module.encoder_k.", noise(state)),
            **under("module.encoder_q.", state),
            "module.queue": torch.randn(128, 64),
            "module.queue_ptr": torch.zeros(1, dtype=torch.int64),
        },
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.03, "params": [0]}]},
    },
    "MoCo v3": lambda state: {
        "state_dict": {
            **under("module.momentum_encoder.", noise(state)),
            **under("module.base_encoder.", without_head(state)),
            "module.predictor.0.weight": torch.randn(8, 8),
        }
    },
    "DINO": lambda state: {
        "student": under("module.backbone.", noise(without_head(state))),
        "teacher": {**under("backbone.", without_head(state)), "head.mlp.0.weight": torch.randn(8, 512)},
        "epoch": 100,
        "dino_loss": {"center": torch.zeros(1, 8)},
    },
    "SimCLR": lambda state: {
        "state_dict": {**under("backbone.", without_head(state)), "backbone.fc.0.weight": torch.randn(512, 512)}
    },
    "SimCLR of Lightning": lambda state: {
        "state_dict": {**under("encoder.", without_head(state)), "projection.model.0.weight": torch.randn(512, 512)},
        "hyper_parameters": {"gpus": 1, "arch": "resnet18", "lr": 0.1},
        "pytorch-lightning_version": "2.4.0",
    },
    "segmentation_models_pytorch": lambda state: {
        **under("encoder.", without_head(state)),
        "decoder.blocks.0.conv1.0.weight": torch.randn(256, 768, 3, 3),
        "segmentation_head.0.weight": torch.randn(2, 16, 3, 3),
    },
    "Lightning around segmentation_models_pytorch": lambda state: {
        "state_dict": {
            **under("model.encoder.", without_head(state)),
            "model.decoder.blocks.0.conv1.0.weight": torch.randn(256, 768, 3, 3),
            "model.segmentation_head.0.weight": torch.randn(2, 16, 3, 3),
        },
        "callbacks": {},
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "an average of timm": lambda state: {
        "state_dict": under("module.", noise(state)),
        "state_dict_ema": under("module.", state),
        "arch": "resnet18",
    },
}
"""How other programs keep a ResNet's tensors, from the names that torchvision and timm give them."""


@pytest.fixture(scope="module")
def classifier() -> Any:
    """A ResNet with statistics of its own, so that a norm left out shows."""
    torch.manual_seed(5)
    net = import_timm().create_model("resnet18", pretrained=False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return net.eval()


@pytest.mark.parametrize("form", FORMS)
def test_the_copy_that_is_meant_computes_what_its_program_computes(
    catalogue: Catalogue, tmp_path: Path, classifier: Any, form: str
) -> None:
    torch.save(FORMS[form](classifier.state_dict()), tmp_path / "w.pth")
    net, report = made(
        catalogue, 2, 3, tmp_path / "w.pth", use="resnet", variant=18, full_resolution=False, inflate="centre"
    )
    assert (report.share, report.new) == (1.0, ())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(image)[-1], classifier.forward_features(image))


class DilatedResNet:
    """MedicalNet's network (Chen et al. 2019) under its own names: strides 2, 2, 1, 2, 1, 1, dilations 2 and 4."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __call__(self, image: Tensor) -> list[Tensor]:
        x = functional.relu(self.norm(functional.conv3d(image, self.state["conv1.weight"], None, 2, 3), "bn1"))
        maps = [x]
        x = functional.max_pool3d(x, 3, 2, 1)
        for layer, (stride, dilation) in enumerate([(1, 1), (2, 1), (1, 2), (1, 4)], start=1):
            block = 0
            while f"layer{layer}.{block}.conv1.weight" in self.state:
                x = self.block(x, f"layer{layer}.{block}", stride if block == 0 else 1, dilation)
                block += 1
            maps.append(x)
        return maps

    def block(self, x: Tensor, name: str, stride: int, dilation: int) -> Tensor:
        convs = [n for n in (1, 2, 3) if f"{name}.conv{n}.weight" in self.state]
        strided, y = 2 if len(convs) == 3 else 1, x
        for n in convs:
            weight = self.state[f"{name}.conv{n}.weight"]
            reach = dilation if weight.shape[2] == 3 else 1
            pad = reach * (weight.shape[2] // 2)
            y = functional.conv3d(y, weight, None, stride if n == strided else 1, pad, reach)
            y = self.norm(y, f"{name}.bn{n}")
            y = functional.relu(y) if n < convs[-1] else y
        if f"{name}.downsample.0.weight" in self.state:
            x = functional.conv3d(x, self.state[f"{name}.downsample.0.weight"], None, stride)
            x = self.norm(x, f"{name}.downsample.1")
        elif x.shape[1:] != y.shape[1:]:
            x = functional.avg_pool3d(x, 1, stride)
            zeros = torch.zeros(x.shape[0], y.shape[1] - x.shape[1], *x.shape[2:])
            x = torch.cat([x, zeros], 1)
        return functional.relu(x + y)

    def norm(self, x: Tensor, name: str) -> Tensor:
        kinds = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(self.state[f"{name}.{kind}"] for kind in kinds))


@pytest.mark.parametrize(("layers", "shortcut"), [(10, "B"), (18, "A"), (50, "B")])
def test_medicalnets_dilated_layers_compute_what_its_own_network_computes(
    catalogue: Catalogue, tmp_path: Path, layers: int, shortcut: str
) -> None:
    options = {"use": "resnet3d", "variant": layers, "full_resolution": False}
    source = choose(catalogue, "encoder", options).build().make(3, 1, [])
    state = {name.removeprefix("net."): one for name, one in source.state_dict().items()}
    for name, one in state.items():
        if name.endswith("running_var"):
            one.uniform_(0.8, 1.2)
        elif name.endswith("running_mean"):
            one.uniform_(-0.2, 0.2)
    assert any("layer2.0.downsample" in name for name in state) == (shortcut == "B")
    torch.save({"state_dict": {**under("module.", state), "module.conv_seg.0.weight": torch.zeros(3)}}, tmp_path / "w")
    net, report = made(catalogue, 3, 1, tmp_path / "w", **options, dilated=True)
    assert report.share == 1.0
    assert [stride[0] for stride in net.strides] == [2, 4, 8, 8, 8]
    image = torch.randn(1, 1, 64, 32, 32)
    with torch.no_grad():
        for mine, theirs in zip(net(image), DilatedResNet(state)(image), strict=True):
            assert mine.shape == theirs.shape and error(mine, theirs) < 1e-5
        strided, _ = made(catalogue, 3, 1, tmp_path / "w", **options)
        assert [stride[0] for stride in strided.strides] == [2, 4, 8, 16, 32]
        assert torch.equal(strided(image)[2], net(image)[2])


def test_a_short_cut_without_weights_lets_gradients_pass() -> None:
    """In MONAI and in MedicalNet it does not: there only the convolutions of a level tell the level before."""
    from voxgraft_plugins.monai_encoder.encoder import PaddedShortcut

    x = torch.randn(1, 2, 4, 4, 4, requires_grad=True)
    y = PaddedShortcut(5, 2)(x)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2, ::2]) and not y[:, 2:].any()
    y.sum().backward()
    assert float(x.grad.sum()) == 2 * 8


class ResEnc(nn.Module):
    """nnU-Net's residual encoder (dynamic_network_architectures), under its own names.

    Args:
        blocks: Of each stage; before the first stands a stem.
    """

    def __init__(self, dims: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"convs": nn.ModuleList([ConvNorm(dims, 1, widths[0], 3, 1)])})
        stages, inside = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            made = []
            for block in range(count):
                made.append(BasicBlockD(dims, inside, width, 2 if stage and not block else 1))
                inside = width
            stages.append(nn.ModuleDict({"blocks": nn.ModuleList(made)}))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = functional.leaky_relu(self.stem["convs"][0](x), 0.01), []
        for stage in self.stages:
            for block in stage["blocks"]:
                x = block(x)
            maps.append(x)
        return maps


class ConvNorm(nn.Module):
    """A convolution and an InstanceNorm; nnU-Net keeps both a second time under `all_modules`."""

    def __init__(self, dims: int, inside: int, outside: int, kernel: int, stride: int, *, bias: bool = True) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        self.conv = conv(inside, outside, kernel, stride, kernel // 2, bias=bias)
        self.norm = norm(outside, eps=1e-5, affine=True)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.uniform_(self.norm.bias, -0.5, 0.5)
        self.all_modules = nn.Sequential(self.conv, self.norm)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.all_modules(x)
        return y


class BasicBlockD(nn.Module):
    def __init__(self, dims: int, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dims, inside, outside, 3, stride)
        self.conv2 = ConvNorm(dims, outside, outside, 3, 1)
        pool = nn.AvgPool2d if dims == 2 else nn.AvgPool3d
        steps: list[nn.Module] = [pool(stride, stride)] if stride > 1 else []
        if inside != outside:
            steps.append(ConvNorm(dims, inside, outside, 1, 1, bias=False))
        self.skip = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.conv1(x), 0.01)
        return functional.leaky_relu(self.conv2(y) + self.skip(x), 0.01)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", [(16, 32, 64), (16, 32, 32)])
def test_nnunets_residual_encoder_computes_what_it_computes_there(
    catalogue: Catalogue, tmp_path: Path, dims: int, widths: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    whole = ResEnc(dims, widths, (1, 3, 2)).eval()
    state = {**under("encoder.", whole.state_dict()), **under("decoder.encoder.", whole.state_dict())}
    state["decoder.seg_layers.0.weight"] = torch.zeros(2, 16, 1)
    options = {"use": "residual", "norm": "instance", "width": 16, "max_width": max(widths)}
    torch.save({"network_weights": state, "current_epoch": 1000, "trainer_name": "nnUNetTrainer"}, tmp_path / "w.pth")
    net, report = made(catalogue, dims, 1, tmp_path / "w.pth", **options, blocks=[2, 3, 2])
    assert (report.share, report.new) == (1.0, ())
    image = torch.randn(2, 1, *(16, 24, 12)[:dims])
    with torch.no_grad():
        for mine, theirs in zip(net(image), whole(image), strict=True):
            assert error(mine, theirs) < 1e-5
    for other in ({"blocks": [2, 3, 4]}, {"blocks": [2, 3, 2], "width": 24}):
        with pytest.raises(
            ModelError, match=r"weights w\.pth: only \d+% .* not for this encoder \(first missing: leve"
        ):
            made(catalogue, dims, 1, tmp_path / "w.pth", **{**options, **other})


def test_a_checkpoint_with_more_than_tensors_says_what_to_save(tmp_path: Path, catalogue: Catalogue) -> None:
    """nnU-Net's own checkpoints hold numpy's numbers in their log; they are data that only code can read."""
    import numpy as np

    torch.save({"network_weights": {"a": torch.zeros(2)}, "logging": {"dice": [np.float64(0.9)]}}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"cannot be read as weights without running code.*save its tensors alone"):
        made(catalogue, 3, 1, tmp_path / "w.pth", use="residual")
