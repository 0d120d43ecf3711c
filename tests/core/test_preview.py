"""Previews: the right slices, the right way round, in true proportions, with contours where the mask is."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import find_objects

from voxgraft.errors import DataError
from voxgraft.imaging.structures import boxes_of
from voxgraft.imaging.volume import Item, Problem, Volume
from voxgraft.reports.display import BONE, LUNG, SOFT_TISSUE, display_window, grey_of
from voxgraft.reports.drawing import COLOURS, colour_of
from voxgraft.reports.preview import TILE, preview, previewed, worth_a_glance

RAS = np.diag([1.0, 1.0, 1.0, 1.0])


class Window:
    """A modality that shows 0 to 100."""

    augmentation: dict[str, float] = {}  # noqa: RUF012

    def window(self, array: Any) -> tuple[float, float]:
        return 0.0, 100.0


def drawn(scan: Volume, mask: Volume, target: Path, **options: Any) -> Any:
    preview(scan, mask, Window(), target, **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(target).convert("RGB")).astype(int)


def of_colour(picture: Any, index: int) -> Any:
    """The pixels of a structure's contour; JPEG keeps colours nearly."""
    return (abs(picture - np.array(COLOURS[index])) < 40).all(-1)


def volume(array: Any, affine: Any = RAS) -> Volume:
    return Volume(np.asarray(array), affine)


def bright(picture: Any) -> tuple[float, float]:
    """Where the white block is, as shares of height and width; letters are not as white."""
    rows, columns = np.nonzero((picture > 240).all(-1))
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def one_slice(affine: Any = RAS, axis: int = 2) -> tuple[Volume, Volume]:
    """A dark scan of one thick slice with a white block at the patient's right front (or right top)."""
    shape = [40, 40, 40]
    shape[axis] = 1
    array = np.zeros(shape, np.int16)
    block: list[Any] = [slice(28, 36)] * 3
    block[axis] = slice(None)
    array[tuple(block)] = 100
    thick = np.array(affine, float)
    thick[:3, axis] *= 8
    return volume(array, thick), volume(np.zeros(shape, np.uint8), thick)


@pytest.mark.parametrize("axis", [1, 2])
def test_the_patients_right_is_on_the_left_and_front_or_head_is_up(tmp_path: Path, axis: int) -> None:
    row, column = bright(drawn(*one_slice(axis=axis), tmp_path / "p.png"))
    assert row < 0.4 and column < 0.4


def test_a_sagittal_slice_has_the_front_on_the_left(tmp_path: Path) -> None:
    row, column = bright(drawn(*one_slice(axis=0), tmp_path / "p.png"))
    assert row < 0.4 and column < 0.4


def test_the_order_of_the_scans_axes_does_not_matter(tmp_path: Path) -> None:
    scan, mask = one_slice()
    picture = drawn(scan, mask, tmp_path / "ras.png")
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine
    turned[:3, 3] = [39, 39, 0]
    flipped = drawn(
        volume(scan.array[::-1, ::-1], turned), volume(mask.array[::-1, ::-1], turned), tmp_path / "lps.png"
    )
    swapped = scan.affine[:, [2, 0, 1, 3]]
    moved = drawn(
        volume(scan.array.transpose(2, 0, 1), swapped),
        volume(mask.array.transpose(2, 0, 1), swapped),
        tmp_path / "s.png",
    )
    assert np.array_equal(picture, flipped) and np.array_equal(picture, moved)


def test_slices_lie_across_the_thick_axis_and_keep_their_proportions(tmp_path: Path) -> None:
    array = np.full((20, 10, 30), 50, np.int16)
    affine = np.diag([1.0, 5.0, 1.0, 1.0])
    picture = drawn(volume(array, affine), volume(np.zeros_like(array, np.uint8), affine), tmp_path / "p.png")
    grey = (abs(picture - 127) < 3).all(-1)
    rows, columns = np.nonzero(grey)
    first = grey[rows.min(), columns.min() :]
    width = int(np.argmin(first)) if not first.all() else len(first)
    assert width == pytest.approx(TILE * 20 / 30, abs=2), "20 x 30 mm of the plane across the 5 mm axis"


