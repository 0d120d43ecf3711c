"""Drive `voxgraft serve` with the real clients of both protocols on a real model, and write times and Dice.

    python benchmarks/serve_clients.py [--steps 150] [--cases 6] [--clicks 10] [--data ../shared/data/hippocampus]

A small model of the hippocampus is trained for a few minutes, so that there is something to correct, and served by the
command line. A simulated reader then opens held-out scans through nnInteractive's protocol with `nninteractive-client`,
picks each of the two structures with a point, and clicks ten times into the middle of the largest error that is left;
half way the server is killed (SIGKILL) and started again. The same scans go through MONAI Label's API with
`monailabel`. The reader is simulated, and it knows the reference: times are real, the gain in Dice is that of a perfect
eye.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

import cc3d
import edt
import numpy as np
from measured import DATA, ROOT, cpu_of, parser_of, record

import voxgraft as vg

Mask = np.ndarray[Any, Any]


def main() -> None:
    parser = parser_of(__doc__, "serve_clients")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--data", type=Path, default=DATA / "hippocampus")
    parser.add_argument("--large", action="store_true", help="measure only the large scan, and keep the rest of --out")
    options = parser.parse_args()
    if options.large:
        document = json.loads(options.out.read_text())
        options.out.write_text(json.dumps({**document, "large": large()}, indent=2) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = trained(options.data, options.steps, folder)
        cases = run.read("split.json")["validation"][: options.cases]
        scans = folder / "scans"
        scans.mkdir()
        for case in cases:
            (scans / f"{case}.nii.gz").symlink_to((options.data / "imagesTr" / f"{case}.nii.gz").resolve())
        truths = {case: vg.read(options.data / "labelsTr" / f"{case}.nii.gz").array for case in cases}
        document = driven(run.package, folder, truths, options)
    record(options.out, {**document, "large": large()})


def large() -> dict[str, Any]:
    """Seconds of processor time of the engine on a scan of 400x512x512 voxels with 30 structures, without a network."""
    from voxgraft.serve.engine import Scan, Work
    from voxgraft.serve.models import Found
    from voxgraft.serve.pieces import Pieces

    draw, shape, labels = np.random.default_rng(0), (400, 512, 512), np.zeros((400, 512, 512), np.uint8)
    for value in range(1, 31):
        radius = int(draw.integers(10, 40))
        middle = [int(draw.integers(40, size - 40)) for size in shape]
        inside = ((np.indices([2 * radius] * 3) - radius) ** 2).sum(0) < radius**2
        labels[tuple(slice(i - radius, i + radius) for i in middle)][inside] = value
    image = draw.normal(0, 20, shape).astype(np.float32) + 30 * labels
    scan = Scan(image, (1.0, 0.7, 0.7), Found(labels, {}), {f"structure {value}": value for value in range(1, 31)})
    with tempfile.TemporaryDirectory() as folder:
        work = Work(scan, Pieces(Path(folder), shape))
        start = tuple(int(i) for i in np.argwhere(labels == 7)[-1])
        seconds = {"first_point": cpu_of(lambda: work.point(start, True))}
        beside = [(start[0] + 2 + n, start[1] + 3 * n, start[2]) for n in range(6)]
        clicks = [cpu_of(lambda place=place: work.point(place, True)) for place in beside]
        seconds |= {"click": median(clicks), "undo": cpu_of(work.undo)}
        work.put_aside()
        again = Work(scan, Pieces(Path(folder), shape))
        seconds["found_again"] = cpu_of(lambda: again.point(start, True))
        return {name: round(value, 3) for name, value in seconds.items()}


def trained(data: Path, steps: int, folder: Path) -> Any:
    """A run of few steps on the hippocampus."""
    overrides = {
        "data__layout__path": str(data.resolve()),
        "training__budget": f"{steps} steps",
        "model__encoder__width": 8,
        "model__decoder__width": 16,
        "tracking": "null",
        "registry": "null",
        "steps": "[check, plan, prepare, train]",
    }
    return vg.run(ROOT / "workflows" / "hippocampus_mr.yaml", out=folder / "run", **overrides)


@contextmanager
def server(package: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`voxgraft serve` in a process of its own, and its address."""
    call = [sys.executable, "-m", "voxgraft", "serve", str(package), "--data", str(folder / "scans"), "--port", "0"]
    process = subprocess.Popen(
        [*call, "--sessions", str(folder / "sessions"), "--device", "cpu"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("http"):
            raise RuntimeError(f"{call} did not serve: {line}")
        yield line.split()[0], process
    finally:
        process.terminate()
        process.wait(30)


def driven(package: Path, folder: Path, truths: dict[str, Mask], options: argparse.Namespace) -> dict[str, Any]:
    """Both clients, one after the other, and a server that is killed between two scans."""
    rows: list[dict[str, Any]] = []
    half = len(truths) // 2
    with server(package, folder) as (address, process):
        for case in list(truths)[:half]:
            rows += corrected(address, folder, case, truths[case], options.clicks)
        process.send_signal(signal.SIGKILL)
    with server(package, folder) as (address, _):
        found = [again(address, folder, row, truths[row["case"]]) for row in rows]
        for case in list(truths)[half:]:
            rows += corrected(address, folder, case, truths[case], options.clicks)
        labelled = monai(address, folder, truths)
    clicks = [second for row in rows for second in row["click_seconds"]]
    return {
        "job": f"{len(truths)} scans, model of {options.steps} steps, {options.clicks} clicks for each object",
        "nninteractive": {
            "objects": len(rows),
            "open_seconds": round(median(row["open_seconds"] for row in rows), 3),
            "first_point_seconds": round(median(row["first_seconds"] for row in rows), 3),
            "click_seconds": {
                "median": round(median(clicks), 4),
                "largest": round(max(clicks), 4),
                "number": len(clicks),
            },
            "dice_of_the_model": round(mean(row["dice"][0] for row in rows), 4),
            "dice_after_clicks": {
                str(n): round(mean(row["dice"][min(n, len(row["dice"]) - 1)] for row in rows), 4)
                for n in (1, 3, 5, options.clicks)
            },
            "largest_change_voxels": max(row["largest_change"] for row in rows),
            "undo_exact": all(row["undo_exact"] for row in rows),
            "found_again_after_sigkill": f"{sum(found)} of {len(found)}",
        },
        "monailabel": labelled,
        "rows": rows,
    }


def opened(address: str, folder: Path, case: str) -> tuple[Any, Mask, float]:
    """A session with a scan as 3D Slicer sends it, its mask, and the seconds until the server was ready."""
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

    scan = vg.read(folder / "scans" / f"{case}.nii.gz")
    image = np.ascontiguousarray(scan.array.reshape(scan.shape).T)[None].astype(np.float32)
    session = nnInteractiveRemoteInferenceSession(address)
    start = time.perf_counter()
    session.set_image(image, {"spacing": list(scan.spacing[::-1])})
    seconds = time.perf_counter() - start
    mask = np.zeros(image.shape[1:], np.uint8)
    session.set_target_buffer(mask)
    return session, mask, seconds


def corrected(address: str, folder: Path, case: str, truth: Mask, clicks: int) -> list[dict[str, Any]]:
    """Pick each structure of a scan and correct it."""
    session, mask, opening = opened(address, folder, case)
    rows = []
    with session:
        for value in (1, 2):
            wanted = np.ascontiguousarray((truth == value).T)
            session.reset_interactions()
            row = one_object(session, mask, wanted, clicks)
            rows.append({"case": case, "structure": value, "open_seconds": round(opening, 4), **row})
    return rows


def one_object(session: Any, mask: Mask, wanted: Mask, clicks: int) -> dict[str, Any]:
    """One structure: the point that picks it, then clicks into the largest error."""
    start = time.perf_counter()
    session.add_point_interaction(deepest(wanted), include_interaction=True)
    first = time.perf_counter() - start
    scores, times, largest, exact = [dice(mask > 0, wanted)], [], 0, True
    for number in range(clicks):
        wrong = (mask > 0) ^ wanted
        if not wrong.any():
            break
        place, before = deepest(largest_part(wrong)), mask.copy()
        start = time.perf_counter()
        session.add_point_interaction(place, include_interaction=bool(wanted[tuple(place)]))
        times.append(round(time.perf_counter() - start, 4))
        largest = max(largest, int((mask != before).sum()))
        scores.append(dice(mask > 0, wanted))
        if number == 0 and (mask != before).any():
            after = mask.copy()
            exact = bool(session.undo() and np.array_equal(mask, before))
            session.add_point_interaction(place, include_interaction=bool(wanted[tuple(place)]))
            exact = exact and np.array_equal(mask, after)
    return {
        "first_seconds": round(first, 4),
        "click_seconds": times,
        "dice": [round(score, 4) for score in scores],
        "largest_change": largest,
        "undo_exact": exact,
        "voxels": int((mask > 0).sum()),
    }


def again(address: str, folder: Path, row: dict[str, Any], truth: Mask) -> bool:
    """Whether an object is found as it was left, by a point in it."""
    session, mask, _ = opened(address, folder, row["case"])
    with session:
        session.add_point_interaction(deepest(np.ascontiguousarray((truth == row["structure"]).T)), True)
        return int((mask > 0).sum()) == row["voxels"]


def monai(address: str, folder: Path, truths: dict[str, Mask]) -> dict[str, Any]:
    """The same scans through MONAI Label's API: the next one by uncertainty, its mask, saved."""
    from monailabel.client import MONAILabelClient

    client = MONAILabelClient(address, tmpdir=str(folder))
    model = next(name for name, one in client.info()["models"].items() if one["type"] == "segmentation")
    times, scores = [], []
    for _ in truths:
        case = client.next_sample("uncertainty", {})["id"]
        start = time.perf_counter()
        file, params = client.infer(model, case, {"result_extension": ".nrrd"})
        times.append(time.perf_counter() - start)
        mask = vg.read(file).array
        scores.append(mean(dice(mask == value, truths[case] == value) for value in (1, 2)))
        info = [{"name": name, "idx": value} for name, value in params["label_names"].items()]
        client.save_label(case, file, "final", {"label_info": info})
    kept = [vg.read(folder / "scans" / "voxgraft-labels" / "final" / f"{case}.nii.gz") for case in truths]
    return {
        "scans": len(times),
        "infer_seconds": round(median(times), 3),
        "dice_of_the_model": round(mean(scores), 4),
        "saved_in_the_scans_grid": sum(
            mask.shape == truths[case].shape for case, mask in zip(truths, kept, strict=True)
        ),
        "all_labelled": client.info()["datastore"]["completed"] == len(truths)
        and client.next_sample("first", {}) == {},
    }


def deepest(inside: Mask) -> list[int]:
    """The voxel that lies deepest in a mask."""
    distance = edt.edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
    return [int(i) for i in np.unravel_index(int(distance.argmax()), inside.shape)]


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask."""
    parts = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: Mask = parts == sizes.argmax()
    return largest


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


if __name__ == "__main__":
    main()
