"""Windows of one value are computed once, bit for bit the same; a device that runs out of memory gets fewer at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from training import tiny_plan

from voxgraft.inference import sliding
from voxgraft.inference.array import segment_array
from voxgraft.inference.need import column_bytes
from voxgraft.inference.sliding import logits_by_slab, sliding_window


class Counted(nn.Module):
    """A network that looks at its whole window, and counts the windows."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv3d(2, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv3d(6, 3, 3))
        self.seen, self.most, self.largest = 0, most, 0

    def forward(self, windows: Tensor) -> Tensor:
        if len(windows) > self.most:
            raise torch.OutOfMemoryError("no room")
        self.seen += len(windows)
        self.largest = max(self.largest, len(windows))
        return nn.functional.pad(self.body(windows), (1, 1, 1, 1, 1, 1))


def in_air(air: float = -1.5) -> Tensor:
    """A body in the middle of air: two channels, the second of another value there."""
    image = torch.full((2, 36, 24, 22), air)
    image[1] = 0.25
    image[:, 14:22, 8:16, 8:16] = torch.randn(2, 8, 8, 8, generator=torch.manual_seed(1))
    return image


def logits(network: nn.Module, image: Tensor, **options: object) -> Tensor:
    return torch.cat([slab.clone() for _, slab in logits_by_slab(network, image, (8, 8, 8), **options)], 1)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mirror", [(), (1,)])
def test_the_sums_are_those_of_computing_every_window(batch: int, mirror: tuple[int, ...]) -> None:
    every, fewer = Counted(), Counted()
    whole = logits(every, in_air(), batch=batch, mirror=mirror, skip_empty=False)
    part = logits(fewer, in_air(), batch=batch, mirror=mirror)
    assert torch.allclose(whole, part, atol=1e-6) and torch.equal(whole.argmax(0), part.argmax(0))
    if batch == 1:
        assert torch.equal(whole, part)
    assert fewer.seen < 0.6 * every.seen


def test_air_of_many_values_is_computed_and_one_window_is_no_exception() -> None:
    noise = in_air() + torch.rand(2, 36, 24, 22, generator=torch.manual_seed(2)) * 1e-3
    every, all_ = Counted(), Counted()
    assert torch.equal(logits(every, noise, skip_empty=False), logits(all_, noise)) and every.seen == all_.seen
    steps = torch.arange(5.0).repeat_interleave(8)[None, :, None, None].expand(2, 40, 8, 8)  # more values than are kept
    assert torch.equal(logits(Counted(), steps), logits(Counted(), steps, skip_empty=False))
    assert torch.isfinite(logits(Counted(), torch.zeros(2, 3, 3, 3))).all()


def test_out_of_memory_means_fewer_windows_at_once() -> None:
    network = Counted(most=2)
    found = sliding_window(network, in_air(), (8, 8, 8), batch=8, result="logits")
    assert network.largest == 2
    assert torch.allclose(found, sliding_window(Counted(), in_air(), (8, 8, 8), result="logits"), atol=1e-6)
    with pytest.raises(torch.OutOfMemoryError):
        sliding_window(Counted(most=0), in_air(), (8, 8, 8), batch=8)


def test_sums_are_kept_on_the_host_where_the_device_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros

    def small(*shape: int, device: object = None) -> Tensor:
        if device is not None:
            raise torch.OutOfMemoryError("no room")
        return zeros(*shape)

    wanted = logits(Counted(), in_air())
    monkeypatch.setattr(sliding.torch, "zeros", small)
    assert torch.equal(sliding._room((2, 3), torch.device("cuda")), zeros(2, 3))
    monkeypatch.setattr(sliding, "_sums", lambda size, starts, taper: _by_hand(zeros(size), starts, taper))
    assert torch.equal(logits(Counted(), in_air()), wanted)


def _by_hand(total: Tensor, starts: list[int], taper: Tensor) -> Tensor:
    for start in starts:
        total[start : start + len(taper)] += taper
    return total


@pytest.mark.parametrize("shape", [(36, 24, 22), (50, 40, 30), (20, 24, 40)])
def test_labels_with_every_fast_path_are_those_of_the_plain_path(shape: tuple[int, ...]) -> None:
    """Windows of one value once, few columns at a time, only borders interpolated: against none of it (float32)."""
    labels = tuple((value, str(value)) for value in (1, 2))
    plan = tiny_plan().model_copy(update={"labels": labels, "patch": (8, 8, 8), "channels": ("a", "b")})
    network, image = Counted(), in_air()
    room = 14.0 * column_bytes(plan, (36, 24, 22), shape)
    fast, _ = segment_array(network, image, shape, plan, room=room)
    plain, _ = segment_array(network, image, shape, plan, skip_empty=False, see=lambda part, probabilities: None)
    for value in (0, 1, 2):
        one, other = fast == value, plain == value
        assert 2 * (one & other).sum() >= 0.9999 * (one.sum() + other.sum())
    assert (plain > 0).any()
