"""Encoder families: outputs of the networks that they come from, in 2D, slice by slice, inflated, and in 3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError
from voxgraft.networks.encoder_decoder import Encoder
from voxgraft.networks.inflation import slice_axis
from voxgraft.networks.weights import load_weights
from voxgraft_plugins.timm_encoder.backbone import import_timm

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def encoder(catalogue: Catalogue, **options: Any) -> Encoder:
    made: Encoder = choose(catalogue, "encoder", options).build()
    return made


def lively(net: nn.Module) -> nn.Module:
    """Norms with statistics of their own, so that a norm left out or swapped shows; and branches that count from the
    start, which ConvNeXt begins with a millionth."""
    for name, parameter in net.named_parameters():
        if name.endswith(".gamma"):
            nn.init.constant_(parameter, 0.5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.8, 1.2)
    return net.eval()


def error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def loaded(made: Encoder, dims: int, channels: int, at_least: float | None = None) -> nn.Module:
    net = made.make(dims, channels, [])
    weights = made.weights()
    assert weights is not None
    load_weights(net, weights, at_least)
    return net.eval()


FAMILIES = [
    ({"use": "resnet", "variant": 18}, "resnet18"),
    ({"use": "vgg", "variant": 11}, "vgg11_bn"),
    ({"use": "densenet"}, "densenet121"),
    ({"use": "efficientnet"}, "tf_efficientnet_b0"),
    ({"use": "mobilenet", "variant": "v3_small"}, "mobilenetv3_small_100"),
    ({"use": "convnext", "variant": "atto"}, "convnext_atto"),
    ({"use": "swin"}, "swin_tiny_patch4_window7_224"),
]


@pytest.mark.parametrize(("options", "name"), FAMILIES, ids=[name for _, name in FAMILIES])
def test_a_file_of_the_whole_classifier_gives_its_own_features(
    catalogue: Catalogue, tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    whole = lively(import_timm().create_model(name, pretrained=False))
    torch.save({"state_dict": {f"module.{key}": one for key, one in whole.state_dict().items()}}, tmp_path / "w.pth")
    net = loaded(encoder(catalogue, **options, full_resolution=False, weights=f"file:{tmp_path / 'w.pth'}"), 2, 3)
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        mine, theirs = net(image)[-1], whole.forward_features(image)
        if net.scale is not None:  # this family was trained in other units
            theirs = whole.forward_features(image * net.scale + net.shift)
    if name.startswith("swin"):
        mine = whole.norm(mine.permute(0, 2, 3, 1))
    elif name == "vgg11_bn":
        mine = whole.pre_logits(mine)
        theirs = whole.pre_logits(theirs) if theirs.shape != mine.shape else theirs
    elif name == "convnext_atto":
        mine = whole.norm_pre(mine)
    elif "net" in name and mine.shape != theirs.shape:
        mine = whole.bn2(whole.conv_head(mine)) if hasattr(whole, "bn2") else whole.conv_head(mine)
    assert mine.shape == theirs.shape
    assert error(mine, theirs) < 1e-4


def test_inception_sees_the_border_and_computes_what_timm_computes(catalogue: Catalogue, tmp_path: Path) -> None:
    timm = import_timm()
    source = lively(timm.create_model("inception_v3", pretrained=False, features_only=True))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    net = loaded(
        encoder(catalogue, use="inception", full_resolution=False, weights=f"file:{tmp_path / 'w.safetensors'}"), 2, 3
    )
    image = torch.randn(1, 3, 75, 50)
    before = net._frame.before
    units = image * net.scale + net.shift
    (top, bottom), (left, right) = net._frame.padding(75), net._frame.padding(50)
    assert top == left == before > 0
    with torch.no_grad():
        theirs = source(functional.pad(units, (left, right, top, bottom)))
        for mine, one, start, step in zip(net(image), theirs, net._frame.starts, net._reductions, strict=True):
            assert tuple(mine.shape[2:]) == (-(-75 // step), -(-50 // step))
            assert torch.equal(mine, one[:, :, start : start + mine.shape[2], start : start + mine.shape[3]])


def test_a_plain_transformer_takes_any_size_with_its_places_interpolated(catalogue: Catalogue, tmp_path: Path) -> None:
    whole = import_timm().create_model("vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    net = loaded(encoder(catalogue, use="vit", weights=f"file:{tmp_path / 'w.safetensors'}"), 2, 3)
    assert net.strides == ((1, 1), (4, 4), (8, 8), (16, 16), (32, 32))
    for size in ((224, 224), (64, 96)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            units = image * net.scale + net.shift
            wanted = whole.forward_intermediates(units, indices=[11], intermediates_only=True, norm=False)[0]
            assert error(net(image)[3], wanted) < 1e-5
    other = import_timm().create_model("vit_tiny_patch16_224", pretrained=False, img_size=160).state_dict()
    save_file(other, tmp_path / "w.safetensors")
    made = encoder(catalogue, use="vit", weights=f"file:{tmp_path / 'w.safetensors'}")
    weights = made.weights()
    assert weights is not None
    assert load_weights(made.make(2, 3, []), weights).adapted == ("net.model.pos_embed",)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {"use": "resnet", "variant": 18},
        {"use": "efficientnet-lite0"},
        {"use": "convnext", "variant": "atto"},
        {"use": "mobilenet", "variant": "v3_small"},
    ],
    ids=str,
)
def test_inflation_by_the_centre_is_the_2d_network_on_every_slice(
    catalogue: Catalogue, tmp_path: Path, options: dict[str, Any], axis: int
) -> None:
    flat = lively(encoder(catalogue, **options).make(2, 3, []))
    save_file(flat.state_dict(), tmp_path / "w.safetensors")
    made = encoder(catalogue, **options, weights=f"file:{tmp_path / 'w.safetensors'}")
    strides = [[4, 4, 4]]
    strides[0][axis] = 1
    assert slice_axis(strides) == axis
    deep = made.make(3, 1, strides)
    weights = made.weights()
    assert weights is not None
    report = load_weights(deep, weights)
    assert report.share == 1.0
    assert len(report.adapted) > 5
    size = [64, 48]
    size.insert(axis, 5)
    volume = torch.randn(1, 1, *size)
    with torch.no_grad():
        maps = deep.eval()(volume)
        for place in (0, 2, 4):
            plane = volume.select(2 + axis, place).expand(-1, 3, -1, -1)
            for mine, theirs in zip(maps[1:], flat(plane)[1:], strict=True):
                assert error(mine.select(2 + axis, place), theirs) < 1e-5
    first = next(one for one in deep.parameters() if one.ndim == 5)
    middle = first.shape[2] // 2
    other = volume.clone()
    other.select(2 + axis, 1).normal_()
    with torch.no_grad():
        alone = deep(other)[1]
        assert error(alone.select(2 + axis, 2), maps[1].select(2 + axis, 2)) < 1e-5, "it sees slice 1 from slice 2"
        first.data[:, :, middle - 1] = first.data[:, :, middle]
        one, two = (deep(image)[1].select(2 + axis, 2) for image in (volume, other))
        assert error(two, one) > 1e-3, "an inflated network that never sees its neighbours"


def test_inflation_by_the_mean_is_the_2d_network_on_equal_slices(catalogue: Catalogue, tmp_path: Path) -> None:
    flat = lively(encoder(catalogue, use="resnet", variant=18).make(2, 1, []))
    save_file(flat.state_dict(), tmp_path / "w.safetensors")
    path = f"file:{tmp_path / 'w.safetensors'}"
    deep = loaded(encoder(catalogue, use="resnet", variant=18, inflate="mean", weights=path), 3, 1)
    plane = torch.randn(1, 1, 64, 64)
    noise = torch.randn(1, 1, 64, 64, 4)
    with torch.no_grad():
        for mine, theirs in zip(deep(plane[..., None].expand(-1, -1, -1, -1, 4))[1:], flat(plane)[1:], strict=True):
            assert max(error(mine[..., place], theirs) for place in range(4)) < 1e-5
        assert error(deep(noise)[1][..., 1], flat(noise[..., 1])[1]) > 1e-2


def test_slice_by_slice_takes_neighbours_as_channels(catalogue: Catalogue, tmp_path: Path) -> None:
    flat = lively(encoder(catalogue, use="resnet", variant=18).make(2, 3, []))
    save_file(flat.state_dict(), tmp_path / "w.safetensors")
    path = f"file:{tmp_path / 'w.safetensors'}"
    net = loaded(encoder(catalogue, use="resnet", variant=18, slicewise=1, weights=path), 3, 1)
    volume = torch.randn(2, 1, 64, 32, 4)
    with torch.no_grad():
        maps = net(volume)
        assert torch.equal(maps[0], volume)
        for place, near in ((0, (0, 0, 1)), (1, (0, 1, 2)), (3, (2, 3, 3))):
            planes = torch.cat([volume[..., one] for one in near], 1)
            for mine, theirs in zip(maps[1:], flat(planes)[1:], strict=True):
                assert error(mine[..., place], theirs) < 1e-5


def test_a_network_of_single_slices_has_no_neighbours(catalogue: Catalogue) -> None:
    with pytest.raises(ModelError, match=r"sees one slice at a time; set model.dims to 3"):
        encoder(catalogue, use="resnet", variant=18, slicewise=1).make(2, 1, [])


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "maxvit_nano_rw_256"])
def test_attention_is_not_inflated(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be inflated, its attention .*slicewise"):
        encoder(catalogue, use="timm", model=name).make(3, 1, [])


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_equal_channels_give_what_a_grey_image_gives(catalogue: Catalogue, tmp_path: Path, channels: int) -> None:
    colour = lively(encoder(catalogue, use="resnet", variant=18).make(2, 3, []))
    save_file(colour.state_dict(), tmp_path / "w.safetensors")
    path = f"file:{tmp_path / 'w.safetensors'}"
    net = loaded(encoder(catalogue, use="resnet", variant=18, weights=path), 2, channels)
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        theirs = colour(grey.expand(-1, 3, -1, -1))[1:]
        for mine, one in zip(net(grey.expand(-1, channels, -1, -1))[1:], theirs, strict=True):
            assert error(mine, one) < 1e-5


GREY = [
    {"use": "vgg", "variant": 11},
    {"use": "inception"},
    {"use": "densenet"},
    {"use": "efficientnet"},
    {"use": "mobilenet", "variant": "v3_small"},
    {"use": "convnext", "variant": "atto"},
    {"use": "swin"},
    {"use": "vit"},
]


@pytest.mark.parametrize("options", GREY, ids=lambda options: str(options["use"]))
def test_a_grey_photograph_gives_what_its_colour_copy_gives(
    catalogue: Catalogue, tmp_path: Path, options: dict[str, Any]
) -> None:
    """In every family, whatever units it was trained in: the first convolution is fitted exactly."""
    colour = lively(encoder(catalogue, **options).make(2, 3, []))
    save_file(colour.state_dict(), tmp_path / "w.safetensors")
    grey = loaded(encoder(catalogue, **options, weights=f"file:{tmp_path / 'w.safetensors'}"), 2, 1)
    brightness = torch.rand(1, 1, 64, 64)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    one = (brightness - 0.449) / 0.226
    three = one.expand(-1, 3, -1, -1) if colour.scale is None else (brightness - mean) / deviation
    with torch.no_grad():
        maps = zip(grey(one)[1:], colour(three)[1:], strict=True)
        assert max(error(mine, theirs) for mine, theirs in maps) < 1e-4


DEEP = ["residual", "deepbet", "resnet3d", "segresnet", "densenet3d", "efficientnet3d"]


@pytest.mark.parametrize("name", DEEP)
def test_equal_channels_of_a_volume_give_what_one_channel_gives(
    catalogue: Catalogue, tmp_path: Path, name: str
) -> None:
    own = {"resnet3d": {"variant": 10}, "segresnet": {"width": 8, "blocks": [1, 1]}}.get(name, {})
    single = lively(encoder(catalogue, use=name, **own).make(3, 1, [(1, 1, 1), (2, 2, 2)]))
    save_file(single.state_dict(), tmp_path / "w.safetensors")
    made = encoder(catalogue, use=name, **own, weights=f"file:{tmp_path / 'w.safetensors'}")
    double, weights = made.make(3, 2, [(1, 1, 1), (2, 2, 2)]).eval(), made.weights()
    assert weights is not None
    assert len(load_weights(double, weights).adapted) == 1
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        mine, theirs = double(volume.expand(-1, 2, -1, -1, -1)), single(volume)
        pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a.shape == b.shape and b.shape[2] > 1]
        assert pairs and max(error(a, b) for a, b in pairs) < 1e-4  # a norm over one voxel leaves rounding alone


def test_images_are_brought_into_the_units_of_the_pretraining(catalogue: Catalogue) -> None:
    """timm's record says 0.5 and 0.5 for this backbone: the same photograph must reach it so."""
    net = encoder(catalogue, use="vit").make(2, 3, [])
    assert (net.contract.mean, net.contract.std) == ((0.5,) * 3, (0.5,) * 3)
    photograph = torch.rand(1, 3, 32, 32)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose((photograph - mean) / deviation * net.scale + net.shift, photograph * 2 - 1, atol=1e-5)
    assert encoder(catalogue, use="resnet", variant=18).make(2, 3, []).scale is None


