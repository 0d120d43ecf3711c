"""Write masks as DICOM SEG, RTSTRUCT and SR, let other programs read them, and measure what comes back.

    python benchmarks/roundtrip.py [--out benchmarks/results/roundtrip.json]

For series that are axial, sagittal, coronal and oblique, and for the real series of the data folder:

- image -> mask -> SEG -> dcmqi (segimage2itkimage) -> mask: millimetres between the centroids, and voxels lost or won;
- image -> mask -> RTSTRUCT -> plastimatch, and rt-utils -> mask: the same, and Dice; both ways of drawing holes;
- image -> mask -> SEG, RTSTRUCT -> our own readers: voxels that differ;
- dciodvfy on each object; tid1500reader (dcmqi) on the report: its volumes against the mask's.

A program that is not installed is named in the result as missing. Every figure is of the worst structure.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from measured import DATA, ROOT, keep, parser_of

import voxgraft as vg
from voxgraft.components.choice import choose
from voxgraft.imaging.read import scan
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.imaging.write import write

sys.path.insert(0, str(ROOT / "tests"))
from dicom_masks import ORIENTATIONS, turned
from dicom_series import make_series

LABELS = Labels((Label(1, "Liver"), Label(2, "Ring"), Label(3, "Dots"), Label(4, "Nothing")))
FACTS = {"model": "roundtrip", "version": "1", "hash": "ab" * 32, "software": "voxgraft"}
REAL = (
    "dicom_study/12-T1post-05670",
    "dicom_study/36459-FLAIRreg-76244",
    "dicom_study/13_HCropVolume",
    "ct/dicom_jpeg2000",
)
CLASSES = {"dicom-seg": "m.dcm", "dicom-rtstruct": "m.rtstruct.dcm", "dicom-sr": "m.sr.dcm"}


def mask_of(item: Item) -> Volume:
    """A ball, a ring with a hole through it, single voxels, and a structure that was not found."""
    shape = item.shape
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    i, j, k = (
        (axis - n * part) * step
        for axis, n, part, step in zip(axes, shape, (0.4, 0.45, 0.5), item.spacing, strict=True)
    )
    size = min(n * step for n, step in zip(shape[:2], item.spacing, strict=False))
    array = np.zeros(shape, np.uint8, order="F")
    away = i**2 + j**2 + 0 * k
    thick = shape[2] * item.spacing[2]
    array[(away < (0.35 * size) ** 2) & (away > (0.25 * size) ** 2) & (abs(k) < 0.3 * thick)] = 2
    array[i**2 + j**2 + k**2 < min(0.2 * size, 0.45 * thick) ** 2] = 1
    rng = np.random.default_rng(1)
    places = tuple(rng.integers(0, n, 60) for n in shape)
    array[places] = 3
    return Volume(array, item.affine, item=item)


def series_of(folder: Path, data: Path) -> Iterator[tuple[str, Path]]:
    """The series of the measurement by their names."""
    rng = np.random.default_rng(0)
    square = turned(0, 0, 180, spacing=(0.9, 0.9, 2.5))  # rt-utils takes the spacing of rows for that of columns
    for name, affine in {**ORIENTATIONS, "axial, square pixels": square}.items():
        array = rng.integers(0, 1000, (96, 96, 24)).astype(np.int16)
        make_series(folder / name, array, affine, SeriesDescription=name)
        yield name, folder / name
    for name in REAL:
        if (data / name).is_dir():
            yield name, data / name


def places(image: sitk.Image, value: int | None = None) -> np.ndarray[Any, Any]:
    """Voxel counts and the centroid in LPS millimetres of a value, or of all that is not 0."""
    array = sitk.GetArrayViewFromImage(image)
    index = np.argwhere(array != 0 if value is None else array == value)[:, ::-1]
    return index_to_place(index, np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing(), image.GetOrigin())


def index_to_place(index: Any, axes: Any, origin: Any) -> np.ndarray[Any, Any]:
    """(count, x, y, z) of voxels."""
    middle = index.mean(axis=0) @ np.asarray(axes).T + origin if len(index) else np.zeros(3)
    return np.array([len(index), *middle])


def of_mask(mask: Volume, value: int) -> np.ndarray[Any, Any]:
    """The same of a label in a mask."""
    flip = np.array([-1.0, -1.0, 1.0])
    return index_to_place(
        np.argwhere(mask.array == value), flip[:, None] * mask.affine[:3, :3], flip * mask.affine[:3, 3]
    )


def worst(mask: Volume, found: dict[str, np.ndarray[Any, Any] | None]) -> dict[str, Any]:
    """The largest distance of centroids and difference of voxel counts over the structures."""
    apart, differ, share = 0.0, 0, 0.0
    for label in LABELS.items:
        meant, other = of_mask(mask, label.value), found.get(label.name)
        other = np.zeros(4) if other is None else other
        differ = max(differ, int(abs(meant[0] - other[0])))
        if meant[0]:
            share = max(share, abs(float(other[0] / meant[0]) - 1))
            apart = max(apart, float(np.linalg.norm(meant[1:] - other[1:])) if other[0] else float("inf"))
    return {"centroid_mm": round(apart, 6), "voxels": differ, "volume_percent": round(100 * share, 3)}


def tool(name: str) -> str | None:
    return shutil.which(name) or shutil.which(str(Path(sys.executable).with_name(name)))


def run(*call: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(call, capture_output=True, text=True, check=False)


def by_dcmqi(path: Path, out: Path) -> dict[str, np.ndarray[Any, Any] | None]:
    done = run(str(tool("segimage2itkimage")), "--inputDICOM", str(path), "--outputDirectory", str(out), "-t", "nrrd")
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    files = sorted(out.glob("*.nrrd"), key=lambda file: int(file.stem.split("-")[0]))
    return {label.name: places(sitk.ReadImage(str(file))) for label, file in zip(LABELS.items, files, strict=True)}


def dice(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def compared(mask: Volume, found: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Bool arrays in the mask's grid against it: voxels that differ, change of volume in percent, Dice."""
    rows = {}
    for label in LABELS.items:
        meant, other = mask.array == label.value, found.get(label.name)
        if other is not None and meant.any():
            rows[label.name] = {
                "voxels": int(meant.sum()),
                "differing": int((meant != other).sum()),
                "volume_percent": round(100 * (int(other.sum()) / int(meant.sum()) - 1), 3),
                "dice": round(dice(meant, other), 4),
            }
    return rows


