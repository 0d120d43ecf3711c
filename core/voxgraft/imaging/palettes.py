"""Masks whose voxels are numbers of colours in a palette: the number is the structure, the colour is for the eye.

Programs that reduce colours give the numbers anew for each file. So the same number must have the same colour in all
masks of a data set, and black, the usual background, must be number 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadImage, DataError

if TYPE_CHECKING:
    from .volume import Colour

BLACK = (0, 0, 0)
WHAT_TO_DO = "save the masks as grey pictures whose values are the structures"


def check_background(palette: Mapping[int, Colour], name: object) -> None:
    """Refuse a mask in which another number than 0 is black, so that 0 may well be a structure.

    Args:
        palette: The colours of the numbers that stand in the mask.

    Raises:
        BadImage: It is so.
    """
    black = [number for number, colour in palette.items() if colour == BLACK]
    if black and 0 not in black and 0 in palette:
        raise BadImage(
            name,
            f"its palette gives black the number {black[0]} and {palette[0]} the number 0, which is background; "
            f"{WHAT_TO_DO}",
        )


def check_alike(palettes: Iterable[tuple[str, Mapping[Any, Sequence[int]]]]) -> None:
    """Refuse masks whose palettes give one number different colours.

    Args:
        palettes: Names of masks, and the colours of the numbers that stand in them.

    Raises:
        DataError: Two differ; the message names both.
    """
    first: dict[Any, tuple[str, tuple[int, ...]]] = {}
    for name, palette in palettes:
        for number, parts in palette.items():
            colour = tuple(parts)
            other, known = first.setdefault(number, (name, colour))
            if known != colour:
                raise DataError(
                    f"the palettes of the masks differ: the value {number} is the colour {known} in {other} and "
                    f"{colour} in {name}, so it may mean two structures; {WHAT_TO_DO}"
                )
