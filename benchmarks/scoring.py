"""Score masks of many structures beside nnU-Net's, MONAI's and surface-distance's code, and see that all agree.

    python benchmarks/scoring.py [--classes 30] [--sizes 150 300] [--rounds 5] [--out benchmarks/results/scoring.json]

Masks are made here: ellipsoids, and a prediction that is the reference two voxels aside, frayed at its border ("near"),
or far aside ("far"). Every row is a whole call: ours is `measure_case` of two volumes. Ways are timed in turn, round by
round; the slow ones (MONAI) in one round only. The table gives the medians of seconds and of processor seconds, and how
many times the processor seconds of ours each way took. nnU-Net's function is taken from its package where that is
installed (or from the file that --nnunet names), MONAI and surface-distance come with the extra `dev`.
"""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measured import Taken, keep, parser_of
from scipy import ndimage

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.scoring.case import measure_case

OURS = "voxgraft"
CATALOGUE = discover()
Masks = tuple[np.ndarray, np.ndarray]
"""Prediction and reference."""


def organs(size: int, classes: int) -> np.ndarray:
    """Ellipsoids of many sizes, later ones over earlier ones."""
    generator = np.random.default_rng(1)
    labels = np.zeros((size, size, size), np.uint8)
    grid = np.ogrid[:size, :size, :size]
    for value in range(1, classes + 1):
        centre, radii = generator.uniform(0.15, 0.85, 3) * size, generator.uniform(0.03, 0.16, 3) * size
        labels[sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) < 1] = value
    return labels


def near(reference: np.ndarray) -> Masks:
    """Two voxels aside, and a fifth of the voxels at its border gone."""
    prediction = np.roll(reference, (2, 1, 1), (0, 1, 2))
    there = reference > 0
    border = ndimage.binary_dilation(there) & ~ndimage.binary_erosion(there)
    prediction[border & (np.random.default_rng(0).random(there.shape) < 0.2)] = 0
    return prediction, reference


