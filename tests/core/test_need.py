"""Memory is promised before a scan is predicted, and the promise is kept; what does not fit is refused."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from training import tiny_plan

from voxgraft.inference.around import covering
from voxgraft.inference.array import _columns
from voxgraft.inference.need import TooLarge, check_room, columns_that_fit, need_of
from voxgraft.preprocessing.plan import Plan

GIB = 1 << 30


def plan_of(classes: int, patch: tuple[int, ...] = (64, 64, 64), **changes: object) -> Plan:
    labels = tuple((value, f"structure {value}") for value in range(1, classes))
    return tiny_plan().model_copy(update={"labels": labels, "patch": patch, **changes})


def test_a_large_scan_of_many_classes_fits_into_four_gibibytes() -> None:
    shape, plan = (512, 512, 800), plan_of(100)
    need = need_of(plan, shape, shape, activations=200 << 20)
    free = 4 * GIB - 2 * 512 * 512 * 800 - 400 * (1 << 20)  # without the scan itself, torch and the weights
    room = check_room(need, plan, shape, free)
    columns = columns_that_fit(plan, shape, shape, room)
    assert columns >= 8 and need.host(columns) <= free
    assert columns_that_fit(plan, shape, shape, 100 * GIB) == 512  # where there is room nothing is done twice


def test_what_does_not_fit_is_refused_before_it_is_tried() -> None:
    shape, plan = (512, 512, 800), plan_of(100)
    need = need_of(plan, shape, shape, activations=200 << 20)
    with pytest.raises(TooLarge, match=r"512x512x800 voxels .* 100 classes need .* GiB of memory, and 2 GiB are free"):
        check_room(need, plan, shape, 2 * GIB)
    with pytest.raises(TooLarge, match="logits of 100 classes"):
        list(_columns(covering(shape, plan.patch, 0.5, None), shape, shape, plan, room=1e6))


def test_fewer_columns_cover_everything_once() -> None:
    plan = plan_of(5, (16, 16, 16))
    shape = (40, 90, 30)
    parts = list(_columns(covering(shape, plan.patch, 0.5, None), shape, shape, plan, room=1e6))
    assert len(parts) > 2 and parts[0][0] == 0 and parts[-1][1] == 90
    assert all(end - 1 == start for (_, end), (start, _) in pairwise(parts))


def test_regions_slices_and_small_scans_are_counted_too() -> None:
    flat = plan_of(3, (64, 64), dims=2)
    assert need_of(flat, (9, 90, 90), (9, 90, 90), 0).column > 0
    small, large = (need_of(plan_of(3), shape, shape, 0) for shape in ((20, 20, 20), (200, 200, 200)))
    assert small.fixed < large.fixed and small.column <= large.column


def test_a_gpu_has_room_of_its_own_and_the_host_keeps_what_does_not_fit_there() -> None:
    shape, plan = (300, 300, 300), plan_of(100)
    need = need_of(plan, shape, shape, activations=200 << 20)
    assert check_room(need, plan, shape, 8 * GIB, device=20 * GIB) == 20 * GIB - need.window
    on_host = check_room(need, plan, shape, 8 * GIB, device=need.window + need.column)
    assert on_host == check_room(need, plan, shape, 8 * GIB)
    assert need.host(300, on_device=True) < need.host(300)
    with pytest.raises(TooLarge, match=r"one pass of the network needs .* of the GPU's memory"):
        check_room(need, plan, shape, 8 * GIB, device=need.window - 1)


def test_the_promise_is_kept(repo_path: dict[str, str]) -> None:
    """A process of its own with little room: what it takes beside the image is what was promised, or less."""
    script = """
import torch
from torch import nn
from voxgraft.inference.array import segment_array
from voxgraft.inference.need import columns_that_fit, need_of
from voxgraft.preprocessing.plan import Plan
torch.set_num_threads(1)
def kib(field):
    return next(int(row.split()[1]) for row in open("/proc/self/status") if row.startswith(field))
plan = Plan(dims=3, image_dims=3, channels=("a",), labels=tuple((v, str(v)) for v in range(1, 40)),
    modality="mr", normalisation=({},), spacing=(1, 1, 1), patch=(24, 24, 24), batch=1, strides=((1, 1, 1),))
network = nn.Conv3d(1, 40, 1).eval()
seen, shape = (40, 160, 100), (40, 210, 130)
segment_array(network, torch.randn(1, 24, 24, 24), (24, 24, 24), plan, overlap=0.0)
image = torch.nn.functional.interpolate(torch.randn(1, 1, 4, 16, 10), seen, mode="trilinear")[0].contiguous()
need = need_of(plan, shape, seen, activations=0)
room = 8 * need.column + 40 * need.column
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
segment_array(network, image, shape, plan, overlap=0.0, room=room)
columns = columns_that_fit(plan, seen, shape, room)
print((kib("VmHWM") - before) / 1024, (need.host(columns) - image.numel() * 4) / 2**20, columns)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=repo_path, timeout=240)
    assert done.returncode == 0, done.stderr[-500:]
    taken, promised, columns = (float(word) for word in done.stdout.split())
    assert columns < 160 and taken <= promised, f"{taken:.0f} MiB taken, {promised:.0f} promised"
