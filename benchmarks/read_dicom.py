"""Read DICOM series beside the peers: 400 uncompressed slices, 60 in JPEG 2000, and sorting by headers alone.

    python benchmarks/read_dicom.py [--slices 400] [--rounds 5] [--out benchmarks/results/read_dicom.json]

The series are generated in a temporary folder, so no data are needed. Their headers are as long as a scanner's: with
the elements of the first DICOM file found below `--template` (by default the real series among the data, where it is
there) that are not about geometry or pixels, else with as many made-up ones. All files are in the page cache. Each
contender reads a whole folder into a volume in Hounsfield units; the voxels are held against each other before anything
is timed. Rounds are interleaved, and the ratios are medians of wall time in one run. Contenders that are not installed
are left out and named.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from measured import DATA, ROOT, keep, measure, parser_of

import voxgraft as vg
from voxgraft.imaging.read import scan

sys.path.insert(0, str(ROOT / "tests"))
from dicom_series import make_series

AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])
J2K = "1.2.840.10008.1.2.4.90"
Contender = Callable[[Path], Any]


def patient(slices: int) -> np.ndarray[Any, Any]:
    """A round body with noise in stored values, (i, j, k) of 512 x 512 pixels; compressible as a CT is."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(*(np.linspace(-1, 1, 512),) * 2, indexing="ij")
    body = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 1060, 24)
    return np.stack([body + random.integers(-12, 12, body.shape) for _ in range(slices)], axis=-1).astype(np.int16)


def scanner_header(template: Path) -> pydicom.Dataset:
    """The elements of a scanner's header: of a real file, or made up where there is none."""
    file = next(iter(sorted(template.rglob("*.dcm"))), None)
    if file is not None:
        return pydicom.dcmread(file, stop_before_pixels=True)
    made = pydicom.Dataset()
    for group in (0x0019, 0x0021, 0x0043, 0x0051):
        block = made.private_block(group, "MADE UP HEADER", create=True)
        for element in range(36):
            block.add_new(element, "LO", f"{group:04x} value of element {element}")
    inner = pydicom.Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "T-D3000", "SRT", "Chest"
    made.AnatomicRegionSequence = pydicom.Sequence([inner])
    return made


def with_header(header: pydicom.Dataset) -> Callable[[int, pydicom.Dataset], None]:
    """What puts those elements of a header that are not its own into each slice."""

    def edit(_: int, dataset: pydicom.Dataset) -> None:
        for element in header:
            if element.tag not in dataset:
                dataset[element.tag] = element

    return edit


def by_voxgraft(folder: Path) -> Any:
    return vg.read(folder).array


def by_simpleitk(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute()).T


def by_pydicom(folder: Path) -> Any:
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    volume = np.stack([one.pixel_array for one in slices])
    return (volume + np.int16(slices[0].RescaleIntercept)).T


def by_monai(reader: str) -> Contender:
    def read(folder: Path) -> Any:
        from monai.transforms import LoadImage

        return np.asarray(LoadImage(reader=reader, image_only=True)(folder))

    return read


def by_dicom2nifti(reorient: bool, ending: str) -> Contender:
    def read(folder: Path) -> Any:
        import dicom2nifti

        with tempfile.TemporaryDirectory() as out:
            dicom2nifti.dicom_series_to_nifti(str(folder), str(Path(out, f"image{ending}")), reorient_nifti=reorient)

    return read


READERS: dict[str, Contender] = {
    "VoxGraft": by_voxgraft,
    "SimpleITK ImageSeriesReader": by_simpleitk,
    "pydicom, sorted by hand": by_pydicom,
    "MONAI LoadImage (ITKReader)": by_monai("ITKReader"),
    "MONAI LoadImage (PydicomReader)": by_monai("PydicomReader"),
    "dicom2nifti to .nii": by_dicom2nifti(False, ".nii"),
    "dicom2nifti to .nii.gz, reoriented": by_dicom2nifti(True, ".nii.gz"),
}


def sorted_by_voxgraft(folder: Path) -> list[str]:
    (item,) = scan(folder, vg.catalogue())
    return [file.name for file in item.files]


