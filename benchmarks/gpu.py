"""All that needs a GPU, in one run of at most eight minutes, with data of its own, into one JSON.

    python benchmarks/gpu.py [--seconds 480] [--out benchmarks/results/gpu.json]

On a machine with a CUDA device: training steps in mixed precision beside MONAI's and nnU-Net's networks (steps a
second, memory), a scan of a torso's size predicted in float32 and in half precision, with torch.compile and beside
MONAI's sliding window, a forced lack of memory, and two processes on two devices where there are two. Without a GPU the
same is walked with small sizes on the CPU: so the script is tested before it is needed. A part that fails leaves its
error in the JSON, and the others go on; parts for which no time is left are named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import ROOT, machine
from torch import Tensor, nn

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.inference import precision as numbers
from voxgraft.inference.array import segment_array
from voxgraft.inference.precision import applied, fast_precision
from voxgraft.networks.network import build_network
from voxgraft.preprocessing.plan import Plan
from voxgraft.support.torch_dims import channels_last

STRIDES = tuple((2**level,) * 3 for level in range(5))


class Sizes:
    """What is computed on: large on a GPU, small on a CPU."""

    def __init__(self, device: torch.device, peers: bool = True) -> None:
        self.peers = peers
        large = device.type == "cuda"
        self.patch = (96, 96, 96) if large else (16, 16, 16)
        self.batch, self.steps, self.classes = (2, 30, 16) if large else (2, 2, 3)
        self.scan = (320, 256, 384) if large else (30, 24, 28)
        self.strides = STRIDES if large else STRIDES[:2]
        self.features = (32, 64, 128, 256, 320)[: len(self.strides)] if large else (4, 8)

    @property
    def plan(self) -> Plan:
        return Plan(
            dims=3,
            image_dims=3,
            channels=("ct",),
            labels=tuple((value, f"structure {value}") for value in range(1, self.classes)),
            modality="ct",
            normalisation=({},),
            spacing=(1.5, 1.5, 1.5),
            patch=self.patch,
            batch=self.batch,
            strides=self.strides,
        )


def networks(sizes: Sizes) -> dict[str, Callable[[], nn.Module]]:
    """The networks that are compared, of the same widths where they let themselves be told."""
    ways: dict[str, Callable[[], nn.Module]] = {"VoxGraft residual, unet": lambda: own_network(sizes)}
    if not sizes.peers:
        return ways
    try:
        from monai.networks.nets import UNet

        ways["MONAI UNet"] = lambda: UNet(
            3, 1, sizes.classes, sizes.features, (2,) * (len(sizes.features) - 1), num_res_units=2
        )
    except ImportError:
        pass
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        levels = len(sizes.features)
        ways["nnU-Net PlainConvUNet"] = lambda: PlainConvUNet(
            1, levels, sizes.features, nn.Conv3d, 3, [1] + [2] * (levels - 1), 2, sizes.classes, 2, conv_bias=True,
            norm_op=nn.InstanceNorm3d, nonlin=nn.LeakyReLU,
        )  # fmt: skip
    except ImportError:
        pass
    return ways


def own_network(sizes: Sizes) -> nn.Module:
    catalogue = discover()
    torch.manual_seed(0)
    return build_network(
        choose(catalogue, "encoder", {"use": "residual"}).build(),
        choose(catalogue, "decoder", {"use": "unet"}).build(),
        dims=3,
        channels=1,
        classes=sizes.classes,
        strides=sizes.strides,
        deep_supervision=False,
    )


def done_at(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_gib(device: torch.device) -> float | None:
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 3) if device.type == "cuda" else None


def training(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Steps a second in mixed precision: forward, cross entropy, backward, AdamW."""
    result = {}
    kind = torch.bfloat16 if numbers.fast_precision(device) != "16" else torch.float16
    image = torch.randn(sizes.batch, 1, *sizes.patch, device=device)
    target = torch.randint(0, sizes.classes, (sizes.batch, *sizes.patch), device=device)
    for name, make in networks(sizes).items():
        network = make().to(device).train()
        channels_last(network)
        optimiser, scaler = torch.optim.AdamW(network.parameters(), 1e-3), torch.amp.GradScaler(device.type)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = []
        for _ in range(sizes.steps):
            start = done_at(device)
            with torch.autocast(device.type, kind):
                output = network(image.contiguous(memory_format=torch.channels_last_3d))
                loss = nn.functional.cross_entropy(getattr(output, "logits", output).float(), target)
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            seconds.append(done_at(device) - start)
        median = statistics.median(seconds[len(seconds) // 3 :])
        result[name] = {
            "steps_per_s": round(1 / median, 3),
            "peak_gib": peak_gib(device),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        }
    return result


def torso(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """A scan with air around it, in float32, in half precision, compiled, and with MONAI's sliding window."""
    image = scan(sizes)
    fast = fast_precision(device) or "bf16"
    network = own_network(sizes).to(device).eval()
    result: dict[str, Any] = {"scan": list(sizes.scan), "patch": list(sizes.patch)}
    truth: np.ndarray[Any, Any] | None = None
    for name, precision, compile_after in (("32", "32", 0), (fast, fast, 10**9), (f"{fast}, compiled", fast, 2)):
        numbers.WORTH_COMPILING = compile_after or numbers.WORTH_COMPILING
        call = applied(network, precision, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start = done_at(device)
        found, _ = segment_array(call, image, tuple(image.shape[1:]), sizes.plan, device=device)
        row = {"seconds": round(done_at(device) - start, 3), "peak_gib": peak_gib(device)}
        truth = found if truth is None else truth
        row["agreement"] = round(float((found == truth).mean()), 6)
        if compile_after == 2:
            row["compiled_is_used"] = getattr(call, "compiled", None) is not None
        result[name] = row
    if not sizes.peers:
        return result
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        return result
    start = done_at(device)
    with torch.inference_mode():
        logits = sliding_window_inference(
            image[None], sizes.patch, 1, lambda x: network(x).logits, 0.5, "gaussian", sw_device=device, device="cpu"
        )
        logits.argmax(1)
    result["MONAI sliding_window_inference, 32"] = {"seconds": round(done_at(device) - start, 3)}
    return result


def scan(sizes: Sizes) -> Tensor:
    """A body of smooth noise in air of one value."""
    small = torch.randn(1, 1, *(max(1, n // 8) for n in sizes.scan), generator=torch.manual_seed(0))
    image = nn.functional.interpolate(small, sizes.scan, mode="trilinear")[0]
    image[:, :, : sizes.scan[1] // 8] = -2.0
    return image


def out_of_memory(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Batches of windows far too large for what the device may use: prediction has to end with fewer at once."""
    network, most = own_network(sizes).to(device).eval(), [0]

    def counted(windows: Tensor) -> Any:
        if device.type != "cuda" and len(windows) > 2:
            raise torch.OutOfMemoryError("as on a GPU")
        output = network(windows)
        most[0] = max(most[0], len(windows))
        return output

    if device.type == "cuda":
        torch.cuda.empty_cache()
        window = 64 * np.prod(sizes.patch) * 4 * 12
        torch.cuda.set_per_process_memory_fraction(
            min(1.0, float(4 * window / torch.cuda.get_device_properties(device).total_memory))
        )
    try:
        image = scan(sizes)
        found, _ = segment_array(counted, image, tuple(image.shape[1:]), sizes.plan, device=device, batch=64)
    finally:
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    return {"asked_for": 64, "ended_with": most[0], "whole": found.shape == tuple(image.shape[1:])}


def two_processes(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """The same scan in two processes at once, each on a device of its own."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        return {"skipped": "there is one device"}
    devices = ["cuda:0", "cuda:1"] if device.type == "cuda" else ["cpu"]
    if device.type != "cuda":
        return {"skipped": "there is no GPU", "alone_s": one_scan(torch.device("cpu"), sizes)}
    alone = one_scan(torch.device(devices[0]), sizes)
    start = time.perf_counter()
    calls = [subprocess.Popen([sys.executable, __file__, "--one", name]) for name in devices]
    codes = [call.wait() for call in calls]
    return {"alone_s": alone, "both_s": round(time.perf_counter() - start, 2), "exit_codes": codes}


def one_scan(device: torch.device, sizes: Sizes) -> float:
    network, image = own_network(sizes).to(device).eval(), scan(sizes)
    start = done_at(device)
    call = applied(network, fast_precision(device) or "32", device)
    segment_array(call, image, tuple(image.shape[1:]), sizes.plan, device=device)
    return round(done_at(device) - start, 3)


PARTS = (training, torso, out_of_memory, two_processes)


def run(seconds: float, device: torch.device, peers: bool) -> dict[str, Any]:
    """Every part for which there is time."""
    sizes, end = Sizes(device, peers), time.monotonic() + seconds
    document: dict[str, Any] = {"device": str(device), "machine": machine(), "parts": {}}
    for number, part in enumerate(PARTS):
        name = part.__name__
        if time.monotonic() > end - seconds / 10 and number:
            document["parts"][name] = {"skipped": "no time was left"}
            continue
        start = time.monotonic()
        try:
            row = part(device, sizes)
        except Exception as error:  # the others are worth having
            row = {"error": f"{type(error).__name__}: {error}"[:500]}
        document["parts"][name] = {**row, "took_s": round(time.monotonic() - start, 1)}
    return document


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--no-peers", action="store_true", help="VoxGraft alone, which starts sooner")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.one:
        one_scan(torch.device(options.one), Sizes(torch.device(options.one)))
        return
    document = run(options.seconds, torch.device(options.device), not options.no_peers)
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
