"""Heads that never were: smooth random deformations of the MNI152 template, scanned with the faults of real scanners.

Every head is a variation of ONE brain (the ICBM 152 average that the nilearn package ships), so figures measured on
them show that the machinery works and say nothing about patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.volume import Array, Volume

Floats = NDArray[np.float32]

LABELS = {"grey matter": 1, "white matter": 2}
MEDICINE = "the demo needs the MNI152 template of the nilearn package: pip install 'voxgraft[demo]'"

_TEMPLATE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_AXES = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_FIELD_MM = 8.0
_KNOT_MM = 32.0
_REACH_MM = 144.0


@dataclass(frozen=True, slots=True)
class Template:
    """The average brain.

    Attributes:
        maps: Shape (3, x, y, z) from 0 to 1: T1 intensity, probability of grey matter, probability of white matter.
        affine: From voxel indices to RAS millimetres.
    """

    maps: Floats
    affine: Array

    @property
    def centre(self) -> Array:
        """The middle of the box around the brain, in RAS millimetres."""
        inside = np.nonzero(self.maps[0, ::2, ::2, ::2] > 0.1)
        middle = np.array([along.min() + along.max() for along in inside], dtype=np.float64)
        centre: Array = self.affine[:3, :3] @ middle + self.affine[:3, 3]
        return centre


@dataclass(frozen=True, slots=True)
class Head:
    """One made-up person: where each point of the head lies in the template, and how the tissues shine.

    Attributes:
        linear: Shape (3, 3), from millimetres around the head's middle to millimetres around the template's.
        field: Shape (3, n, n, n): what is added to that, in millimetres, on a cube of points `_FIELD_MM` apart.
        grey, white: By how much the tissue is brighter than in the template, as a share.
        gamma: The exponent of the intensities.
    """

    linear: Array
    field: Floats
    grey: float
    white: float
    gamma: float


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a scanner puts its voxels.

    Attributes:
        axes: The direction in which each index grows: three letters such as `RAS`, or `PIR` for sagittal slices.
        shape: Voxels along each index.
        spacing: Millimetres between voxels along each index.
        tilt: Degrees by which the grid is turned around the patient's x, y and z axis.
        shift: Millimetres from the head's middle to the grid's middle, in RAS.
    """

    axes: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def affine(self) -> Array:
        """From voxel indices to RAS millimetres; the head's middle is at 0, 0, 0."""
        directions = _rotation(self.tilt) @ np.array([_AXES[letter] for letter in self.axes], dtype=np.float64).T
        affine = np.eye(4)
        affine[:3, :3] = directions * np.array(self.spacing)
        affine[:3, 3] = np.array(self.shift) - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return affine


def read_template(folder: Path | None = None, smoothing: float = 1.1) -> Template:
    """The MNI152 template, smoothed to what voxels of about 3 mm can show.

    Args:
        folder: Where the three files are; by default in the installed nilearn package, which is not imported.
        smoothing: Deviation of the Gaussian in millimetres; 0 leaves the template's own resolution of about 1 mm.

    Raises:
        DataError: The package or a file of it is missing or damaged.
    """
    import nibabel
    from scipy.ndimage import gaussian_filter

    folder = _installed() if folder is None else folder
    maps = []
    affine = np.eye(4)
    for kind in ("t1", "gm", "wm"):
        path = folder / _TEMPLATE.format(kind)
        try:
            image = nibabel.load(path)
            voxels = np.asarray(image.dataobj, dtype=np.float32)
        except FileNotFoundError:
            raise DataError(f"{path.name} is not there; {MEDICINE}") from None
        except Exception as error:  # nibabel, gzip and zlib have no common base class
            raise DataError(f"{path.name} is damaged ({type(error).__name__}); {MEDICINE}") from error
        maps.append(gaussian_filter(voxels / 255.0, sigma=smoothing))
        affine = np.asarray(image.affine, dtype=np.float64)
    return Template(np.stack(maps), affine)


