"""Make every static page from real predictions, and pictures of them in Chromium: narrow and wide, light and dark.

    python benchmarks/page_screenshots.py FOLDER [--data ../shared/data] [--advise 0] [--docs]

The data are those of the benchmarks. Trainings take a few steps only: the pages are looked at, not the figures on them.
`--docs` writes docs/report.png as well, from the made-up heads of the demo. Elements that do not fit into the page are
listed; there must be none.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from click.testing import CliRunner

from voxgraft.batch.segment import segment
from voxgraft.cli import main
from voxgraft.discovery import discover
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft.preprocessing.plan import Plan

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS, SCHEMES = (800, 1400), ("light", "dark")
CT_NAMES = {1: "spleen", 2: "right kidney", 3: "left kidney", 5: "liver", 6: "stomach", 52: "aorta", 31: "vertebra L1"}
CLIPPED = """() => Array.from(document.querySelectorAll("body *")).filter((one) => {
  const box = one.getBoundingClientRect(), drawn = one.closest("svg");
  return box.width && !drawn && (box.right > document.documentElement.clientWidth + 1 || box.left < -1
    || (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "auto"));
}).map((one) => one.tagName + "." + one.className + ": " + one.textContent.trim().slice(0, 40))"""
"""The elements that stick out of the page, or hide a part of themselves behind a scroll bar."""


@dataclass
class Disturbed:
    """A predictor that gives reference masks as a fair model would have found them: shifted, with pieces lost.

    Attributes:
        references: Name of a scan's file -> its mask; of other scans what is bright is found.
        keep: Values that are found; others become background.
    """

    references: Mapping[str, Path]
    keep: Sequence[int]
    seen: int = 0
    notes: tuple[str, ...] = ()
    confidence: dict[str, float] = field(default_factory=dict)

    def __call__(self, package: Package) -> Disturbed:
        self.confidence = dict.fromkeys(package.labels.names, 0.0)
        return self

    def predict(self, volume: Volume) -> Any:
        name = volume.item.path.name if volume.item else ""
        self.seen += 1
        if name in self.references:
            wanted = np.asarray(nib.load(self.references[name]).dataobj).astype(np.uint8)
            mask = disturbed(np.where(np.isin(wanted, self.keep), wanted, 0), self.seen)
        else:
            mask = bright(volume, self.keep[0])
        sure = {name: round(0.97 - 0.11 * ((self.seen + n) % 4), 3) for n, name in enumerate(self.confidence)}
        return Found(Volume(mask, volume.affine, dims=volume.dims, item=volume.item), sure)


@dataclass
class Found:
    """What a predictor says."""

    labels: Volume
    confidence: dict[str, float]


def disturbed(mask: Any, seed: int) -> Any:
    """A mask with a smooth edge of its own and, every third time, without its last structure."""
    from scipy.ndimage import gaussian_filter

    values = [value for value in np.unique(mask) if value]
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=mask.shape), 3)
    noise *= 0.12 / max(1e-9, noise.std())
    result = np.zeros_like(mask)
    for value in values[: len(values) - (seed % 3 == 0 and len(values) > 1)]:
        result[gaussian_filter((mask == value).astype(np.float32), 1) + noise > 0.5] = value
    return result


def bright(volume: Volume, value: int) -> Any:
    """A ball of what is brightest in the middle."""
    first = volume.array.reshape(volume.channels, *volume.shape)[0].astype(np.float32)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in first.shape), indexing="ij"))
    inside = (place**2).sum(0) < 0.25
    return (inside & (first > np.percentile(first[inside], 40))).astype(np.uint8) * np.uint8(value)


def package(folder: Path, modality: str, names: Mapping[int, str], dims: int = 3, channels: int = 1) -> Package:
    """What a batch needs to know of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    contract: dict[str, Any] = {"channels": channels}
    if dims == 3:
        contract |= {"modality": [{"ct": "CT", "mr": "MR"}[modality]], "spacing_mm": [[0.7, 2.5]] * 2 + [[0.9, 5.0]]}
        contract["size_mm"] = [[20.0, 520.0]] * 3
    plan = Plan(
        dims=dims,
        image_dims=dims,
        channels=("image",) if channels == 1 else ("red", "green", "blue"),
        labels=tuple(names.items()),
        modality=modality,
        normalisation=({},) * channels,
        spacing=(1.0,) * dims,
        patch=(16,) * dims,
        batch=1,
        strides=((1,) * dims,),
        contract=contract,
    )
    facts = {"name": f"{modality}-organs", "version": "3"}
    return Package(folder, plan, Labels(tuple(Label(*pair) for pair in names.items())), facts, "c0ffee" + "0" * 58)