@pytest.mark.parametrize(("layers", "shortcut"), [(10, "B"), (18, "A"), (50, "B")])
def test_medicalnets_names_give_monais_outputs(
    catalogue: Catalogue, tmp_path: Path, layers: int, shortcut: str
) -> None:
    from monai.networks import nets

    make = getattr(nets, f"resnet{layers}")
    whole = make(
        spatial_dims=3,
        n_input_channels=1,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=False,
        feed_forward=False,
    )
    lively(whole)
    torch.save({"state_dict": {f"module.{name}": one for name, one in whole.state_dict().items()}}, tmp_path / "w.pth")
    path = f"file:{tmp_path / 'w.pth'}"
    net = loaded(encoder(catalogue, use="resnet3d", variant=layers, full_resolution=False, weights=path), 3, 1)
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        x = whole.maxpool(whole.act(whole.bn1(whole.conv1(image))))
        x = whole.layer4(whole.layer3(whole.layer2(whole.layer1(x))))
        assert torch.equal(net(image)[-1], x)
    wrong = "B" if shortcut == "A" else "A"
    made = encoder(catalogue, use="resnet3d", variant=layers, shortcut=wrong, full_resolution=False, weights=path)
    with torch.no_grad():
        assert error(loaded(made, 3, 1, at_least=0.0)(image)[-1], x) > 1e-2, "a wrong short cut goes unseen"
    with pytest.raises(ModelError, match="not for this encoder"):
        loaded(encoder(catalogue, use="resnet3d", variant=34, weights=path), 3, 1)