def draw_head(rng: Generator) -> Head:
    """A new person: size and shape by a random affine map and a smooth random field, tissues of their own contrast."""
    from scipy.ndimage import zoom

    size = np.diag(rng.normal(1.0, 0.04, 3)) + rng.normal(0.0, 0.02, (3, 3))
    posture = _rotation(tuple(rng.normal(0.0, 4.0, 3)))
    knots = int(2 * _REACH_MM / _KNOT_MM) + 1
    points = int(2 * _REACH_MM / _FIELD_MM) + 1
    field = rng.normal(0.0, 3.0, (3, knots, knots, knots))
    fine = zoom(field, (1, *(points / knots,) * 3), order=3, mode="nearest", grid_mode=False)
    return Head(
        linear=size @ posture,
        field=fine.astype(np.float32),
        grey=float(rng.uniform(-0.10, 0.03)),
        white=float(rng.uniform(-0.03, 0.08)),
        gamma=float(rng.uniform(0.8, 1.3)),
    )


def scan(template: Template, head: Head, grid: Grid, rng: Generator) -> tuple[Volume, Volume]:
    """An MR image of a head and its true mask, both in the grid's voxels.

    The image (int16, 0 to about 1000) has the receive coil's bias field and Rician noise of its own; the mask (uint8)
    is the likeliest of background, grey matter (1) and white matter (2) at the middle of each voxel.

    Args:
        template: The average brain.
        head: One made-up person.
        grid: Where the voxels lie.
        rng: Draws bias field and noise.
    """
    t1, grey, white = _sample(template, head, grid)
    mask = np.argmax(np.stack([1.0 - grey - white, grey, white]), axis=0).astype(np.uint8)
    signal = t1 * (1.0 + head.grey * grey + head.white * white)
    signal = np.clip(signal, 0.0, None) ** head.gamma * _bias(grid.shape, rng)
    noise = rng.uniform(0.01, 0.03) * rng.standard_normal((2, *grid.shape))
    magnitude = np.hypot(signal + noise[0], noise[1]) * rng.uniform(600.0, 1000.0)
    image = np.rint(np.clip(magnitude, 0.0, 4095.0)).astype(np.int16)
    return Volume(image, grid.affine), Volume(mask, grid.affine)


def _sample(template: Template, head: Head, grid: Grid) -> Floats:
    """The template's maps at the voxels of a grid, shape (3, *grid.shape), through the head's deformation."""
    from scipy.ndimage import map_coordinates

    linear = partial(map_coordinates, order=1, mode="constant")
    indices = np.indices(grid.shape, dtype=np.float32).reshape(3, -1)
    positions = (grid.affine[:3, :3] @ indices + grid.affine[:3, 3:]).astype(np.float32)
    knots = (positions + _REACH_MM) / _FIELD_MM
    moved = np.stack([map_coordinates(part, knots, order=1, mode="nearest") for part in head.field])
    reached = head.linear @ positions + moved + template.centre[:, None]
    back = np.linalg.inv(template.affine)
    source = (back[:3, :3] @ reached + back[:3, 3:]).astype(np.float32)
    sampled = np.stack([linear(part, source) for part in template.maps])
    return sampled.reshape(3, *grid.shape).astype(np.float32)


def _bias(shape: tuple[int, int, int], rng: Generator) -> Floats:
    """A smooth field around 1 that varies by some tens of per cent over the head, as a receive coil's does."""
    from scipy.ndimage import map_coordinates

    knots = rng.normal(0.0, 0.1, (4, 4, 4))
    axes = [np.linspace(0.5, 2.5, n) for n in shape]
    field = map_coordinates(knots, np.meshgrid(*axes, indexing="ij"), order=3, mode="nearest")
    bias: Floats = np.exp(field).astype(np.float32)
    return bias


def _rotation(degrees: tuple[float, ...]) -> Array:
    """Turns around x, then y, then z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Array = around_z @ around_y @ around_x
    return turned


def _installed() -> Path:
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(MEDICINE)
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"
