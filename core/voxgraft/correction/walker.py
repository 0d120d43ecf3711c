"""A random walker on a small box, with a prior: smooth where the image is, and breaking where the image has edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

PRIOR = 0.05
"""How much the prior counts beside a neighbour across no edge."""
EDGE = 0.1
"""How much an edge of so many times the usual step of the image costs, as the exponent of its square."""
COARSE = 60_000
"""Voxels above which a grid of half the resolution is solved first."""
TOLERANCE = 1e-2
ROUNDS = 60
REFINED = 12
"""Rounds that bring a solution of half the resolution to the full one."""


def walk(image: NDArray[Any] | None, wanted: Field, free: NDArray[np.bool_], spacing: Sequence[float]) -> Field:
    """What each voxel tends to: 1 and -1 are the two sides, and 0 lies between.

    Minimises the sum of weighted squared differences of neighbours plus `PRIOR` times the squared differences from the
    prior (Grady, Multilabel random walker image segmentation using prior models, CVPR 2005), by conjugate gradients.

    Args:
        image: Intensities of the box; None where only distance counts.
        wanted: The prior where a voxel is free, its fixed value elsewhere; from -1 to 1.
        free: Voxels that are to be decided.
        spacing: Millimetres between voxels along each axis.
    """
    if not free.any():
        return wanted
    smooth = np.zeros(wanted.shape, np.float32) if image is None else _even(image)
    return _solve(smooth, wanted, free, np.asarray(spacing, np.float64), _usual_step(smooth))


def _even(image: NDArray[Any]) -> Field:
    """The image around its median, with that in place of what is not a number."""
    values = image.astype(np.float64)
    known = values[np.isfinite(values)]
    middle = float(np.median(known)) if len(known) else 0.0
    spread = float(np.abs(known - middle).max(initial=0.0)) or 1.0
    even: Field = (np.nan_to_num(values - middle, nan=0.0, posinf=spread, neginf=-spread) / spread).astype(np.float32)
    return even


def _usual_step(image: Field) -> float:
    """The standard deviation of differences between neighbours, estimated by their median (edges are the exception)."""
    steps = [np.abs(np.diff(image, axis=axis)).ravel() for axis in range(image.ndim)]
    return 1.4826 * float(np.median(np.concatenate(steps))) if sum(map(len, steps)) else 0.0


def _solve(image: Field, wanted: Field, free: NDArray[np.bool_], spacing: NDArray[np.float64], usual: float) -> Field:
    start, rounds = wanted, ROUNDS
    if image.size > COARSE and min(image.shape) >= 4:
        half = (slice(None, None, 2),) * image.ndim
        coarse = _solve(image[half], wanted[half], free[half], 2 * spacing, usual)
        for axis, size in enumerate(image.shape):
            coarse = np.repeat(coarse, 2, axis)[(slice(None),) * axis + (slice(0, size),)]
        start, rounds = np.where(free, coarse, wanted), REFINED
    return _descend(_weights(image, spacing, usual), wanted, free, start, rounds)


def _weights(image: Field, spacing: NDArray[np.float64], usual: float) -> list[Field]:
    """How closely neighbours along each axis are tied: 1 on the whole, less across edges and long steps."""
    nearness = spacing**-2.0
    nearness = np.maximum(nearness / nearness.max(), 1e-3)
    weights = []
    for axis, near in enumerate(nearness):
        step = np.diff(image, axis=axis)
        with np.errstate(over="ignore"):
            weights.append(np.exp(-EDGE * (step / np.float32(usual + 1e-6)) ** 2) * np.float32(near))
    return weights


def _descend(weights: list[Field], wanted: Field, free: NDArray[np.bool_], start: Field, rounds: int) -> Field:
    """Conjugate gradients from a start, with the diagonal as preconditioner; what is not free keeps its value."""
    from scipy.sparse.linalg import LinearOperator, cg

    ties = _sum_of_ties(weights, wanted.shape)
    diagonal = np.where(free, ties + np.float32(PRIOR), 1).ravel()

    def product(vector: NDArray[Any]) -> NDArray[Any]:
        field = vector.reshape(wanted.shape).astype(np.float32, copy=False)
        inner = np.where(free, field, 0)
        return np.where(free, _laplacian(weights, ties, inner) + np.float32(PRIOR) * inner, field).ravel()

    fixed = np.where(free, 0, wanted)
    target = np.where(free, np.float32(PRIOR) * wanted - _laplacian(weights, ties, fixed), wanted)
    system, scale = (
        _operator(LinearOperator, target.size, part) for part in (product, lambda vector: vector / diagonal)
    )
    solution, _ = cg(system, target.ravel(), x0=start.ravel(), rtol=TOLERANCE, maxiter=rounds, M=scale)
    return np.asarray(solution, np.float32).reshape(wanted.shape)


def _operator(kind: Any, size: int, work: Callable[[NDArray[Any]], NDArray[Any]]) -> Any:
    return kind((size, size), matvec=work, dtype=np.float32)


def _sum_of_ties(weights: list[Field], shape: tuple[int, ...]) -> Field:
    total = np.zeros(shape, np.float32)
    for axis, weight in enumerate(weights):
        line, along = np.moveaxis(total, axis, 0), np.moveaxis(weight, axis, 0)
        line[1:] += along
        line[:-1] += along
    return total


def _laplacian(weights: list[Field], ties: Field, field: Field) -> Field:
    result = ties * field
    for axis, weight in enumerate(weights):
        line, along, value = (np.moveaxis(part, axis, 0) for part in (result, weight, field))
        line[1:] -= along * value[:-1]
        line[:-1] -= along * value[1:]
    return result
