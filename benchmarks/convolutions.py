"""Networks in float32 on one window, by torch as it is (as MONAI and nnU-Net call it) and by oneDNN alone.

    python benchmarks/convolutions.py [--rounds 5] [--out benchmarks/results/convolutions.json]

Processor seconds at one thread, the least of the rounds, taken in turn. The networks have random weights; MONAI's are
the peers' own: UNet, SegResNet, and DynUNet as nnU-Net plans it. Fails where the logits differ by more than rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from measured import in_turns, keep, parser_of
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import Tensor, nn

from voxgraft.discovery import discover
from voxgraft.inference.precision import VolumesByOneDNN
from voxgraft.networks.network import build_network
from voxgraft.support.torch_dims import channels_last

WINDOWS = ((32, 48, 32), (64, 64, 64), (96, 96, 96))
LEVELS = 5


def networks() -> dict[str, nn.Module]:
    catalogue = discover()
    strides = ((1, 1, 1), *[(2, 2, 2)] * (LEVELS - 1))
    parts = (catalogue.get(*part) for part in (("encoder", "residual"), ("decoder", "unet")))
    encoder, decoder = (part.build(part.options()()) for part in parts)
    ours = build_network(encoder, decoder, dims=3, channels=1, classes=3, strides=strides, deep_supervision=False)
    filters = [32, 64, 128, 256, 320]
    return {
        "VoxGraft residual, unet": ours,
        "MONAI UNet 16..256": UNet(3, 1, 3, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2),
        "MONAI SegResNet 16": SegResNet(3, 16, 1, 3),
        "MONAI DynUNet 32..320": DynUNet(3, 1, 3, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, filters=filters),
    }


def logits(network: nn.Module, window: Tensor) -> Tensor:
    output = network(window)
    return getattr(output, "logits", output)


@torch.inference_mode()
def measured(name: str, network: nn.Module, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    window = torch.randn(1, 1, *shape).contiguous(memory_format=torch.channels_last_3d)

    def fast() -> Tensor:
        with VolumesByOneDNN():
            return logits(network, window)

    ways = {"torch": lambda: logits(network, window), "oneDNN": fast}
    torch.testing.assert_close(ways["oneDNN"](), ways["torch"](), rtol=1e-3, atol=1e-3)
    least = {way: min(one.cpu for one in taken) for way, taken in in_turns(ways, rounds).items()}
    row = {"network": name, "window": list(shape), **{way: round(value, 4) for way, value in least.items()}}
    return {**row, "times_as_fast": round(least["torch"] / least["oneDNN"], 2)}


def main() -> None:
    parser = parser_of(__doc__, "convolutions")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    rows = []
    for name, network in networks().items():
        channels_last(network.eval())
        for shape in WINDOWS:
            rows.append(measured(name, network, shape, options.rounds))
            print(rows[-1], flush=True)
    keep(options.out, {"rounds": options.rounds, "rows": rows})


if __name__ == "__main__":
    main()