def far(reference: np.ndarray) -> Masks:
    size = len(reference)
    return np.roll(reference, (size // 5, size // 7, -size // 6), (0, 1, 2)), reference


def ours(masks: Masks, classes: int, *metrics: dict[str, Any]) -> dict[str, list[float]]:
    chosen = [choose(CATALOGUE, "metric", metric) for metric in metrics]
    labels = Labels.of({str(value): value for value in range(1, classes + 1)})
    prediction, reference = (Volume(mask, np.eye(4)) for mask in masks)
    values = measure_case(prediction, reference, labels, chosen).values
    return {name: list(found.values()) for name, found in values.items()}


def nnunet_dice(masks: Masks, classes: int, function: Callable[..., Any]) -> dict[str, list[float]]:
    dice, iou = [], []
    for value in range(1, classes + 1):
        tp, fp, fn, _ = function(masks[1] == value, masks[0] == value, None)
        whole = tp + fp + fn
        dice.append(float(2 * tp / (tp + whole)) if whole else np.nan)
        iou.append(float(tp / whole) if whole else np.nan)
    return {"dice": dice, "iou": iou}


def monai_dice(masks: Masks, classes: int) -> dict[str, list[float]]:
    from monai.metrics.meandice import compute_dice
    from monai.networks import one_hot

    found, wanted = (one_hot(torch.from_numpy(mask)[None, None], classes + 1, dtype=torch.uint8) for mask in masks)
    return {"dice": compute_dice(found, wanted, include_background=False)[0].tolist()}


def monai_surfaces(masks: Masks, classes: int) -> dict[str, list[float]]:
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    found, wanted = (
        torch.stack([torch.from_numpy(mask == value) for value in range(1, classes + 1)])[None] for mask in masks
    )
    hd95 = compute_hausdorff_distance(found, wanted, include_background=True, percentile=95)
    nsd = compute_surface_dice(found, wanted, [1.0] * classes, include_background=True)
    return {"hd95": hd95[0].tolist(), "nsd": nsd[0].tolist()}


def surface_distance(masks: Masks, classes: int) -> dict[str, list[float]]:
    import surface_distance as peer

    hd95, nsd = [], []
    for value in range(1, classes + 1):
        found, wanted = (mask == value for mask in masks)
        if not found.any() or not wanted.any():
            hd95.append(np.nan)
            nsd.append(0.0 if found.any() or wanted.any() else np.nan)
            continue
        distances = peer.compute_surface_distances(wanted, found, (1.0, 1.0, 1.0))
        hd95.append(float(peer.compute_robust_hausdorff(distances, 95)))
        nsd.append(float(peer.compute_surface_dice_at_tolerance(distances, 1.0)))
    return {"hd95": hd95, "nsd": nsd}


def nnunet_function(path: Path | None) -> Callable[..., Any] | None:
    """nnU-Net's `compute_tp_fp_fn_tn`, by itself: its module imports the whole training framework."""
    if path is None:
        try:
            spec = find_spec("nnunetv2")
        except ImportError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(spec.submodule_search_locations[0]) / "evaluation" / "evaluate_predictions.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "compute_tp_fp_fn_tn"]
    scope: dict[str, Any] = {"np": np}
    exec(compile(ast.Module(wanted, []), str(path), "exec"), scope)
    function: Callable[..., Any] = scope["compute_tp_fp_fn_tn"]
    return function


def timed(ways: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds and processor seconds of each way, in turn, and what each gave in its first round."""
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    gave = {}
    for turn in range(rounds):
        for name, (way, most) in ways.items():
            if turn >= most:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            result = way()
            taken[name].append(Taken(time.perf_counter() - wall, time.process_time() - cpu))
            gave.setdefault(name, result)
    base = median(one.cpu for one in taken[OURS])
    rows = {
        name: {
            "seconds": round(median(one.seconds for one in times), 5),
            "cpu_seconds": round(median(one.cpu for one in times), 5),
            "times_ours": round(median(one.cpu for one in times) / base, 2),
            "rounds": len(times),
        }
        for name, times in taken.items()
    }
    return rows, gave


def agree(gave: dict[str, Any], one: str, other: str, tolerance: float) -> float:
    """The largest difference between what two ways gave.

    Raises:
        AssertionError: It is too large.
    """
    largest = 0.0
    for name in gave[one].keys() & gave[other].keys():
        first, second = (np.array(gave[way][name], float) for way in (one, other))
        assert (np.isnan(first) == np.isnan(second)).all(), (one, other, name)
        largest = max(largest, float(np.nanmax(np.abs(first - second), initial=0.0)))
    assert largest <= tolerance, (one, other, largest)
    return largest


def overlap(size: int, classes: int, rounds: int, function: Callable[..., Any] | None) -> dict[str, Any]:
    masks = near(organs(size, classes))
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        OURS: (lambda: ours(masks, classes, {"use": "dice"}, {"use": "iou"}), rounds),
        "reading both masks once (np.sum)": (lambda: {"sum": [int(mask.sum()) for mask in masks]}, rounds),
        "MONAI compute_dice of one_hot": (lambda: monai_dice(masks, classes), 1),
    }
    if function is not None:
        ways["nnU-Net compute_tp_fp_fn_tn, each class"] = (lambda: nnunet_dice(masks, classes, function), rounds)
    rows, gave = timed(ways, rounds)
    apart = {name: agree(gave, OURS, name, 1e-6) for name in ways if name != OURS and "np.sum" not in name}
    if function is None:
        rows["nnU-Net compute_tp_fp_fn_tn, each class"] = {"absent": "nnunetv2 is not installed"}
    return {"what": f"Dice and IoU of {classes} classes, {size}^3", "rows": rows, "largest_difference": apart}


def surfaces(size: int, classes: int, rounds: int, make: Callable[[np.ndarray], Masks], slow: bool) -> dict[str, Any]:
    masks = make(organs(size, classes))
    area = {"surface": "area"}
    by_area = f"{OURS}, surfaces by area"
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        OURS: (lambda: ours(masks, classes, {"use": "hd95"}, {"use": "nsd"}), rounds),
        by_area: (lambda: ours(masks, classes, {"use": "hd95", **area}, {"use": "nsd", **area}), rounds),
        "surface-distance": (lambda: surface_distance(masks, classes), rounds if size <= 150 else min(rounds, 2)),
    }
    if slow:
        ways["MONAI hd95 and surface dice"] = (lambda: monai_surfaces(masks, classes), 1)
    rows, gave = timed(ways, rounds)
    apart = {"surface-distance": agree(gave, by_area, "surface-distance", 1e-3)}
    if slow:
        apart["MONAI"] = agree(gave, OURS, "MONAI hd95 and surface dice", 1e-3)
    what = f"HD95 and NSD of {classes} classes, {size}^3, surfaces {make.__name__}"
    return {"what": what, "rows": rows, "largest_difference": apart}


def main() -> None:
    parser = parser_of(__doc__, "scoring")
    parser.add_argument("--classes", type=int, default=30)
    parser.add_argument("--sizes", type=int, nargs="+", default=[150, 300], help="voxels along each axis")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nnunet", type=Path, help="nnU-Net's evaluate_predictions.py, where it is not installed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    function = nnunet_function(options.nnunet)
    tables = [overlap(max(options.sizes), options.classes, options.rounds, function)]
    for size in options.sizes:
        for make in (near, far):
            slow = make is near and size == min(options.sizes)
            tables.append(surfaces(size, options.classes, options.rounds, make, slow))
    for table in tables:
        print(f"\n{table['what']}")
        for name, row in table["rows"].items():
            print(f"  {name:45s}", *(f"{key}={value}" for key, value in row.items()))
    keep(options.out, {"tables": tables})


if __name__ == "__main__":
    main()
