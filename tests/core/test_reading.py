"""From paths to images: which reader takes a file, what a tree holds, and which image is meant."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import Options
from voxgraft.errors import BadImage, BrokenPlugin, ComponentConflict, DataError, UsageError
from voxgraft.imaging.channels import stack_channels
from voxgraft.imaging.formats import ReaderSpec, WriterSpec, choose_reader
from voxgraft.imaging.read import read, read_item, scan
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef, Item, Problem, Volume
from voxgraft.imaging.write import choose_writer, write

ARRAY = np.random.default_rng(0).integers(-900, 1100, (7, 6, 5)).astype(np.int16)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def nifti(path: Path, array: Any = ARRAY, affine: Any = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


class Fake:
    """A reader of one voxel that remembers the calls, or fails as it is told."""

    def __init__(self, fails: type[BaseException] | None = None) -> None:
        self.calls: list[list[Path]] = []
        self.fails = fails

    def scan(self, files: Sequence[Path]) -> list[Item]:
        self.calls.append(list(files))
        return [Item(file, "fake", (1, 1), np.eye(4), files=(file,)) for file in files]

    def read(self, item: Item) -> Volume:
        if self.fails:
            raise self.fails(item.path)
        return Volume(np.ones((1, 1)), item.affine)


def offering(*readers: tuple[str, dict[str, Any], Any]) -> Catalogue:
    """A catalogue with readers of (name, further fields of the card, product)."""
    catalogue = Catalogue()
    for number, (name, fields, product) in enumerate(readers):
        plugin = f"p{number}"
        build: Callable[[Any], Any] = lambda _, product=product: product  # noqa: E731
        catalogue.add(plugin, ReaderSpec(name=name, summary="", options=lambda: Options, build=build, **fields))
        catalogue.origins[plugin] = Origin(plugin, "m", "d", "1")
    return catalogue


def names(items: Sequence[Item], root: Path) -> list[str]:
    return sorted(str(item.path.relative_to(root)) for item in items)


def test_a_tree_of_both_formats_is_found_whole(tmp_path: Path, catalogue: Catalogue) -> None:
    nifti(tmp_path / "b" / "one.nii.gz")
    nifti(tmp_path / "b" / "two.NII")
    make_series(tmp_path / "ct" / "first", ARRAY, AFFINE, name="IM{:03d}")
    make_series(tmp_path / "ct" / "second", ARRAY, AFFINE)
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "empty").write_bytes(b"")
    items = scan(tmp_path, catalogue)
    assert names(items, tmp_path) == ["b/one.nii.gz", "b/two.NII", "ct/first", "ct/second"]
    assert [item.shape for item in items] == [(7, 6, 5)] * 4
    for item in items:
        assert read_item(item, catalogue).item is item


def test_hidden_files_and_folders_are_no_images(tmp_path: Path, catalogue: Catalogue) -> None:
    shown = nifti(tmp_path / "a.nii.gz")
    for name in ("._a.nii.gz", ".cache/a.nii.gz", "__MACOSX/a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(shown, tmp_path / name)
    assert names(scan(tmp_path, catalogue), tmp_path) == ["a.nii.gz"]


def test_links_are_followed_once(tmp_path: Path, catalogue: Catalogue) -> None:
    nifti(tmp_path / "tree" / "deep" / "a.nii.gz")
    nifti(tmp_path / "elsewhere" / "b.nii.gz")
    (tmp_path / "tree" / "deep" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree" / "dangling.nii").symlink_to(tmp_path / "nowhere.nii")
    lost, *found = scan(tmp_path / "tree", catalogue)
    assert names(found, tmp_path / "tree") == ["deep/a.nii.gz", "other/b.nii.gz"]
    assert lost.path.name == "dangling.nii" and lost.errors, "a scan that is not there is refused, not left out"


def test_a_file_without_suffix_is_known_by_its_magic(tmp_path: Path, catalogue: Catalogue) -> None:
    (slice_, *_) = make_series(tmp_path, ARRAY, AFFINE, name="CT.1.3.12.{}")
    assert choose_reader(slice_, catalogue).name == "dicom"  # type: ignore[union-attr]
    image = nifti(tmp_path / "image.nii").rename(tmp_path / "image")
    assert choose_reader(image, catalogue).name == "nifti"  # type: ignore[union-attr]
    (tmp_path / "text").write_text("x" * 2000)
    assert choose_reader(tmp_path / "text", catalogue) is None


def test_the_longest_suffix_decides_then_magic_then_nobody(tmp_path: Path) -> None:
    catalogue = offering(
        ("short", {"suffixes": (".gz",)}, Fake()),
        ("long", {"suffixes": (".img.gz",)}, Fake()),
        ("one", {"suffixes": (".raw",), "magic": ((0, b"ONE"),)}, Fake()),
        ("two", {"suffixes": (".raw",), "magic": ((0, b"TWO"),)}, Fake()),
    )
    for name, content, wanted in [("a.IMG.gz", b"", "long"), ("a.gz", b"", "short"), ("b.raw", b"TWO", "two")]:
        (tmp_path / name).write_bytes(content)
        assert choose_reader(tmp_path / name, catalogue).name == wanted  # type: ignore[union-attr]
    (tmp_path / "c.raw").write_bytes(b"nobody's")
    with pytest.raises(DataError, match="'one' and 'two' both claim"):
        choose_reader(tmp_path / "c.raw", catalogue)


def test_only_readers_of_series_get_all_files_at_once(tmp_path: Path) -> None:
    one, all_ = Fake(), Fake()
    catalogue = offering(("one", {"suffixes": (".a",)}, one), ("all", {"suffixes": (".b",), "series": True}, all_))
    for name in ("1.a", "2.a", "1.b", "2.b"):
        (tmp_path / name).write_bytes(b"x")
    assert len(scan(tmp_path, catalogue)) == 4
    assert [len(call) for call in one.calls] == [1, 1] and [len(call) for call in all_.calls] == [2]


def test_what_is_not_there_or_not_known_is_said(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="no such file"):
        scan(tmp_path / "nothing", catalogue)
    with pytest.raises(DataError, match="no file in this folder"):
        scan(tmp_path, catalogue)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BadImage, match=r"known: dicom, .*nifti, nrrd"):
        scan(tmp_path / "a.txt", catalogue)
    with pytest.raises(DataError, match="no file in this folder"):
        scan(tmp_path, catalogue)


def test_one_of_several_series_is_chosen_by_uid_or_description(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "a", ARRAY, AFFINE, SeriesInstanceUID="1.2.3", SeriesDescription="thin")
    make_series(tmp_path / "b", ARRAY + 1, AFFINE, SeriesInstanceUID="1.2.4", SeriesDescription="thick")
    with pytest.raises(DataError, match=r"2 images .* 1\.2\.3 \(thin\); 1\.2\.4 \(thick\)"):
        read(tmp_path, catalogue)
    for volume in (
        read(tmp_path, catalogue, "1.2.4"),
        read(tmp_path, catalogue, "thick"),
        read(ImageRef(tmp_path, "1.2.4"), catalogue),
        read(tmp_path / "b", catalogue),
    ):
        np.testing.assert_array_equal(volume.array, ARRAY + 1)
    with pytest.raises(DataError, match=r"no series '1\.2' here; found: 1\.2\.3 \(thin\)"):
        read(tmp_path, catalogue, "1.2")


def test_several_files_are_told_by_their_names(tmp_path: Path, catalogue: Catalogue) -> None:
    nifti(tmp_path / "one.nii.gz")
    nifti(tmp_path / "two.nii.gz")
    with pytest.raises(DataError, match=r"one\.nii\.gz; .*two\.nii\.gz"):
        read(tmp_path, catalogue)


def test_an_item_with_an_error_is_not_read(tmp_path: Path) -> None:
    reader = Fake()
    catalogue = offering(("fake", {"suffixes": (".a",)}, reader))
    good = Item(tmp_path / "x.a", "fake", (1, 1), np.eye(4), problems=(Problem("odd", "it is odd", "warning"),))
    assert read_item(good, catalogue).item is good
    bad = Item(tmp_path / "x.a", "fake", (1, 1), np.eye(4), problems=(Problem("odd", "it is odd"),))
    with pytest.raises(BadImage, match=r"x\.a: it is odd"):
        read_item(bad, catalogue)


@pytest.mark.parametrize(
    ("fails", "error", "words"),
    [
        (MemoryError, BadImage, "memory"),
        (PermissionError, BadImage, "cannot be read"),
        (KeyError, BrokenPlugin, "plugin 'p0' failed"),
        (BadImage, BadImage, "x.a"),
    ],
)
def test_a_readers_failure_becomes_a_users_error(tmp_path: Path, fails: Any, error: Any, words: str) -> None:
    raised = (lambda path: BadImage(path, "no")) if fails is BadImage else fails
    catalogue = offering(("fake", {"suffixes": (".a",)}, Fake(raised)))
    with pytest.raises(error, match=words):
        read_item(Item(tmp_path / "x.a", "fake", (1, 1), np.eye(4)), catalogue)


def test_two_plugins_with_one_reader_are_a_conflict_when_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "x.a").write_bytes(b"x")
    catalogue = offering(("fake", {"suffixes": (".a",)}, Fake()), ("fake", {"suffixes": (".a",)}, Fake()))
    with pytest.raises(ComponentConflict):
        scan(tmp_path / "x.a", catalogue)


def test_a_truncated_file_in_a_folder_fails_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    nifti(tmp_path / "good.nii.gz")
    bad = nifti(tmp_path / "bad.nii.gz")
    bad.write_bytes(bad.read_bytes()[:200])
    found = {item.path.name: bool(item.errors) for item in scan(tmp_path, catalogue)}
    assert found == {"good.nii.gz": False, "bad.nii.gz": True}
    with pytest.raises(BadImage, match=r"bad\.nii\.gz: "):
        read(bad, catalogue)
    bad.write_bytes(gzip.compress(b"no header"))
    with pytest.raises(BadImage, match="inside the header"):
        read(bad, catalogue)


def write_floats(path: Path, array: Any) -> Path:
    """One image of float32 in the format that its name says."""
    if path.name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    elif path.suffix == ".tif":
        from PIL import Image

        Image.fromarray(array[:, :, 0]).save(path)
    else:
        import SimpleITK as sitk

        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.tif"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_a_problem_in_every_format(
    tmp_path: Path, catalogue: Catalogue, name: str, bad: float
) -> None:
    array = ARRAY.astype(np.float32)
    array[2, 3, 0] = bad
    volume = read(write_floats(tmp_path / name, array), catalogue)
    assert volume.item is not None
    found = [problem for problem in volume.item.problems if problem.code == "not-finite"]
    assert found == [Problem("not-finite", "1 of its voxels is not a finite number", "warning")]
    assert np.count_nonzero(~np.isfinite(volume.array)) == 1
    with pytest.raises(BadImage, match="none of its voxels is a finite number"):
        read(write_floats(tmp_path / name, np.full_like(array, bad)), catalogue)


def test_the_problems_of_every_channel_are_those_of_the_stack() -> None:
    def volume(*problems: Problem) -> Volume:
        item = Item(Path("a"), "fake", ARRAY.shape, AFFINE, problems=problems)
        return Volume(ARRAY, AFFINE, item=item)

    one, other = Problem("a", "a", "warning"), Problem("not-finite", "b", "warning")
    joined = stack_channels([volume(one), volume(one, other)])
    assert joined.item is not None and joined.item.problems == (one, other)


def test_channels_of_one_grid_are_stacked_in_order() -> None:
    one, two = Volume(np.asfortranarray(ARRAY), AFFINE), Volume(ARRAY.astype(np.float32) / 2, AFFINE + 1e-4)
    joined = stack_channels([one, two])
    assert joined.array.shape == (2, 7, 6, 5) and joined.dims == 3 and joined.array.dtype == np.float32
    np.testing.assert_array_equal(joined.array[0], ARRAY)
    np.testing.assert_array_equal(joined.array[1], ARRAY / 2)
    assert stack_channels([one]) is one
    flat = stack_channels([Volume(ARRAY[:, :, 0], AFFINE), Volume(ARRAY[:, :, 1], AFFINE)])
    assert (flat.array.shape, flat.dims, flat.shape) == ((2, 7, 6), 2, (7, 6))


def test_channels_of_other_grids_are_refused_with_the_distance() -> None:
    moved, turned = AFFINE.copy(), AFFINE.copy()
    moved[:3, 3] = [0, 3, 4]
    turned[0, 0] = -1.1
    first = Volume(ARRAY, AFFINE)
    for other, words in [
        (Volume(ARRAY, moved), "up to 5 mm off"),
        (Volume(ARRAY, turned), r"up to 0\.6 mm off"),
        (Volume(ARRAY[1:], AFFINE), "6x6x5 voxels and the first channel 7x6x5"),
        (Volume(np.stack([ARRAY, ARRAY]), AFFINE), "2 channels itself"),
    ]:
        with pytest.raises(DataError, match=f"channel 2: .*{words}"):
            stack_channels([first, other])
    with pytest.raises(DataError):
        stack_channels([])


def test_the_writer_is_chosen_by_the_name_of_the_target(tmp_path: Path, catalogue: Catalogue) -> None:
    assert choose_writer(tmp_path / "a.NII.GZ", catalogue).name == "nifti"
    with pytest.raises(UsageError, match=r"a\.xyz: no writer .* nifti: \.nii, \.nii\.gz"):
        choose_writer(tmp_path / "a.xyz", catalogue)
    write(Volume(ARRAY, AFFINE), tmp_path / "a.nii.gz", catalogue)
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz", catalogue).array, ARRAY)


class FakeWriter:
    def write(self, volume: Volume, target: Path, **_: Any) -> None:
        raise KeyError("inside")


def test_a_writer_is_asked_only_for_what_it_can_do(tmp_path: Path) -> None:
    catalogue, volume = Catalogue(), Volume(ARRAY, AFFINE)
    for name, fields in {"picture": {"labels": False}, "seg": {"needs": "dicom"}, "twin": {}, "other": {}}.items():
        suffix = ".same" if name in ("twin", "other") else f".{name}"
        card: dict[str, Any] = {"suffixes": (suffix,), "filename": f"mask{suffix}", **fields}
        build: Callable[[Any], Any] = lambda _: FakeWriter()  # noqa: E731
        catalogue.add(name, WriterSpec(name=name, summary="", options=lambda: Options, build=build, **card))
        catalogue.origins[name] = Origin(name, "m", "d", "1")
    with pytest.raises(DataError, match="images, not masks"):
        write(volume, tmp_path / "a.picture", catalogue, Labels())
    with pytest.raises(DataError, match="needs a scan that was read by the reader 'dicom'"):
        write(volume, tmp_path / "a.seg", catalogue)
    with pytest.raises(UsageError, match="'other' and 'twin' both handle"):
        write(volume, tmp_path / "a.same", catalogue)
    with pytest.raises(BrokenPlugin, match="plugin 'twin' failed while writing"):
        write(volume, tmp_path / "a.same", catalogue, writer="twin")
    assert list(tmp_path.iterdir()) == []
