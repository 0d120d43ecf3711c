"""Pictures: values as Pillow and tifffile see them, axes as on the screen, and no half grey image of a cut file."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image, PngImagePlugin

from declared import declared_entries
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import scan as scan_path
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.imaging.write import write
from voxgraft_plugins.pictures.options import PictureOptions, PngWriterOptions, TiffOptions, TiffWriterOptions
from voxgraft_plugins.pictures.picture import PictureReader
from voxgraft_plugins.pictures.place import dots
from voxgraft_plugins.pictures.stack import TiffReader
from voxgraft_plugins.pictures.writers import PngWriter, TiffWriter

SCREEN = np.diag([-1.0, -1.0, 1.0, 1.0])
TURNED = np.array([[0, 0.7, 0, 3.0], [0.5, 0, 0, 4.0], [0, 0, 2.5, 5.0], [0, 0, 0, 1]])
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 30)).astype(np.uint8)
COLOUR = RANDOM.integers(0, 256, (20, 30, 3)).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (20, 30)).astype(np.uint16)
STACK = RANDOM.integers(0, 60000, (5, 20, 30)).astype(np.uint16)


def reader(path: Path) -> Any:
    return TiffReader(TiffOptions()) if path.suffix in (".tif", ".tiff") else PictureReader(PictureOptions())


def scan(path: Path) -> Item:
    (item,) = reader(path).scan([path])
    return item


def read(path: Path) -> Volume:
    item = scan(path)
    volume: Volume = reader(path).read(item)
    assert (volume.shape, volume.channels) == (item.shape, item.channels)
    return volume


def rows(volume: Volume) -> np.ndarray[Any, Any]:
    """The array as Pillow has it: (y, x) or (y, x, colour)."""
    return volume.array.T if volume.channels == 1 else volume.array.transpose(2, 1, 0)


def saved(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_drive_is_read_as_it_is(data: Path) -> None:
    images = sorted((data / "drive" / "images").glob("*.tif"))
    assert len(images) == 20
    for image in images:
        volume = read(image)
        assert (volume.shape, volume.channels, volume.dims) == ((565, 584), 3, 2)
        np.testing.assert_array_equal(rows(volume), np.asarray(Image.open(image)))
    masks = [*sorted((data / "drive" / "1st_manual").glob("*.gif")), *sorted((data / "drive" / "mask").glob("*.gif"))]
    assert len(masks) == 40
    for mask in masks:
        volume = read(mask)
        assert volume.shape == (565, 584) and set(np.unique(volume.array)) == {0, 255}


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".pgm", ".tif"])
def test_grey_is_grey_and_lies_as_simpleitk_has_it(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", GREY)
    volume = read(path)
    np.testing.assert_array_equal(rows(volume), GREY)
    np.testing.assert_array_equal(volume.affine, SCREEN)
    assert volume.array.flags.f_contiguous and "no-spacing" in [one.code for one in scan(path).problems]
    if suffix in (".png", ".bmp", ".tif"):
        theirs = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((3, 4))
        np.testing.assert_allclose([-theirs[0], -theirs[1]], (volume.affine @ [3, 4, 0, 1])[:2])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".jpg"])
def test_colours_are_channels_in_the_order_red_green_blue(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", COLOUR)
    np.testing.assert_array_equal(rows(read(path)), np.asarray(Image.open(path)))
    assert read(path).channels == 3 and read(path).array[0].flags.f_contiguous


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_png_of_16_bits_keeps_them(tmp_path: Path, kind: str) -> None:
    array = DEEP if kind == "grey" else RANDOM.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=array.ndim == 3), str(tmp_path / "a.png"))
    np.testing.assert_array_equal(rows(read(tmp_path / "a.png")), array)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_not_stretched(tmp_path: Path, bits: int) -> None:
    values = (GREY % (1 << bits)).astype(np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(20, -1), axis=-1)
    lines = b"".join(b"\0" + row.tobytes() for row in packed)

    def part(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    head = (30).to_bytes(4, "big") + (20).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    data = part(b"IHDR", head) + part(b"IDAT", zlib.compress(lines)) + part(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    np.testing.assert_array_equal(rows(read(tmp_path / "a.png")), values)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif"])
def test_a_palette_of_greys_gives_greys_and_one_of_colours_colours(tmp_path: Path, suffix: str) -> None:
    picture = Image.fromarray((GREY % 3).astype(np.uint8), mode="P")
    for colours, channels in [([0, 0, 0, 128, 128, 128, 255, 255, 255], 1), ([0, 0, 0, 128, 0, 0, 0, 128, 0], 3)]:
        picture.putpalette(colours + [7, 7, 7] * 253)
        picture.save(tmp_path / f"a{suffix}")
        item, volume = scan(tmp_path / f"a{suffix}"), read(tmp_path / f"a{suffix}")
        table = np.array(colours).reshape(3, 3)
        if suffix == ".tif" or channels == 3:
            np.testing.assert_array_equal(rows(volume).reshape(20, 30, -1), table[GREY % 3][..., : volume.channels])
            assert item.palette is not None and item.palette[1] == tuple(table[1])
        else:
            np.testing.assert_array_equal(rows(volume), table[GREY % 3][..., 0])


def test_transparency_is_left_out_with_a_word(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, GREY])
    for name in ("a.png", "a.tif"):
        path = saved(tmp_path / name, rgba)
        np.testing.assert_array_equal(rows(read(path)), COLOUR)
        assert "alpha" in [one.code for one in scan(path).problems]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_colours_for_printing_are_refused(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / name)
    assert "CMYK" in scan(tmp_path / name).errors[0].message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_viewers_turn_it(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    for name in ("a.jpg", "a.png"):
        path = saved(tmp_path / name, COLOUR, exif=exif)
        np.testing.assert_array_equal(rows(read(path)), np.asarray(ImageOps.exif_transpose(Image.open(path))))
        told = "exif-orientation" in [one.code for one in scan(path).problems]
        assert told == (orientation != 1)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "b.jpg", "a.bmp", "a.gif", "a.ppm", "a.tif", "b.tif", "c.tif"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"b.jpg": {"progressive": True}, "b.tif": {"compression": "tiff_lzw"}}.get(name, {})
    options = {"compression": "tiff_adobe_deflate"} if name == "c.tif" else options
    path = saved(tmp_path / name, COLOUR if name != "a.gif" else GREY, **options)
    whole, cut = path.read_bytes(), tmp_path / f"cut{path.suffix}"
    truth = read(path).array
    for length in (*range(0, len(whole), max(1, len(whole) // 80)), *range(len(whole) - 12, len(whole))):
        cut.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(read(cut).array, truth)  # the last bytes may say nothing of the pixels
        except BadImage as error:
            assert "cut" in str(error) and str(error).isprintable()
        else:
            assert length > len(whole) - 12, length


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.tif", "b.tif"])
def test_random_bytes_never_crash(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, GREY, **({"compression": "tiff_lzw"} if name == "b.tif" else {}))
    whole, random = path.read_bytes(), np.random.default_rng(2)
    for _ in range(150):
        at = int(random.integers(0, len(whole)))
        path.write_bytes(whole[:at] + random.bytes(int(random.integers(1, 9))) + whole[at + 8 :])
        item = scan(path)
        assert all(one.message.isprintable() for one in item.problems)
        if not item.errors:
            try:
                assert reader(path).read(item).shape == item.shape
            except BadImage:
                continue


@pytest.mark.parametrize("kind", ["deflate", "imagej", "lzw"])
def test_a_stack_cut_anywhere_never_becomes_a_smaller_one(tmp_path: Path, kind: str) -> None:
    path, cut = tmp_path / "a.tif", tmp_path / "cut.tif"
    if kind == "deflate":
        tifffile.imwrite(path, STACK, compression="zlib")
    elif kind == "imagej":
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    else:
        pages = [Image.fromarray((page >> 8).astype(np.uint8)) for page in STACK]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    whole = path.read_bytes()
    assert read(path).shape == (30, 20, 5)
    for length in range(0, len(whole) - 12, len(whole) // 80):
        cut.write_bytes(whole[:length])
        with pytest.raises(BadImage, match="cut"):
            read(cut)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY)
    whole = path.read_bytes()
    for at in range(33, len(whole) - 12, 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(BadImage):
            read(path)


def test_moving_pictures_and_empty_files_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    for name in ("a.gif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert "several-frames" in [one.code for one in scan(tmp_path / name).errors]
        (tmp_path / name).write_bytes(b"")
        assert [one.code for one in scan(tmp_path / name).errors] == ["unreadable"]


def test_bombs_are_refused_from_their_headers(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("1", (20000, 20000)).save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    assert "170 million pixels" in scan(tmp_path / "a.png").errors[0].message
    path = saved(tmp_path / "small.png", GREY)
    assert "600" not in str(PictureReader(PictureOptions(pixels=600)).scan([path])[0].errors)
    assert PictureReader(PictureOptions(pixels=599)).scan([path])[0].errors[0].code == "too-large"
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    assert "600 voxels" in TiffReader(TiffOptions(voxels=500)).scan([tmp_path / "a.tif"])[0].errors[0].message
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for name in ("ImageWidth", "ImageLength"):
            at = file.pages.first.tags[name].valueoffset
            data[at : at + 2] = (30000).to_bytes(2, "little")
    (tmp_path / "a.tif").write_bytes(data)
    assert scan(tmp_path / "a.tif").errors


@pytest.mark.parametrize(
    ("array", "options", "shape", "channels"),
    [
        (STACK, {}, (30, 20, 5), 1),
        (STACK, {"compression": "zlib", "predictor": 2}, (30, 20, 5), 1),
        (STACK.astype(">u2"), {"byteorder": ">"}, (30, 20, 5), 1),
        (STACK / np.float32(7), {}, (30, 20, 5), 1),
        (STACK[:3].astype(np.uint8), {"photometric": "rgb", "planarconfig": "separate"}, (30, 20), 3),
        (RANDOM.integers(0, 99, (4, 20, 30, 3)).astype(np.uint8), {"photometric": "rgb"}, (30, 20, 4), 3),
        (RANDOM.integers(0, 65536, (20, 30, 3)).astype(np.uint16), {"photometric": "rgb"}, (30, 20), 3),
        (STACK, {"metadata": {"axes": "CYX"}}, (30, 20), 5),
        (STACK[None], {"ome": True, "metadata": {"axes": "CZYX"}}, (30, 20, 5), 1),
        (np.stack([STACK, STACK + 1]), {"ome": True, "metadata": {"axes": "TZYX"}}, (30, 20, 5), 2),
        (DEEP > 30000, {}, (30, 20), 1),
        (DEEP.astype(np.float64), {}, (30, 20), 1),
    ],
)
def test_tiff_of_every_kind(
    tmp_path: Path, array: np.ndarray[Any, Any], options: dict[str, Any], shape: tuple[int, ...], channels: int
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    volume = read(tmp_path / "a.tif")
    assert (volume.shape, volume.channels) == (shape, channels)
    plain = np.moveaxis(array, -1, 0) if array.shape[-1] == 3 else array
    plain = plain.squeeze()
    lead = 1 if channels > 1 else 0
    expected = plain.transpose(*range(lead), *range(plain.ndim - 1, lead - 1, -1))
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype.isnative and volume.array.dtype != np.float64


def test_white_as_the_lowest_value_is_turned_round(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(rows(read(tmp_path / "a.tif")), 255 - GREY)
    Image.fromarray(GREY > 99).save(tmp_path / "b.tif", compression="group4")
    np.testing.assert_array_equal(rows(read(tmp_path / "b.tif")), GREY > 99)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_stacks_packed_by_other_programs(tmp_path: Path, compression: str) -> None:
    pages = [Image.fromarray((page >> 8).astype(np.uint8)) for page in STACK]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    with Image.open(tmp_path / "a.tif") as picture:
        for index, plane in enumerate(read(tmp_path / "a.tif").array.transpose(2, 1, 0)):
            picture.seek(index)
            np.testing.assert_array_equal(plane, np.asarray(picture))


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (STACK.astype(np.complex64), {}, "type that is not read"),
        (np.ones((2, 3, 4, 20, 30), np.uint8), {"ome": True, "metadata": {"axes": "TCZYX"}}, "axis of channels"),
        (DEEP, {"extratags": [(274, 3, 1, 6, True)]}, "top left"),
    ],
)
def test_tiff_that_is_not_read_says_why(
    tmp_path: Path, array: np.ndarray[Any, Any], options: dict[str, Any], words: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    assert words in scan(tmp_path / "a.tif").errors[0].message
    tifffile.imwrite(tmp_path / "b.tif", GREY)
    tifffile.imwrite(tmp_path / "b.tif", GREY[:5], append=True)
    assert "2 images of different size" in scan(tmp_path / "b.tif").errors[0].message


def test_the_sizes_that_microscopes_write_are_millimetres(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "ome.tif", STACK, ome=True, metadata={"axes": "ZYX", **sizes})
    assert scan(tmp_path / "ome.tif").spacing == pytest.approx((0.0005, 0.00025, 2.0))
    notes = {"axes": "ZYX", "spacing": 3.0, "unit": "mm"}
    tifffile.imwrite(tmp_path / "ij.tif", STACK, imagej=True, resolution=(10, 5), metadata=notes)
    assert scan(tmp_path / "ij.tif").spacing == pytest.approx((0.1, 0.2, 3.0))
    tifffile.imwrite(tmp_path / "cm.tif", GREY, resolution=(14.2857142857, 20), resolutionunit="CENTIMETER")
    assert scan(tmp_path / "cm.tif").spacing == pytest.approx((0.7, 0.5), rel=1e-4)
    for name in ("ome.tif", "ij.tif", "cm.tif"):
        assert scan(tmp_path / name).problems == ()


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_a_resolution_for_screens_and_printers_is_no_size(tmp_path: Path, dpi: int) -> None:
    for name in ("a.png", "a.tif", "a.jpg"):
        path = saved(tmp_path / name, GREY, dpi=(dpi, dpi))
        assert scan(path).spacing == (1, 1) and [one.code for one in scan(path).problems] == ["no-spacing"]
    assert (
        dots(float("nan"), 3) is None and dots(0, 0) is None and dots(36.5, 36.5) == pytest.approx((25.4 / 36.5,) * 2)
    )


@pytest.mark.parametrize(
    ("shape", "dims", "dtype"),
    [
        ((30, 20), 2, np.uint8),
        ((30, 20), 2, np.uint16),
        ((3, 30, 20), 2, np.uint8),
        ((30, 20), 2, np.bool_),
        ((30, 20), 2, np.int16),
        ((30, 20, 4), 3, np.int16),
        ((30, 20, 1), 3, np.uint8),
        ((2, 30, 20, 4), 3, np.float32),
        ((3, 30, 20, 4), 3, np.uint8),
        ((5, 30, 20), 2, np.uint8),
    ],
)
def test_what_is_written_is_read_back_with_its_place(
    tmp_path: Path, shape: tuple[int, ...], dims: int, dtype: Any
) -> None:
    array = RANDOM.integers(0, 200, shape).astype(dtype)
    if dtype == np.int16:
        array -= 100
    volume = Volume(array, TURNED, dims=dims)
    TiffWriter(TiffWriterOptions()).write(volume, tmp_path / "a.tif", labels=None, facts={})
    paths = [tmp_path / "a.tif"]
    if dims == 2 and dtype != np.int16 and shape[0] != 5:
        PngWriter(PngWriterOptions()).write(volume, tmp_path / "a.png", labels=None, facts={})
        paths.append(tmp_path / "a.png")
    for path in paths:
        back = read(path)
        np.testing.assert_array_equal(back.array, array)
        np.testing.assert_array_equal(back.affine, TURNED)
        assert back.dims == dims and scan(path).problems == ()


def test_what_a_png_cannot_hold_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    for array, dims, labels in [
        (STACK, 3, None),
        (GREY / 2, 2, None),
        (GREY.astype(np.int16) - 300, 2, None),
        (np.ones((5, 20, 30), np.uint8), 2, None),
        (GREY / 2, 2, Labels()),
    ]:
        with pytest.raises(DataError, match=r"a\.png"):
            volume = Volume(array, SCREEN, dims=dims)
            PngWriter(PngWriterOptions()).write(volume, tmp_path / "a.png", labels=labels, facts={})
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_affine_in_a_picture_is_left_out(tmp_path: Path) -> None:
    for text in ("[[1]]", "not json", "[" * 9000, '[["nan",0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]'):
        notes = PngImagePlugin.PngInfo()
        notes.add_text("voxgraft.affine", text)
        np.testing.assert_array_equal(scan(saved(tmp_path / "a.png", GREY, pnginfo=notes)).affine, SCREEN)


def test_in_a_folder_pictures_give_way_to_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    import nibabel as nib

    saved(tmp_path / "preview.png", GREY)
    saved(tmp_path / "photo.jpg", GREY)
    assert [item.path.name for item in scan_path(tmp_path, catalogue)] == ["photo.jpg", "preview.png"]
    nib.save(nib.Nifti1Image(GREY[..., None], np.eye(4)), tmp_path / "scan.nii.gz")
    assert [item.path.name for item in scan_path(tmp_path, catalogue)] == ["scan.nii.gz"]
    assert [item.reader for item in scan_path(tmp_path / "preview.png", catalogue)] == ["picture"]


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_a_mask_of_pixels_without_a_size_has_none_either(tmp_path: Path, name: str) -> None:
    volume = read(saved(tmp_path / "a.png", GREY))
    write(volume, tmp_path / name, discover(declared_entries()))
    back = scan(tmp_path / name)
    assert [one.code for one in back.problems] == ["no-spacing"] and not back.sized
    np.testing.assert_array_equal(back.affine, volume.affine)
    sized = Volume(volume.array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    write(sized, tmp_path / name, discover(declared_entries()))
    assert scan(tmp_path / name).sized, "here 1 mm is known"
    elsewhere = Volume(volume.array, np.diag([1.0, 1.0, 1.0, 1.0]), item=volume.item)
    write(elsewhere, tmp_path / name, discover(declared_entries()))
    np.testing.assert_array_equal(scan(tmp_path / name).affine, elsewhere.affine)


def test_slices_whose_distance_nobody_knows_make_no_volume(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "ome.tif", STACK, ome=True, metadata={"axes": "ZYX", **sizes})
    notes = {"axes": "ZYX", "unit": "mm"}
    tifffile.imwrite(tmp_path / "ij.tif", STACK, imagej=True, resolution=(10, 5), metadata=notes)
    tifffile.imwrite(tmp_path / "cm.tif", STACK, resolution=(14.2857142857, 20), resolutionunit="CENTIMETER")
    for name in ("ome.tif", "ij.tif", "cm.tif"):
        (problem,) = scan(tmp_path / name).problems
        assert problem.code == "no-spacing" and "how far apart its slices are" in problem.message
        assert scan(tmp_path / name).spacing[2] == 1 and scan(tmp_path / name).spacing[0] < 1
    tifffile.imwrite(tmp_path / "flat.tif", GREY, ome=True, metadata={"axes": "YX", **sizes})
    assert scan(tmp_path / "flat.tif").problems == ()
