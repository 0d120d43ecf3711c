"""Our decoders' parts beside MONAI's: seconds forward and backward, the maps that each takes, the weights' names.

    python benchmarks/bought_decoders.py [--rounds 7]

Parts of equal widths get the same maps of one small scan and take turns; the figures are medians of a forward and a
backward pass. Each part is then given maps whose strides are not all doubled and maps of odd sizes: "takes" says that
the result has the size of the finer map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from measured import in_turns, machine, parser_of
from torch import Tensor, nn

from voxgraft.components.choice import choose
from voxgraft.discovery import discover

CATALOGUE = discover()
GROUP = ("group", {"num_groups": 8})
Call = Callable[[Sequence[Tensor]], Tensor]
"""What a part makes of a finer and a coarser map."""
SHAPES = {
    "doubled, even": ((1, 1, 1), (2, 2, 2), (48, 48, 32)),
    "thick slices": ((1, 1, 1), (2, 2, 1), (48, 48, 16)),
    "odd sizes": ((1, 1, 1), (2, 2, 2), (47, 45, 31)),
}

Pair = tuple[tuple[nn.Module, Call], tuple[nn.Module, Call]]
"""Our part and what it makes, MONAI's and what that makes."""


def decoder(use: str, strides: Sequence[Sequence[int]], **options: int) -> Any:
    return choose(CATALOGUE, "decoder", {"use": use, **options}).build().make(3, (16, 32), strides)


def gates(strides: Sequence[Sequence[int]]) -> Pair:
    from monai.networks.nets.attentionunet import AttentionBlock
    from torch.nn.functional import interpolate

    ours = decoder("attention-unet", strides).gates[0]
    theirs = AttentionBlock(3, f_int=8, f_g=32, f_l=16)
    return (ours, lambda maps: ours(*maps)), (
        theirs,
        lambda maps: theirs(g=interpolate(maps[1], maps[0].shape[2:], mode="trilinear"), x=maps[0]),
    )


def residual(strides: Sequence[Sequence[int]]) -> Pair:
    from monai.networks.blocks.unetr_block import UnetrUpBlock

    net = decoder("unetr", strides)
    steps = [coarse // fine for fine, coarse in zip(*strides, strict=True)]
    theirs = UnetrUpBlock(3, 32, 16, 3, steps, GROUP, res_block=True)
    ours = nn.ModuleList([net.ups[0], net.levels[0]])

    def call(maps: Sequence[Tensor]) -> Tensor:
        found: Tensor = net.levels[0](torch.cat([net.ups[0](maps[1], maps[0].shape[2:]), maps[0]], 1))
        return found

    return (ours, call), (theirs, lambda maps: theirs(maps[1], maps[0]))


def pooling(strides: Sequence[Sequence[int]]) -> Pair:
    from monai.networks.blocks.aspp import SimpleASPP

    net = decoder("deeplabv3", strides, output_stride=1).pooling
    theirs = nn.Sequential(SimpleASPP(3, 48, 32, dilations=(1, 6, 12, 18), norm_type=GROUP), nn.Conv3d(128, 32, 1))

    def joined(maps: Sequence[Tensor]) -> Tensor:
        return torch.cat([nn.functional.interpolate(maps[1], maps[0].shape[2:]), maps[0]], 1)

    return (net, lambda maps: net(joined(maps))), (theirs, lambda maps: theirs(joined(maps)))


def node(strides: Sequence[Sequence[int]]) -> Pair:
    from monai.networks.nets.basic_unet import UpCat

    net = decoder("unetplusplus", strides)
    theirs = UpCat(3, 32, 16, 16, ("leakyrelu", {}), GROUP, False, upsample="deconv", halves=True)
    return (net, lambda maps: net(maps)[0]), (theirs, lambda maps: theirs(maps[1], maps[0]))


def once(call: Call, maps: Sequence[Tensor]) -> None:
    call(maps).square().mean().backward()


def verdict(call: Call, maps: Sequence[Tensor]) -> str:
    try:
        size = call(maps).shape[2:]
    except Exception as error:
        return f"fails ({type(error).__name__})"
    return "takes" if size == maps[0].shape[2:] else f"gives {tuple(size)}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    warnings.filterwarnings("ignore")
    print(machine())
    for make in (gates, node, pooling, residual):
        for name, (fine, coarse, size) in SHAPES.items():
            torch.manual_seed(0)
            pair = make([fine, coarse])
            sizes = [[-(-n // step) for n, step in zip(size, steps, strict=True)] for steps in (fine, coarse)]
            maps = [torch.randn(1, width, *one, requires_grad=True) for width, one in zip((16, 32), sizes, strict=True)]
            found = [verdict(call, maps) for _, call in pair]
            print(f"{make.__name__}, {name}: ours {found[0]}, MONAI's {found[1]}")
            if name == "doubled, even":
                ways = {number: partial(once, call, maps) for number, (_, call) in enumerate(pair)}
                ours, theirs = (median(one.seconds for one in taken) for taken in in_turns(ways, rounds).values())
                print(f"    forward and backward: ours {ours:.3f} s, MONAI's {theirs / ours:.2f} times as long")
                names = [set(part.state_dict()) for part, _ in pair]
                print(f"    names of weights in both: {len(names[0] & names[1])} of {len(names[0])}")


if __name__ == "__main__":
    main()