def batches(out: Path, data: Path) -> Iterator[tuple[str, Path]]:
    """Three batches: CT organs, MR with a DICOM study, photographs."""
    ct, mr = out / "ct in", data / "hippocampus"
    ct.mkdir(parents=True, exist_ok=True)
    for name in ("example_ct_sm.nii.gz", "spleen_ct.nii.gz"):
        shutil.copy(data / "ct" / name, ct / name)
    (ct / "damaged.nii.gz").write_bytes((data / "ct" / "spleen_ct.nii.gz").read_bytes()[:9000])
    references = {"example_ct_sm.nii.gz": data / "ct" / "example_seg.nii.gz"}
    references["spleen_ct.nii.gz"] = data / "ct" / "spleen_seg.nii.gz"
    model = package(out / "ct model", "ct", CT_NAMES)
    batch(out / "batch_ct", model, [ct, with_accession(data / "ct" / "dicom_jpeg2000", out / "ct study")], references)
    yield "batch_ct", out / "batch_ct" / "report.html"
    scans = sorted((mr / "imagesTr").glob("*.nii.gz"))[:4]
    references = {scan.name: mr / "labelsTr" / scan.name for scan in scans}
    model = package(out / "mr model", "mr", {1: "anterior", 2: "posterior"})
    batch(out / "batch_mr", model, [*scans, with_accession(data / "dicom_study", out / "mr study")], references)
    yield "batch_mr", out / "batch_mr" / "report.html"
    photographs = sorted((data / "drive" / "images").glob("*.tif"))[:3]
    model = package(out / "photo model", "rgb", {1: "vessel"}, 2, 3)
    vessels = {path.name: vessel_mask(path, data, out / "drive reference") for path in photographs}
    batch(out / "batch_photo", model, photographs, vessels)
    yield "batch_photo", out / "batch_photo" / "report.html"


