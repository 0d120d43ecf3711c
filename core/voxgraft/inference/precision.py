"""In what numbers a network is applied.

Half precision is torch's autocast, where the model's own cases said that it may be: convolutions and products in
bfloat16 or float16, everything that needs more in float32. On a processor with units for bfloat16 a 3D network takes
less than half the time so (docs/speed.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..packages.facts import allowed
from ..support.machine import has_bf16
from ..support.torch_dims import channels_last
from .kernels import FastKernels, laid_out

KINDS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
Network = Callable[[Tensor], Any]
"""Gives logits, or an object with `.logits`, from (batch, channel, *spatial)."""

WORTH_COMPILING = 400
"""Windows after which a network is compiled: compiling takes a minute, and most batches are over before."""
GAIN = 0.95
"""Of the time without: what a compiled network may take at most to be used."""


def fast_precision(device: torch.device) -> str | None:
    """The numbers of half precision that a device has units for."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
    return "bf16" if device.type == "cpu" and has_bf16() else None


def precision_on(device: torch.device, wanted: str, facts: Mapping[str, Any]) -> str:
    """The numbers in which a model is applied.

    Args:
        device: Where.
        wanted: `auto`, `32`, `bf16` or `16`; the first takes half precision where the device has units for it and the
            package allows it.
        facts: Of the package.

    Raises:
        UsageError: The device cannot compute with what is wanted.
    """
    if wanted == "16" and device.type == "cpu":
        raise UsageError("precision 16 (float16) needs a GPU; write bf16, 32 or auto")
    if wanted != "auto":
        return wanted
    fast = fast_precision(device)
    return fast if fast is not None and allowed(facts, fast) else "32"


def applied(network: nn.Module, precision: str, device: torch.device) -> Network:
    """What stands for a network on a device, in numbers of half precision or as it is.

    Args:
        network: Ready, and on the device; its weights are laid out for it.
        precision: `32`, or one of `KINDS`.
        device: Where it computes.
    """
    if precision == "32" and device.type != "cpu":
        return network
    channels_last(network)
    return Half(network, KINDS[precision], device) if precision != "32" else lambda windows: network(laid_out(windows))


class Half:
    """A network applied in half precision; on a GPU it is compiled once that pays, on a processor its weights are cast
    once and not for every window.

    Args:
        network: In evaluation mode, its weights in float32; they are not changed any more.
        kind: The numbers.
        device: Where it is.
        compiler: Makes a faster call of a network, or fails: then the network is called as it is.
        clock: Seconds, once all that was asked of the device is done.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: torch.dtype,
        device: torch.device,
        compiler: Callable[[nn.Module], Network] = torch.compile,
        clock: Callable[[torch.device], float] | None = None,
    ) -> None:
        self.network, self.kind, self.device = network, kind, device
        self.compiler, self.clock = compiler, clock or _done_at
        at_once = network.parameters() if device.type == "cpu" else ()
        self.weights = {id(weight): weight.detach().to(kind) for weight in at_once if weight.ndim > 1}
        self.calls = 0
        self.compiled: Network | None = None
        self.shape: torch.Size | None = None

    def __call__(self, windows: Tensor) -> Any:
        self.calls += 1
        if self.device.type == "cpu":
            with torch.autocast("cpu", self.kind), FastKernels(self.weights):
                return self.network(laid_out(windows))
        with torch.autocast(self.device.type, self.kind):
            if self.calls == WORTH_COMPILING:
                self._try_compiling(windows)
            compiled = self.compiled is not None and windows.shape == self.shape
            return (self.compiled if compiled and self.compiled is not None else self.network)(windows)

    def _try_compiling(self, windows: Tensor) -> None:
        """Keep a compiled network if there is one and it is faster on windows of this shape."""
        try:
            compiled = self.compiler(self.network)
            compiled(windows)
            taken = {call: self._seconds(call, windows) for call in (self.network, compiled)}
        except Exception:  # no compiler on this machine, or a network that it cannot follow: nothing is lost
            return
        if taken[compiled] < GAIN * taken[self.network]:
            self.compiled, self.shape = compiled, windows.shape

    def _seconds(self, call: Network, windows: Tensor) -> float:
        call(windows)
        begin = self.clock(self.device)
        for _ in range(3):
            call(windows)
        return self.clock(self.device) - begin


def _done_at(device: torch.device) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter()