def test_contours_lie_on_the_edge_of_the_mask(tmp_path: Path) -> None:
    scan, mask = one_slice()
    labels = mask.array.copy()
    labels[10:20, 10:20] = 1
    picture = drawn(scan, mask.with_array(labels), tmp_path / "p.png")
    painted = of_colour(picture[:TILE], 0)
    rows, columns = np.nonzero(painted)
    scale = TILE / 40
    assert np.ptp(rows) == pytest.approx(10 * scale, abs=scale) and np.ptp(columns) == pytest.approx(
        10 * scale, abs=scale
    )
    inside = painted[rows.min() + 8 : rows.max() - 8, columns.min() + 8 : columns.max() - 8]
    assert inside.size and not inside.any()
    assert rows.mean() / TILE > 0.5 and columns.mean() / TILE > 0.5, "left and behind: right and below in the picture"


def test_the_slice_where_a_structure_is_largest_is_shown() -> None:
    labels = np.zeros((20, 20, 40), np.uint8)
    labels[5:8, 5:8, 10:30] = 1
    labels[2:18, 2:18, 23] = 1
    labels[9:12, 9:12, 12] = 2
    chosen = worth_a_glance(labels, 2)
    assert {12, 23} <= set(chosen) and len(chosen) <= 6 and min(chosen) >= 10 and max(chosen) <= 29
    assert chosen == sorted(chosen)


def test_more_structures_than_pictures_give_six() -> None:
    labels = np.zeros((10, 10, 40), np.uint8)
    for value in range(1, 20):
        labels[2:5, 2:5, 2 * value] = value
    assert len(worth_a_glance(labels, 2)) == 6


def test_nothing_found_is_shown_as_slices_through_the_scan(tmp_path: Path) -> None:
    empty = np.zeros((12, 12, 30), np.uint8)
    assert worth_a_glance(empty, 2) == [4, 8, 12, 17, 21, 25]
    picture = drawn(volume(empty.astype(np.int16)), volume(empty), tmp_path / "p.png", names={1: "liver"})
    assert of_colour(picture, 0).sum() < 200, "no contour, only the legend"