def sorted_by_simpleitk(folder: Path) -> list[str]:
    return [Path(name).name for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))]


def sorted_by_pydicom(tags: list[str] | None) -> Contender:
    def read(folder: Path) -> list[str]:
        found = [
            (
                float(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags).ImagePositionPatient[2]),
                file.name,
            )
            for file in folder.iterdir()
        ]
        return [name for _, name in sorted(found)]

    return read


SORTERS: dict[str, Contender] = {
    "VoxGraft": sorted_by_voxgraft,
    "SimpleITK GetGDCMSeriesFileNames": sorted_by_simpleitk,
    "pydicom, all tags": sorted_by_pydicom(None),
    "pydicom, the tags that matter": sorted_by_pydicom(["ImagePositionPatient", "ImageOrientationPatient"]),
}


def installed(contenders: dict[str, Contender], folder: Path) -> tuple[dict[str, Contender], dict[str, Any]]:
    """The contenders that can be run, and what each reads."""
    runnable, results = {}, {}
    for name, contender in contenders.items():
        try:
            results[name] = contender(folder)
        except Exception as error:  # a peer may be missing or fail in its own way; it is named and left out
            print(f"left out: {name}: {type(error).__name__}: {error}")
        else:
            runnable[name] = contender
    return runnable, results


def assert_equal(results: dict[str, Any], truth: np.ndarray[Any, Any]) -> None:
    """Each volume holds the same intensities; axes and directions are each reader's own affair."""
    for name, array in results.items():
        if array is None:  # it wrote a file
            continue
        found = np.asarray(array).reshape(np.asarray(array).shape[-3:])
        ways = (found[:, ::y, ::z][::x] for x in (1, -1) for y in (1, -1) for z in (1, -1))
        same = any(np.array_equal(way, truth) or np.array_equal(way.transpose(1, 0, 2), truth) for way in ways)
        assert same, f"{name} reads other voxels"


def race(contenders: dict[str, Contender], folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of wall and processor seconds over interleaved rounds, with the ratio to the first contender."""
    found = measure({name: partial(contender, folder) for name, contender in contenders.items()}, rounds)
    first = next(iter(found.values()))
    return {
        name: {
            "median_s": row["median_s"],
            "min_s": min(row["seconds"]),
            "cpu_s": row["cpu_s"],
            "times_voxgraft": round(row["median_s"] / first["median_s"], 2),
            "cpu_times_voxgraft": round(row["cpu_s"] / first["cpu_s"], 2),
        }
        for name, row in found.items()
    }


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n{'':36s}{'median s':>10s}{'min s':>9s}{'cpu s':>9s}{'x':>8s}{'cpu x':>8s}")
    for name, row in table.items():
        print(
            f"{name:36s}{row['median_s']:10.3f}{row['min_s']:9.3f}{row['cpu_s']:9.3f}{row['times_voxgraft']:8.2f}{row['cpu_times_voxgraft']:8.2f}"
        )


def main() -> None:
    parser = parser_of(__doc__, "read_dicom")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--compressed", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--template", type=Path, default=DATA / "dicom_study")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    header = scanner_header(options.template)
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {"plain": (options.slices, "1.2.840.10008.1.2.1"), "jpeg2000": (options.compressed, J2K)}
        for kind, (slices, syntax) in kinds.items():
            folder, stored = Path(scratch, kind), patient(slices)
            make_series(folder, stored, AFFINE, syntax=syntax, edit=with_header(header), RescaleIntercept=-1024)
            contenders, results = installed(READERS, folder)
            assert_equal(results, stored - 1024)
            del results
            tables[kind] = race(contenders, folder, options.rounds)
            show(f"{slices} slices of 512 x 512, {kind}", tables[kind])
        folder = Path(scratch, "plain")
        contenders, results = installed(SORTERS, folder)
        assert len({tuple(names) for names in results.values()}) == 1, "the orders differ"
        tables["sorting"] = race(contenders, folder, options.rounds)
        show(f"sorting {options.slices} files by their headers", tables["sorting"])
    result = {
        "rounds": options.rounds,
        "elements": len(header),
        "slices": {"plain": options.slices, "jpeg2000": options.compressed},
        "tables": tables,
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