def by_plastimatch(path: Path, mask: Volume, series: Path) -> dict[str, Any]:
    out = path.with_suffix(".plastimatch")
    done = run(
        "plastimatch", "convert", "--input", str(path), "--referenced-ct", str(series),
        "--output-prefix", str(out), "--prefix-format", "nrrd",
    )  # fmt: skip
    files = {label.name: out / f"{label.name}.nrrd" for label in LABELS.items}
    if done.returncode or not any(file.exists() for file in files.values()):
        return {"failed": f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-120:]}"}
    found = {}
    for name, file in files.items():
        if file.exists():
            image = sitk.Resample(sitk.ReadImage(str(file)), grid_of(mask), interpolator=sitk.sitkNearestNeighbor)
            found[name] = sitk.GetArrayFromImage(image).T != 0
    return compared(mask, found)


def grid_of(mask: Volume) -> sitk.Image:
    """An empty image on the mask's grid, for readers that give back another order of axes or slices."""
    lps = np.diag([-1.0, -1.0, 1.0]) @ mask.affine[:3]
    steps = np.sqrt((lps[:, :3] ** 2).sum(0))
    image = sitk.Image([int(n) for n in mask.shape], sitk.sitkUInt8)
    image.SetSpacing(steps.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / steps).ravel().tolist())
    return image


def by_rt_utils(path: Path, mask: Volume, series: Path) -> dict[str, Any]:
    try:
        import rt_utils
    except ImportError:
        return {"missing": "rt-utils"}
    try:
        built = rt_utils.RTStructBuilder.create_from(dicom_series_path=str(series), rt_struct_path=str(path))
        found = {}
        for label in LABELS.items:
            if not (mask.array == label.value).any():
                continue
            filled = built.get_roi_mask_by_name(label.name).transpose(1, 0, 2)  # (row, column, slice)
            options = (filled, filled[:, :, ::-1])  # its slices may go the other way
            found[label.name] = max(options, key=lambda one, v=label.value: dice(one, mask.array == v))
    except Exception as error:  # a peer may fail in any way; that is part of the result
        return {"failed": f"{type(error).__name__}: {str(error)[:120]}"}
    return compared(mask, found)


def own(name: str, path: Path, mask: Volume, catalogue: Any) -> dict[str, Any]:
    """Our own reader, through the reader of DICOM trees."""
    (item,) = scan(path, catalogue)
    reader = choose(catalogue, "reader", {"use": item.reader}).build()
    assert item.reader == name
    return compared(mask, reader.structures(item, mask))


def checked(path: Path) -> dict[str, Any]:
    if tool("dciodvfy") is None:
        return {"missing": "dciodvfy"}
    done = run("dciodvfy", str(path))
    said = (done.stdout + done.stderr).splitlines()
    return {
        "errors": [line for line in said if line.startswith("Error")],
        "warnings": sorted({line for line in said if line.startswith("Warning")}),
    }