def test_swinunetrs_own_weights_give_its_own_features(catalogue: Catalogue, tmp_path: Path) -> None:
    pytest.importorskip("einops")
    from monai.networks import nets

    whole = nets.SwinUNETR(in_channels=1, out_channels=2, feature_size=12).eval()
    renamed = {
        f"module.{name}".replace("linear1", "fc1").replace("linear2", "fc2"): one
        for name, one in whole.swinViT.state_dict().items()
    }
    torch.save({"state_dict": renamed}, tmp_path / "w.pt")
    net = loaded(encoder(catalogue, use="swinunetr", width=12, weights=f"file:{tmp_path / 'w.pt'}"), 3, 1)
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        for mine, theirs in zip(net(image)[1:], whole.swinViT(image), strict=True):
            assert torch.equal(mine, theirs)


def test_segresnets_own_weights_give_its_own_features(catalogue: Catalogue, tmp_path: Path) -> None:
    from monai.networks import nets

    whole = nets.SegResNet(
        init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 1, 1), blocks_up=(1, 1)
    ).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    options = {"use": "segresnet", "width": 8, "blocks": [1, 1, 1]}
    net = loaded(encoder(catalogue, **options, weights=f"file:{tmp_path / 'w.safetensors'}"), 3, 1)
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        for mine, theirs in zip(net(image), whole.encode(image)[1], strict=True):
            assert torch.equal(mine, theirs)


def test_densenets_own_weights_give_its_own_features(catalogue: Catalogue, tmp_path: Path) -> None:
    from monai.networks import nets

    whole = lively(nets.DenseNet121(spatial_dims=3, in_channels=1, out_channels=2))
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    net = loaded(encoder(catalogue, use="densenet3d", weights=f"file:{tmp_path / 'w.safetensors'}"), 3, 1)
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(image)[-1], whole.features(image))
