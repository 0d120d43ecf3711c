"""Make docs/report.png: the upper part of a batch's page, over the made-up heads of the demo, which are nobody's.

    python benchmarks/report_picture.py

The masks are the true ones as a fair model would have found them. That nothing is cut off on the static pages is what
tests/core/test_pages_browser.py shows.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from browser import opened, shoot
from measured import ROOT
from scipy.ndimage import gaussian_filter
from stand_in import Found, plan_of

from voxgraft.batch.segment import segment
from voxgraft.demo.dataset import make_data
from voxgraft.discovery import discover
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft.support.progress import Progress

NAMES = {1: "grey matter", 2: "white matter"}


@dataclass
class Disturbed:
    """A predictor that gives true masks with smooth edges of their own, every third without its last structure.

    Attributes:
        truths: Name of a series' folder -> its mask.
    """

    truths: Mapping[str, Path]
    seen: int = 0
    notes: tuple[str, ...] = ()
    confidence: dict[str, float] = field(default_factory=dict)

    def __call__(self, package: Package) -> Disturbed:
        return self

    def predict(self, volume: Volume) -> Found:
        assert volume.item is not None
        self.seen += 1
        truth = self.truths.get(volume.item.path.name)
        values = np.asarray(nib.load(truth).dataobj).astype(np.uint8) if truth else np.zeros(volume.shape, np.uint8)
        sure = {name: round(0.97 - 0.11 * ((self.seen + n) % 4), 3) for n, name in enumerate(NAMES.values())}
        return Found(volume.with_array(disturbed(values, self.seen)), sure)


def disturbed(mask: Any, seed: int) -> Any:
    """A mask with a smooth edge of its own and, every third time, without its last structure."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=mask.shape), 3)
    noise *= 0.12 / max(1e-9, noise.std())
    result = np.zeros_like(mask)
    for value in list(NAMES)[: len(NAMES) - (seed % 3 == 0)]:
        result[gaussian_filter((mask == value).astype(np.float32), 1) + noise > 0.5] = value
    return result


def package(folder: Path) -> Package:
    """What a batch needs to know of a model."""
    folder.mkdir()
    contract = {"channels": 1, "modality": ["MR"], "spacing_mm": [[2.5, 3.5]] * 3, "size_mm": [[120.0, 260.0]] * 3}
    plan = plan_of(3, labels=tuple(NAMES.items()), contract=contract)
    labels = Labels(tuple(Label(*pair) for pair in NAMES.items()))
    return Package(folder, plan, labels, {"name": "mr-organs", "version": "3"}, "c0ffee" + "0" * 58)


def with_accession(folder: Path) -> None:
    """Give every file an accession number and a date, as an archive does."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(path)
        number = zlib.crc32(path.relative_to(folder).parts[0].encode()) % 10000
        dataset.AccessionNumber, dataset.StudyDate = f"RAD-2026-{number:04}", "20260417"
        dataset.save_as(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = make_data(folder / "heads", discover(), Progress(quiet=True), labelled=1)
        with_accession(data.dicom)
        truths = {Path(scan.folder).name: data.folder / scan.truth for scan in data.scans if scan.truth}
        out, model = folder / "head MR", package(folder / "model")
        segment(model, [data.dicom], out, discover(), writers=("nifti",), predictor=Disturbed(truths))
        with opened(1280, 1180) as page:
            page.goto((out / "report.html").as_uri())
            page.wait_for_load_state("networkidle")
            shoot(page, ROOT / "docs" / "report.png", 192)


if __name__ == "__main__":
    main()