def report(path: Path, mask: Volume) -> dict[str, Any]:
    if tool("tid1500reader") is None:
        return {"missing": "dcmqi"}
    target = path.with_suffix(".json")
    done = run(str(tool("tid1500reader")), "--inputDICOM", str(path), "--outputMetadata", str(target))
    if done.returncode:
        return {"failed": done.stderr[-300:]}
    groups = json.loads(target.read_text(encoding="utf-8"))["Measurements"]
    told = {group["TrackingIdentifier"]: float(group["measurementItems"][0]["value"]) for group in groups}
    apart = [abs(told[one.name] - (mask.array == one.value).sum() * mask.voxel_ml) for one in LABELS.items]
    return {"structures": len(told), "worst_ml": round(float(max(apart)), 6)}


def measure(series: Path, work: Path, catalogue: Any) -> dict[str, Any]:
    """All round trips of one series."""
    item = next(one for one in scan(series, catalogue) if one.kind == "image")
    mask = mask_of(item)
    found: dict[str, Any] = {"shape": list(item.shape), "spacing_mm": [round(step, 4) for step in item.spacing]}
    for name, file in CLASSES.items():
        write_by(name, {}, mask, work / file, catalogue)
        found[name] = {"dciodvfy": checked(work / file)}
    found["dicom-seg"]["own"] = own("dicom-seg", work / "m.dcm", mask, catalogue)
    if tool("segimage2itkimage") is None:
        found["dicom-seg"]["dcmqi"] = {"missing": "dcmqi"}
    else:
        (work / "dcmqi").mkdir()
        found["dicom-seg"]["dcmqi"] = worst(mask, by_dcmqi(work / "m.dcm", work / "dcmqi"))
    found["dicom-sr"]["dcmqi"] = report(work / "m.sr.dcm", mask)
    for holes in ("keyhole", "xor"):
        path = work / f"{holes}.rtstruct.dcm"
        write_by("dicom-rtstruct", {"holes": holes}, mask, path, catalogue)
        found["dicom-rtstruct"][holes] = {
            "own": own("dicom-rtstruct", path, mask, catalogue),
            "plastimatch": by_plastimatch(path, mask, series) if tool("plastimatch") else {"missing": "plastimatch"},
            "rt-utils": by_rt_utils(path, mask, series),
        }
    return found


def write_by(name: str, options: dict[str, str], mask: Volume, path: Path, catalogue: Any) -> None:
    write(mask, path, catalogue.with_options("writer", {name: options}), LABELS, FACTS, writer=name)


def summary(series: dict[str, Any]) -> dict[str, Any]:
    """The worst of all series."""

    def over(*keys: str, of: Callable[[Any], float] = float, best: Callable[..., float] = max) -> float | None:
        values = []
        for one in series.values():
            for key in keys:
                one = one.get(key) if isinstance(one, dict) else None
            if one is not None:
                values.append(of(one))
        return best(values) if values else None

    peers: dict[str, Any] = {}
    for holes in ("keyhole", "xor"):
        for peer in ("own", "plastimatch", "rt-utils"):
            row = peers[f"{peer}, {holes}"] = {}
            for label in LABELS.items[:3]:
                keys = ("dicom-rtstruct", holes, peer, label.name)
                row[label.name] = {
                    "dice": over(*keys, "dice", best=min),
                    "volume_percent": over(*keys, "volume_percent", of=abs),
                    "exact": sum(
                        one["dicom-rtstruct"][holes][peer].get(label.name, {}).get("differing") == 0
                        for one in series.values()
                    ),
                }
    return {
        "series": len(series),
        "seg_by_dcmqi": {
            "centroid_mm": over("dicom-seg", "dcmqi", "centroid_mm"), "voxels": over("dicom-seg", "dcmqi", "voxels")
        },
        "seg_by_own": max(over("dicom-seg", "own", label.name, "differing") or 0 for label in LABELS.items),
        "sr_by_dcmqi_ml": over("dicom-sr", "dcmqi", "worst_ml"),
        "rtstruct": peers,
        "dciodvfy_errors": {name: over(name, "dciodvfy", "errors", of=len) for name in CLASSES},
    }  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__, "roundtrip")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    catalogue = vg.catalogue()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, series) in enumerate(series_of(Path(folder) / "series", options.data)):
            work = Path(folder) / f"work{number}"
            work.mkdir()
            found[name] = measure(series, work, catalogue)
            print(name, json.dumps({key: found[name][key] for key in CLASSES if key in found[name]}), flush=True)
    document = {"summary": summary(found), "series": found}
    keep(options.out, document)
    print(json.dumps(document["summary"], indent=2))


if __name__ == "__main__":
    main()
