"""Every unit, length and order in a NRRD header is honoured or refused, and so are segments without layer and value."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item, Volume
from voxgraft_plugins.itk.nrrd import parse_nrrd
from voxgraft_plugins.itk.reader import TextReader

READER = TextReader("nrrd", parse_nrrd)
DIRECTIONS = ["space: RAS", "space directions: (2,0,0) (0,2,0) (0,0,5)", "space origin: (10,0,0)"]


def header(path: Path, *lines: str, sizes: str = "2 3 4", data: bytes = bytes(range(24))) -> Path:
    """A file of bytes whose header has these lines; a line that begins like another takes its place."""
    fields = {"type": "uint8", "dimension": str(len(sizes.split())), "sizes": sizes, "encoding": "raw"}
    keys = [line for line in lines if ":=" in line]
    fields |= dict(line.split(": ", 1) for line in lines if ":=" not in line)
    rows = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items()), *keys]
    path.write_bytes("\n".join(rows).encode() + b"\n\n" + data)
    return path


def scan(path: Path) -> Item:
    (item,) = READER.scan([path])
    return item


def read(path: Path) -> Volume:
    return READER.read(scan(path))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *[(name, 1e-3) for name in ("um", "µm", "μm", "micron", "microns", "micrometer", "Micrometres")],
        *[(name, 1e-6) for name in ("nm", "nanometers")],
        *[(name, 10.0) for name in ("cm", "centimeter")],
        *[(name, 1000.0) for name in ("m", "meters")],
        ("inches", 25.4),
        *[(name, 1.0) for name in ("mm", "millimeter", "Millimetres", "", "???", "none")],
    ],
)
def test_every_unit_of_length_becomes_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    quoted = " ".join([f'"{unit}"'] * 3)
    by_space = scan(header(tmp_path / "a.nrrd", *DIRECTIONS, f"space units: {quoted}"))
    assert by_space.spacing == pytest.approx((2 * factor, 2 * factor, 5 * factor))
    assert by_space.affine[0, 3] == pytest.approx(10 * factor)
    by_axis = scan(header(tmp_path / "b.nrrd", "spacings: 2 2 5", f"units: {quoted}"))
    assert by_axis.spacing == pytest.approx((2 * factor, 2 * factor, 5 * factor))
    for item in (by_space, by_axis):
        assert ("units" in [one.code for one in item.problems]) == (factor != 1.0)


def test_each_axis_may_have_a_unit_of_its_own(tmp_path: Path) -> None:
    item = scan(header(tmp_path / "a.nrrd", *DIRECTIONS, 'space units: "um" "um" "mm"'))
    assert item.spacing == pytest.approx((0.002, 0.002, 5.0))
    item = scan(header(tmp_path / "b.nrrd", "spacings: 2 2 5", 'units: "um" "mm" "cm"'))
    assert item.spacing == pytest.approx((0.002, 2.0, 50.0))


@pytest.mark.parametrize("unit", ["furlong", "pixel", "s", "mm/s"])
def test_a_unit_that_is_no_length_is_refused(tmp_path: Path, unit: str) -> None:
    for lines in ((*DIRECTIONS, f'space units: "mm" "mm" "{unit}"'), ("spacings: 2 2 5", f'units: "{unit}" "mm" "mm"')):
        assert unit in scan(header(tmp_path / "a.nrrd", *lines)).errors[0].message


@pytest.mark.parametrize(
    ("center", "spacing", "start"), [("cell", 2.0, 1.0), ("node", 2.0 * 4 / 3, 0.0), ("???", 2.0, 1.0)]
)
def test_axes_given_by_their_ends(tmp_path: Path, center: str, spacing: float, start: float) -> None:
    """Four samples from 10 to 18: cells of 2 whose first middle is 11, or nodes at 10, 12.67 ... 18."""
    lines = ["axis mins: 0 0 10", "axis maxs: 2 3 18", f"centers: {center} {center} {center}"]
    item = scan(header(tmp_path / "a.nrrd", *lines))
    assert item.spacing[2] == pytest.approx(spacing) and item.affine[2, 3] == pytest.approx(10 + start)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((*DIRECTIONS, "spacings: 2 2 4"), "spacing 4"),
        ((*DIRECTIONS, "axis mins: 0 nan nan"), "axis mins"),
        ((*DIRECTIONS, "space dimension: 2"), "dimensions"),
        ((*DIRECTIONS, "thicknesses: 1 1"), "thicknesses"),
        ((*DIRECTIONS, "centers: cell middle cell"), "centers"),
        ((*DIRECTIONS, "kinds: domain domain"), "2 kinds for 3 axes"),
        ((*DIRECTIONS, 'space units: "mm" "mm"'), "2 space units for 3 axes"),
        (("spacings: 2 2 5", 'units: "mm"'), "1 units for 3 axes"),
        (("spacings: 2 2 5", "axis mins: 0 0 0", "axis maxs: 4 6 99"), "contradict"),
        (("space: left-up-superior", *DIRECTIONS[1:]), "left-up-superior"),
        (("kinds: HSV-color domain domain", "sizes: 3 2 4"), "HSV"),
        (("endian: middle", "type: short"), "middle"),
        (("type: short", "encoding: bzip2"), "order of bytes"),
    ],
)
def test_what_contradicts_itself_or_means_nothing_is_refused(
    tmp_path: Path, lines: tuple[str, ...], words: str
) -> None:
    path = header(tmp_path / "a.nrrd", *lines)
    assert words in scan(path).errors[0].message
    with pytest.raises(BadImage, match=re.escape(words)):
        read(path)


def test_fields_that_say_the_same_twice_are_read(tmp_path: Path) -> None:
    lines = [
        *DIRECTIONS,
        "spacings: 2 2 5",
        "thicknesses: nan nan 4",
        "centers: cell cell node",
        "kinds: space space space",
    ]
    assert scan(header(tmp_path / "a.nrrd", *lines)).errors == ()
    assert scan(header(tmp_path / "a.nrrd", *lines)).spacing == (2, 2, 5)


@pytest.mark.parametrize("encoding", ["raw", "ascii"])
@pytest.mark.parametrize(
    ("skip", "before"), [("line skip: 2", b"one\ntwo\n"), ("byte skip: 5", b"12345"), ("byte skip: 0", b"")]
)
def test_lines_and_bytes_before_the_voxels_are_left_out(
    tmp_path: Path, encoding: str, skip: str, before: bytes
) -> None:
    array = np.arange(24, dtype=np.uint8)
    data = array.tobytes() if encoding == "raw" else b" ".join(str(n).encode() for n in array)
    path = header(tmp_path / "a.nrrd", *DIRECTIONS, f"encoding: {encoding}", skip, data=before + data)
    np.testing.assert_array_equal(read(path).array.ravel(order="F"), array)


LAYERS = np.zeros((3, 5, 4, 3), np.uint8)
LAYERS[0, 0], LAYERS[1, 1], LAYERS[2, 2:4] = 1, 1, 1
NAMES = ("liver", "spleen", "kidney")


def segmentation(path: Path, array: np.ndarray, *keys: str) -> Path:
    none, kind = ("none ", "list ") if array.ndim == 4 else ("", "")
    lines = ["space: LPS", "space origin: (0,0,0)", f"space directions: {none}(1,0,0) (0,1,0) (0,0,2)"]
    lines += [f"kinds: {kind}domain domain domain", *keys]
    return header(path, *lines, sizes=" ".join(map(str, array.shape)), data=array.tobytes("F"))


@pytest.mark.parametrize("extra", [(), ("Layer",), ("LabelValue",)])
def test_segments_without_layer_or_value_are_the_layers_in_order(tmp_path: Path, extra: tuple[str, ...]) -> None:
    """As 3D Slicer saved them before 4.11, and as it reads what lacks one of the two."""
    told = {"Layer": lambda n: n, "LabelValue": lambda n: 1}
    keys = [f"Segment{n}_{key}:={told[key](n)}" for n in range(3) for key in extra]
    keys += [f"Segment{n}_Name:={name}" for n, name in enumerate(NAMES)]
    volume = read(segmentation(tmp_path / "a.seg.nrrd", LAYERS, *keys))
    assert volume.item is not None and volume.item.facts["names"] == list(NAMES)
    assert [int(channel.sum()) for channel in volume.array] == [12, 12, 24]


def test_one_segment_alone_has_the_value_one(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "a.seg.nrrd", LAYERS[2], "Segment0_ID:=Segment_1", "Segment0_Extent:=0 4 0 3 0 2")
    assert scan(path).facts["segments"] == [{"name": "Segment_1", "value": 1, "layer": 0}]
    path = segmentation(tmp_path / "b.seg.nrrd", LAYERS * 7, "Segment0_Layer:=2", "Segment0_LabelValue:=7")
    assert read(path).array.shape == (5, 4, 3) and np.unique(read(path).array).tolist() == [0, 7]
    assert np.count_nonzero(read(path).array) == 24


@pytest.mark.parametrize(
    ("layers", "keys", "words"),
    [
        (2, [f"Segment{n}_Name:={name}" for n, name in enumerate(NAMES)], "layer 2, and it has 2"),
        (3, ["Segment0_Layer:=5"], "layer 5"),
        (1, ["Segment0_Layer:=1"], "layer 1, and it has 1"),
        (1, ["Segment0_Name:=liver", "Segment1_Name:=spleen"], "the same value in the same layer"),
        (3, ["Segment0_LabelValue:=one"], "no proper value"),
    ],
)
def test_segments_that_the_voxels_cannot_hold_are_refused(
    tmp_path: Path, layers: int, keys: list[str], words: str
) -> None:
    array = LAYERS[:layers] if layers > 1 else LAYERS[0]
    assert words in scan(segmentation(tmp_path / "a.seg.nrrd", array, *keys)).errors[0].message
