"""Networks on one window, by torch as it is (as MONAI and nnU-Net call it) and as VoxGraft applies them.

    python benchmarks/convolutions.py [--rounds 5] [--out benchmarks/results/convolutions.json]

Processor seconds at one thread, the least of the rounds, taken in turn, in float32 and in bfloat16. The networks have
random weights; MONAI's are the peers' own: UNet, SegResNet, and DynUNet as nnU-Net plans it. Fails where the logits in
float32 differ by more than rounding.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measured import RESULTS, keep
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.inference.kernels import FastKernels
from voxgraft.inference.precision import applied
from voxgraft.networks.network import build_network

VOLUME, PLANE = (48, 48, 48), (256, 256)
LEVELS = 5


def own(encoder: str, dims: int = 3, channels: int = 1) -> nn.Module:
    catalogue = discover()
    return build_network(
        choose(catalogue, "encoder", {"use": encoder}).build(),
        choose(catalogue, "decoder", {"use": "unet"}).build(),
        dims=dims,
        channels=channels,
        classes=3,
        strides=tuple((2**level,) * dims for level in range(LEVELS)),
        deep_supervision=False,
    )


def networks() -> dict[str, tuple[Callable[[], nn.Module], Sequence[tuple[int, ...]]]]:
    """How each is made, and its windows, of one channel in space and of three in planes."""
    filters = [32, 64, 128, 256, 320]
    return {
        "VoxGraft residual, unet": (partial(own, "residual"), (VOLUME,)),
        "VoxGraft segresnet, unet": (partial(own, "segresnet"), (VOLUME,)),
        "VoxGraft deepbet, unet": (partial(own, "deepbet"), (VOLUME,)),
        "VoxGraft residual, unet, 2D": (partial(own, "residual", 2, 3), (PLANE,)),
        "VoxGraft efficientnet, unet, 2D": (partial(own, "efficientnet", 2, 3), (PLANE,)),
        "MONAI UNet 16..256": (
            lambda: UNet(3, 1, 3, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2),
            (VOLUME,),
        ),
        "MONAI SegResNet 16": (lambda: SegResNet(3, 16, 1, 3), (VOLUME,)),
        "MONAI DynUNet 32..320": (
            lambda: DynUNet(3, 1, 3, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, filters=filters),
            (VOLUME,),
        ),
    }


def logits(output: Any) -> Tensor:
    found: Tensor = getattr(output, "logits", output).float()
    return found


def by_torch(network: nn.Module, window: Tensor, half: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return logits(network(window))


def by_voxgraft(network: Callable[[Tensor], Any], window: Tensor) -> Tensor:
    with FastKernels():
        return logits(network(window))


@torch.inference_mode()
def measured(name: str, network: nn.Module, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    window = torch.randn(1, 1 if len(shape) == 3 else 3, *shape)
    cpu = torch.device("cpu")
    ways = {
        "torch, float32": partial(by_torch, network, window, False),
        "torch, bfloat16": partial(by_torch, network, window, True),
        "VoxGraft, float32": partial(by_voxgraft, applied(copy.deepcopy(network), "32", cpu), window),
        "VoxGraft, bfloat16": partial(by_voxgraft, applied(copy.deepcopy(network), "bf16", cpu), window),
    }
    found = {way: call() for way, call in ways.items()}
    torch.testing.assert_close(found["VoxGraft, float32"], found["torch, float32"], rtol=1e-3, atol=1e-3)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            begin = time.process_time()
            call()
            taken[way].append(time.process_time() - begin)
    least = {way: round(min(values), 4) for way, values in taken.items()}
    truth = found["torch, float32"].argmax(1)
    others = {way: round(float((one.argmax(1) != truth).float().mean()), 6) for way, one in found.items()}
    spent = shares(ways["VoxGraft, bfloat16"])
    return {
        "network": name,
        "window": list(shape),
        "cpu_s": least,
        "share_of_other_labels": others,
        "bfloat16_spent_on": spent,
    }


PARTS = {
    "convolutions": ("mkldnn_convolution", "_convolution", "slow_conv_transpose3d"),
    "norms": ("native_group_norm", "native_batch_norm"),
    "copies": ("copy_", "cat", "to", "slice"),
}


def shares(call: Callable[[], object]) -> dict[str, float]:
    """Of the time of a call, what torch's profiler finds by part; oneDNN's convolutions are the first."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    took = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(took.values())
    return {part: round(sum(took.get(name, 0) for name in names) / total, 3) for part, names in PARTS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "convolutions.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, (make, windows) in networks().items():
        torch.manual_seed(7)
        network = make().eval()
        for shape in windows:
            rows.append(measured(name, network, shape, options.rounds))
            print(rows[-1], flush=True)
    keep(options.out, {"rounds": options.rounds, "rows": rows})


if __name__ == "__main__":
    main()
