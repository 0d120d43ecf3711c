"""Read a CT of 512x512x400 voxels from `.nii.gz`: VoxGraft, SimpleITK, nibabel, MONAI.

    python benchmarks/read_nifti.py [--rounds 7] [--shape 512 512 400] [--out benchmarks/results/read_nifti.json]

Every way must give the same voxels. The file is in the page cache. Goals: within 1.05 times SimpleITK's time, at least
2 times as fast as nibabel's dataobj, 5 times as get_fdata, 6 times as MONAI's LoadImage.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from measured import DATA, measure, parser_of, ratios, record
from volumes import FULL, affine_of, noisy_ct, smooth_ct

import voxgraft as vg

GOALS = {
    "SimpleITK ReadImage": 1 / 1.05,
    "nibabel dataobj": 2.0,
    "nibabel get_fdata": 5.0,
    "MONAI LoadImage": 6.0,
}


def by_simpleitk(path: Path) -> tuple[np.ndarray[Any, Any], sitk.Image]:
    """A view of the voxels without a copy, and the image that it must not outlive."""
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayViewFromImage(image).T, image


def main() -> None:
    parser = parser_of(__doc__, "read_nifti")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", type=int, nargs=3, default=FULL)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    from monai.transforms import LoadImage

    shape = tuple(options.shape)
    truth = noisy_ct(smooth_ct(options.data, shape))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "ct.nii.gz"
        nib.save(nib.Nifti1Image(truth, affine_of(shape)), path)
        monai = LoadImage(image_only=True)
        ways: dict[str, Any] = {
            "VoxGraft": lambda: vg.read(path).array,
            "SimpleITK ReadImage": lambda: by_simpleitk(path),
            "nibabel dataobj": lambda: np.asanyarray(nib.load(path).dataobj),
            "nibabel get_fdata": lambda: nib.load(path).get_fdata(),
            "MONAI LoadImage": lambda: monai(path).numpy(),
        }
        for name, way in ways.items():
            product = way()
            voxels = product[0] if isinstance(product, tuple) else product
            assert np.array_equal(voxels, truth), f"{name} reads other voxels"
            del product, voxels
        assert vg.read(path).array.dtype == np.int16
        times = measure(ways, options.rounds)
        size = path.stat().st_size
    found = ratios(times, "VoxGraft")
    record(
        options.out,
        {
            "job": f"read {'x'.join(map(str, shape))} int16 from .nii.gz of {size} bytes",
            "rounds": options.rounds,
            "times": times,
            "times_as_long": found,
            "goals": {name: {"at_least": round(goal, 3), "met": found[name] >= goal} for name, goal in GOALS.items()},
        },
    )


if __name__ == "__main__":
    main()