def batch(out: Path, model: Package, inputs: Sequence[Path], references: Mapping[str, Path]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    predictor = Disturbed(references, [label.value for label in model.labels.items])
    segment(model, inputs, out, discover(), writers=("nifti",), predictor=predictor)


def with_accession(source: Path, target: Path) -> Path:
    """A copy of a DICOM tree in which every file has an accession number, a date and a description."""
    import pydicom

    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(path, force=True)
        dataset.AccessionNumber = f"RAD-2026-{zlib.crc32(path.relative_to(source).parts[0].encode()) % 10000:04}"
        dataset.StudyDate = "20260417"
        dataset.SeriesDescription = str(dataset.get("SeriesDescription") or "Abdomen 5.0 B30f portal venous")
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(copy)
    return target


def vessel_mask(photograph: Path, data: Path, folder: Path) -> Path:
    """The vessels of a photograph as a NIfTI file, for the predictor."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    number = photograph.name.split("_")[0]
    vessels = np.asarray(Image.open(next((data / "drive" / "1st_manual").glob(f"{number}*")))) > 0
    nib.save(nib.Nifti1Image(vessels.T.astype(np.uint8), np.eye(4)), folder / f"{number}.nii.gz")
    return folder / f"{number}.nii.gz"


def scores(out: Path, data: Path) -> Iterator[tuple[str, Path]]:
    """Disturbed masks of the hippocampus and of CT organs scored against the references, and two of them compared."""
    scans = sorted((data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:9]
    groups = out / "facts.csv"
    groups.write_text("case,site\n" + "".join(f"{scan.name[:-7]},{'AB'[n % 2]}\n" for n, scan in enumerate(scans)))
    documents = []
    for name, shift in (("first", 0), ("second", 5)):
        for n, scan in enumerate(scans):
            written(data / "hippocampus" / "labelsTr" / scan.name, out / name / scan.name, n + shift)
            shutil.copy(scan, made(out / "scans") / scan.name)
            shutil.copy(data / "hippocampus" / "labelsTr" / scan.name, made(out / "references") / scan.name)
        documents.append(out / f"{name}.json")
        options = ["--labels", "anterior=1,posterior=2", "--metrics", "dice,iou,hd95,nsd,precision,recall,assd"]
        targets = ["--out", documents[-1], "--out", out / f"scores_{name}.html"]
        extras = ["--images", out / "scans", "--groups", groups]
        called("evaluate", out / name, out / "references", *options, *targets, *extras)
    yield "scores_mr", out / "scores_first.html"
    organs = data / "ct" / "example_seg.nii.gz"
    written(organs, out / "organs" / "example.nii.gz", 3)
    shutil.copy(organs, made(out / "organ references") / "example.nii.gz")
    shutil.copy(data / "ct" / "example_ct_sm.nii.gz", made(out / "organ scans") / "example.nii.gz")
    values = ",".join(f"organ {value}={value}" for value in np.unique(np.asarray(nib.load(organs).dataobj)) if value)
    page = out / "scores_ct.html"
    folders = (out / "organs", out / "organ references", "--images", out / "organ scans")
    called("evaluate", *folders, "--labels", values, "--metrics", "dice,hd95", "--out", page)
    yield "scores_ct", page
    page = out / "comparison.html"
    called("compare", *documents, "--metric", "dice,hd95", "--structure", "mean,posterior", "--out", page)
    yield "comparison", page


def trained(out: Path, data: Path, minutes: float) -> Iterator[tuple[str, Path]]:
    """A cross-validation of a few steps, its comparison with another, and advice."""
    folder = few(data / "hippocampus", made(out / "few"), 9)
    lines = (ROOT / "workflows" / "hippocampus_mr.yaml").read_text().replace("../shared/data/hippocampus", str(folder))
    (out / "workflow.yaml").write_text(lines)
    quick = {"data.split": "{folds: 3, fold: all}", "tracking": "null", "registry": "null"}
    quick |= {"evaluation.metrics": "[dice, hd95]", "steps": "[check, plan, prepare, train, evaluate]"}
    for name, steps in (("folds", 30), ("folds again", 12)):
        training = f"{{budget: {steps} steps, batch: 2, patch: [16, 16, 16], validate_every: 0.34}}"
        options = [f"--set={key}={value}" for key, value in {**quick, "training": training}.items()]
        called("run", out / "workflow.yaml", *options, "--out", out / name)
    yield "scores_folds", out / "folds" / "evaluate" / "scores.html"
    called("compare", out / "folds", out / "folds again", "--out", out / "comparison_folds.html")
    yield "comparison_folds", out / "comparison_folds.html"
    if minutes:
        called("advise", out / "workflow.yaml", "--minutes", minutes, "--out", out / "advice")
        yield "advice", out / "advice" / "advice.html"


def few(source: Path, target: Path, number: int) -> Path:
    """The first cases of a data set in the Decathlon layout."""
    document = json.loads((source / "dataset.json").read_text())
    scans = sorted((source / "imagesTr").glob("*.nii.gz"))[:number]
    for folder in ("imagesTr", "labelsTr"):
        for scan in scans:
            shutil.copy(source / folder / scan.name, made(target / folder) / scan.name)
    document["training"] = [{"image": f"./imagesTr/{s.name}", "label": f"./labelsTr/{s.name}"} for s in scans]
    (target / "dataset.json").write_text(json.dumps({**document, "test": []}))
    return target


def written(reference: Path, target: Path, seed: int) -> None:
    image = nib.load(reference)
    mask = disturbed(np.asarray(image.dataobj).astype(np.uint8), seed)
    made(target.parent)
    nib.save(nib.Nifti1Image(mask, image.affine), target)


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def called(*arguments: Any) -> None:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exit_code not in (0, 3):
        raise SystemExit(f"voxgraft {arguments[0]}: {result.output[-2000:]} {result.exception!r}")


def pictured(pages: Mapping[str, Path], out: Path) -> dict[str, list[str]]:
    """Take the pictures; PAGE WIDTH -> the elements that are cut off."""
    from playwright.sync_api import sync_playwright

    clipped: dict[str, list[str]] = {}
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for name, path in pages.items():
            for width in WIDTHS:
                for scheme in SCHEMES:
                    view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                    view.goto(path.resolve().as_uri())
                    view.evaluate("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
                    view.add_style_tag(content="tr { content-visibility: visible !important; }")
                    view.wait_for_load_state("networkidle")
                    view.screenshot(path=out / f"{name}_{width}_{scheme}.png", full_page=True)
                    if found := view.evaluate(CLIPPED):
                        clipped[f"{name} {width}"] = found
                    view.close()
        browser.close()
    return clipped


def made_up(out: Path) -> Path:
    """A batch over the heads of the demo, which are nobody's: the page that docs/report.png shows."""
    from voxgraft.demo.dataset import make_data
    from voxgraft.support.progress import Progress

    data = make_data(out / "heads", discover(), Progress(quiet=True), labelled=1)
    references = {Path(scan.folder).name: data.folder / scan.truth for scan in data.scans if scan.truth}
    model = package(out / "head model", "mr", {1: "grey matter", 2: "white matter"})
    model.plan.contract["spacing_mm"], model.plan.contract["size_mm"] = [[2.5, 3.5]] * 3, [[120.0, 260.0]] * 3
    batch(out / "head MR", model, [with_accession(data.dicom, out / "head studies")], references)
    return out / "head MR" / "report.html"


def picture_of_docs(report: Path) -> None:
    """docs/report.png: the upper part of a batch's page."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        view = browser.new_page(viewport={"width": 1280, "height": 1180})
        view.goto(report.resolve().as_uri())
        view.wait_for_load_state("networkidle")
        picture = view.screenshot()
        browser.close()
    Image.open(BytesIO(picture)).convert("RGB").quantize(192).save(ROOT / "docs" / "report.png", optimize=True)


def main_of_script() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    usual = Path(os.environ.get("VOXGRAFT_DATA", ROOT / ".." / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=usual)
    parser.add_argument("--advise", type=float, default=0.0, help="minutes")
    parser.add_argument("--only", default="batches,scores,trained")
    parser.add_argument("--docs", action="store_true")
    chosen = parser.parse_args()
    out, data = made(chosen.out), chosen.data.resolve()
    if not data.is_dir():
        raise SystemExit(f"{data}: the data for these pages are not there; see --data")
    makers = {
        "batches": lambda: batches(out, data),
        "scores": lambda: scores(out, data),
        "trained": lambda: trained(out, data, chosen.advise),
    }
    pages = {name: page for part in filter(None, chosen.only.split(",")) for name, page in makers[part]()}
    clipped = pictured(pages, out)
    print(json.dumps({"pages": sorted(pages), "clipped": clipped}, indent=2))
    if chosen.docs:
        picture_of_docs(made_up(out))
    if clipped:
        raise SystemExit(1)


if __name__ == "__main__":
    main_of_script()
