"""Kill a batch at random moments while a person corrects masks in its folder, and look for what was lost.

    python benchmarks/batch_kills.py [--kills 50] [--seed 0] [--out benchmarks/results/batch_kills.json]

Every call segments all scans again, for it has another model than the call before, so that folders are replaced all the
time. Corrections are written at random moments, some while nothing runs. After each kill every mask in its place must
be whole; at the end a call that is not killed must find nothing left to clear up, and every correction must be there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measured import parser_of, record
from stand_in import Found, bright, package_of_balls

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.segment import Batch, segment
from voxgraft.discovery import discover
from voxgraft.imaging.volume import Volume
from voxgraft.support.files import sha256

SCANS, SHAPE = 8, (24, 24, 12)


class Threshold:
    """Stands in for a network: what is bright is the structure."""

    def predict(self, volume: Volume, *, missing: Any = ()) -> Found:
        print("at work", flush=True)
        time.sleep(0.02)
        return bright(volume)


@dataclass
class Figures:
    """What came of it."""

    kills: int = 0
    corrections: int = 0
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def batch(folder: Path, number: int) -> Batch:
    """Segment all scans with model `number`."""
    package = package_of_balls(folder / "model", f"{number:064d}")
    return segment(package, [folder / "in"], folder / "out", discover(), predictor=lambda _: Threshold(), workers=2)


def make(folder: Path) -> None:
    """Scans of balls in noise."""
    (folder / "model").mkdir(parents=True)
    (folder / "in").mkdir()
    place = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij"))
    for number in range(SCANS):
        noise = np.random.default_rng(number).integers(0, 50, SHAPE)
        array = (noise + 150 * (np.linalg.norm(place, axis=0) < 4)).astype(np.int16)
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "in" / f"s{number}.nii.gz")


def kill(folder: Path, number: int, chance: random.Random, figures: Figures) -> None:
    """One call that is killed, and corrections before and during it."""
    child = subprocess.Popen([sys.executable, __file__, "--call", str(folder), str(number)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"at work\n"
    end = time.monotonic() + chance.uniform(0, 1.5)
    while time.monotonic() < end:
        time.sleep(max(0.0, min(chance.uniform(0, 0.3), end - time.monotonic())))
        correct(folder, chance, figures)
    child.kill()
    child.wait()
    figures.kills += 1
    figures.half += half_written(folder / "out")
    if chance.random() < 0.5:
        correct(folder, chance, figures)


def correct(folder: Path, chance: random.Random, figures: Figures) -> None:
    """Write other bytes over a mask, as a person does who saves a correction."""
    mask = folder / "out" / f"s{chance.randrange(SCANS)}" / "mask.nii.gz"
    with suppress(OSError):  # the folder is just being replaced: whoever saves is told
        if gzip.decompress(mask.read_bytes()).startswith(b"correction"):
            return  # nobody but this person would replace it
        mask.write_bytes(gzip.compress(f"correction {figures.corrections}".encode(), mtime=0))
        figures.corrections += 1


def half_written(out: Path) -> list[str]:
    """Masks and reports in their places that are not whole."""
    found = []
    for path in [*out.glob("s*/*.nii.gz"), *out.glob("s*/report.json")]:
        try:
            json.loads(path.read_bytes()) if path.suffix == ".json" else gzip.decompress(path.read_bytes())
        except (OSError, EOFError, ValueError) as error:
            found.append(f"{path.relative_to(out)}: {error}")
    return found


def measure(folder: Path, kills: int, seed: int) -> Figures:
    """Kill so often, end with a call that is not killed, and look."""
    make(folder)
    chance, figures = random.Random(seed), Figures()
    batch(folder, 0)
    for number in range(1, kills + 1):
        kill(folder, number, chance, figures)
    last = batch(folder, kills + 1)
    out = folder / "out"
    kept = {path.read_bytes() for path in out.glob("s*/*")}
    wanted = {gzip.compress(f"correction {number}".encode(), mtime=0) for number in range(figures.corrections)}
    figures.lost = sorted(gzip.decompress(content).decode() for content in wanted - kept)
    figures.half += half_written(out) + [f"{scan.case}: {scan.error}" for scan in last.scans if scan.state != "done"]
    figures.left = sorted(path.name for path in out.rglob(".tmp*"))
    with Ledger(out) as ledger:
        hashes = {out / row.case / name: content for row in ledger.rows() for name, content in row.outputs.items()}
    figures.half += [f"{path} differs from the ledger" for path, content in hashes.items() if sha256(path) != content]
    return figures


def main() -> None:
    parser = parser_of(__doc__, "batch_kills")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        batch(Path(options.call[0]), int(options.call[1]))
        return
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch) / "batch", options.kills, options.seed)
    document = {
        "scans": SCANS,
        "seed": options.seed,
        "kills": figures.kills,
        "corrections": figures.corrections,
        "lost": figures.lost,
        "half_written": figures.half,
        "left_behind": figures.left,
        "seconds": round(time.monotonic() - begun),
    }
    record(options.out, document)
    if figures.lost or figures.half or figures.left:
        sys.exit(1)


if __name__ == "__main__":
    main()