@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0])
def test_absurd_intensities_still_give_a_picture(tmp_path: Path, fill: float) -> None:
    array = np.full((9, 8, 7), fill, np.float32)
    preview(volume(array), volume(np.zeros((9, 8, 7), np.uint8)), None, tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").width > 100


def test_an_image_of_two_axes_is_one_picture_as_it_lies_on_the_screen(tmp_path: Path) -> None:
    colour = np.zeros((3, 40, 20), np.uint8)
    colour[:, :10, :5] = 255  # the left upper corner of a photograph: i to the right, j down
    screen = np.diag([-1.0, -1.0, 1.0, 1.0])
    scan, mask = Volume(colour, screen, dims=2), Volume(np.zeros((40, 20), np.uint8), screen, dims=2)
    picture = drawn(scan, mask, tmp_path / "p.png")
    assert bright(picture) == pytest.approx((0.125, 0.125), abs=0.05)
    assert picture.shape[1] > 1.7 * picture.shape[0]


def test_a_channel_image_shows_its_first(tmp_path: Path) -> None:
    scan, mask = one_slice()
    several = Volume(np.stack([scan.array, np.full_like(scan.array, 100)]), scan.affine)
    assert np.array_equal(drawn(several, mask, tmp_path / "two.png"), drawn(scan, mask, tmp_path / "one.png"))


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scan, mask = one_slice()
    with pytest.raises(DataError, match=r"p\.png: cannot be written"):
        preview(scan, mask, None, tmp_path / "file" / "p.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_second_picture_is_the_same_without_contours() -> None:
    scan, mask = one_slice()
    labels = mask.array.copy()
    labels[10:20, 10:20] = 1
    both = previewed(scan, mask.with_array(labels), None, {1: "liver", 2: "a" * 300})
    with_contours, without = (
        np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int) for data in (both.drawn, both.plain)
    )
    assert with_contours.shape == without.shape, "nothing moves when contours are switched"
    assert of_colour(with_contours, 0).sum() > 500 and not of_colour(without, 0).any()
    middle = with_contours[TILE // 4 : TILE // 3, TILE // 4 : TILE // 3]
    assert abs(middle - without[TILE // 4 : TILE // 3, TILE // 4 : TILE // 3]).max() < 12


def test_no_two_of_a_hundred_structures_have_one_colour() -> None:
    assert len({colour_of(index) for index in range(100)}) == 100


def head(body: Any) -> Any:
    """A body in the air of a scanner, which takes most of the image."""
    noise = np.random.default_rng(0).normal(5, 2, (40, 40, 20)).clip(0)
    noise[12:28, 12:28] = body
    return noise


def test_an_mr_scan_is_not_saturated_by_the_air_around_it() -> None:
    body = np.random.default_rng(1).normal(100, 20, (16, 16, 20))
    low, high = display_window(head(body), None)
    assert (body > high).mean() < 0.006 and low < 10


@pytest.mark.parametrize(("inside", "window"), [(60, SOFT_TISSUE), (-800, LUNG), (700, BONE), (None, SOFT_TISSUE)])
def test_a_ct_scan_of_which_nobody_says_so_gets_the_window_of_what_is_shown(inside: Any, window: Any) -> None:
    scan = np.full((20, 20, 20), -1000, np.int16)
    scan[5:15, 5:15] = 40
    assert display_window(scan, None, None if inside is None else np.full(9, inside)) == window


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 0.0, 1e38, -1000.0])
def test_any_voxels_have_a_window(fill: float) -> None:
    low, high = display_window(np.full((4, 4, 4), fill, np.float32), None, np.full(3, fill, np.float32))
    assert np.isfinite([low, high]).all() and low < high


@pytest.mark.parametrize("structures", [2, 70, 100, 250])
def test_a_grey_preview_has_a_palette_of_greys_and_every_colour(structures: int) -> None:
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[::4, ::4, 0] = (np.arange(256) % (structures + 1)).reshape(16, 16)
    labels = labels.repeat(3, 0).repeat(3, 1)
    picture = previewed(volume(np.full(labels.shape, 77, np.int16)), volume(labels), Window())  # type: ignore[arg-type]
    image = Image.open(BytesIO(picture.drawn))
    assert image.mode == "P" and len(picture.drawn) < 120_000
    shown = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    colours = {colour_of(index) for index in range(structures)}
    assert colours <= shown if structures <= 100 else len(colours & shown) > 200  # captions hide some; there is no room


def test_boxes_that_were_measured_give_the_same_picture() -> None:
    labels = np.zeros((20, 24, 16), np.uint8)
    labels[3:9, 2:20, 4:12], labels[12:14, 5:7, 1:3] = 1, 4
    affine = np.array([[0, -1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, -3.0, 0], [0, 0, 0, 1]])
    scan, mask = volume(np.arange(labels.size).reshape(labels.shape) % 101, affine), volume(labels, affine)
    boxes = {value: box for value, box in enumerate(boxes_of(labels), 1) if box}
    names = {1: "liver", 2: "spleen", 4: "kidney"}
    assert previewed(scan, mask, None, names, boxes) == previewed(scan, mask, None, names)


@pytest.mark.parametrize("seed", range(40))
def test_boxes_are_those_of_scipy_in_any_order_of_memory(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = generator.integers(0 if seed == 7 else 1, 9, int(generator.integers(1, 4)))
    values = np.where(generator.random(shape) < seed / 100, generator.integers(1, 6, shape), 0)
    values = values.astype(("u1", "u2", "i8")[seed % 3]).transpose(generator.permutation(values.ndim))
    values = values[tuple(slice(None, None, int(step)) for step in generator.choice([1, -1], values.ndim))]
    assert boxes_of(values) == find_objects(values)
    assert boxes_of(values, 9) == find_objects(values, max_label=9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("code", "turned"), [("monochrome1", True), ("white-is-zero", True), ("lossy", False)])
def test_low_values_are_bright_where_the_header_says_so(dims: int, code: str, turned: bool) -> None:
    shape = (12, 10, 8)[:dims]
    values = np.linspace(0, 100, int(np.prod(shape))).reshape(shape).astype(np.float32)
    item = Item(Path("x"), "r", shape, RAS, problems=(Problem(code, "it is so", "warning"),))
    mask = Volume(np.zeros(shape, np.uint8), RAS, dims=dims)
    said = previewed(Volume(values, RAS, dims=dims, item=item), mask, Window())  # type: ignore[arg-type]
    plain = previewed(Volume(100 - values if turned else values, RAS, dims=dims), mask, Window())  # type: ignore[arg-type]
    greys = [np.asarray(Image.open(BytesIO(one.plain)).convert("L")).astype(int) for one in (said, plain)]
    assert abs(greys[0] - greys[1]).max() <= 4


def test_what_is_no_number_is_black_and_what_is_infinite_white_or_black_as_low_values_are() -> None:
    plane = np.array([np.nan, np.inf, -np.inf, 0, 100], np.float32)
    assert grey_of(plane, (0, 100)).tolist() == [0, 255, 0, 0, 255]
    assert grey_of(plane, (100, 0)).tolist() == [0, 0, 255, 255, 0]
