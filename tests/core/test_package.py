"""Packages: what is written is read back, and whatever is not exactly a package is refused."""

from __future__ import annotations

import json
import math
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxgraft.errors import ModelError
from voxgraft.imaging.structures import Label, Labels
from voxgraft.packages import package
from voxgraft.packages.archive import pack, unpack
from voxgraft.packages.package import MANIFEST, MEMBERS, amend_package, read_package, write_package
from voxgraft.preprocessing.plan import Plan
from voxgraft.support.files import sha256
from voxgraft.testing.damage import mutations

PLAN = Plan(
    dims=3,
    image_dims=3,
    channels=("ct",),
    labels=((1, "liver"),),
    modality="ct",
    normalisation=({"mean": 1.0},),
    spacing=(1.0, 1.0, 3.0),
    patch=(16, 16, 8),
    batch=2,
    strides=((1, 1, 1),),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "package"
    write_package(
        target,
        tensors={"weight": torch.arange(24.0).reshape(2, 3, 4).transpose(0, 1)},
        plan=PLAN,
        workflow="voxgraft: 1\n",
        labels=Labels((Label(1, "liver", ("10200004", "SCT", "Liver")),)),
        card="# liver\n",
        facts={"name": "liver", "data": {"hash": "abc"}},
    )
    return target


def change_manifest(folder: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    (folder / MANIFEST).write_text(json.dumps(document))


def rename_in_manifest(folder: Path, member: str) -> None:
    """Let the manifest agree with a member that was exchanged, as somebody would who wants it to be loaded."""
    path = folder / member
    entry = {"size": path.stat().st_size, "sha256": sha256(path)}
    change_manifest(folder, lambda document: document["files"].update({member: entry}))


def test_what_is_written_is_read_back(folder: Path) -> None:
    from safetensors.torch import load_file

    package = read_package(folder)
    assert package.plan == PLAN and package.name == "liver" and package.facts["data"] == {"hash": "abc"}
    assert package.labels.items[0].code == ("10200004", "SCT", "Liver")
    assert torch.equal(load_file(package.weights)["weight"], torch.arange(24.0).reshape(2, 3, 4).transpose(0, 1))
    assert {path.name for path in folder.iterdir()} == {*MEMBERS, MANIFEST}


def test_another_card_is_the_same_model_and_other_weights_are_another(folder: Path, tmp_path: Path) -> None:
    before = read_package(folder)
    after = amend_package(folder, card="# better words\n", facts={"scores": {"dice": {}}})
    assert after.hash == before.hash and after.facts["scores"] == {"dice": {}} and after.facts["name"] == "liver"
    other = write_package(
        tmp_path / "other",
        tensors={"weight": torch.zeros(3)},
        plan=PLAN,
        workflow="voxgraft: 1\n",
        labels=before.labels,
        card="# liver\n",
        facts={},
    )
    assert other.hash != before.hash


@pytest.mark.parametrize("killed_at", ["card.md", MANIFEST])
def test_a_death_while_a_card_is_changed_leaves_the_package_as_it_was(
    folder: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new card beside an old manifest would be a package that nothing opens."""
    before = read_package(folder)
    real = package.write_text if killed_at == "card.md" else package.write_json

    def dies(target: Path, content: object) -> None:
        real(target, content)
        if target.name == killed_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(package, "write_text" if killed_at == "card.md" else "write_json", dies)
    with pytest.raises(KeyboardInterrupt):
        amend_package(folder, card="# other words\n", facts={"scores": {"dice": {}}})
    monkeypatch.undo()
    assert read_package(folder) == before


@pytest.mark.parametrize("member", MEMBERS)
def test_one_flipped_bit_is_found(folder: Path, member: str) -> None:
    content = bytearray((folder / member).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / member).write_bytes(content)
    with pytest.raises(ModelError, match=f"{member}.*hash differs"):
        read_package(folder)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_missing_file_is_named(folder: Path, member: str) -> None:
    (folder / member).unlink()
    with pytest.raises(ModelError, match=f"lacks its file {member}"):
        read_package(folder)


def test_a_longer_file_of_the_same_beginning_is_found(folder: Path) -> None:
    with (folder / "card.md").open("a") as file:
        file.write("x")
    with pytest.raises(ModelError, match=r"card\.md.*hash differs"):
        read_package(folder)


def test_a_link_is_no_member(folder: Path, tmp_path: Path) -> None:
    (folder / "card.md").rename(tmp_path / "card.md")
    (folder / "card.md").symlink_to(tmp_path / "card.md")
    with pytest.raises(ModelError, match=r"lacks its file card\.md"):
        read_package(folder)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "code.py", "weights.pkl", "a/b"])
def test_a_manifest_names_the_members_and_nothing_else(folder: Path, name: str) -> None:
    change_manifest(folder, lambda document: document["files"].update({name: document["files"]["card.md"]}))
    with pytest.raises(ModelError, match="not part of a package"):
        read_package(folder)


def test_files_that_the_manifest_does_not_name_are_left_alone(folder: Path, tmp_path: Path) -> None:
    before = read_package(folder).hash
    (folder / "python_model.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert read_package(folder).hash == before
    with zipfile.ZipFile(pack(folder, tmp_path / "p.voxgraft.zip")) as archive:
        assert set(archive.namelist()) == {*MEMBERS, MANIFEST}


def test_a_pickle_under_the_name_of_weights_is_refused(folder: Path) -> None:
    for content in (pickle.dumps({"weight": [1.0]}), b"", b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"):
        (folder / "model.safetensors").write_bytes(content)
        rename_in_manifest(folder, "model.safetensors")
        with pytest.raises(ModelError, match="no tensors in the safetensors format"):
            read_package(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -3e38, 1e-40, 0.0])
def test_weights_that_are_not_finite_are_refused(folder: Path, kind: torch.dtype, value: float) -> None:
    """At whatever place in the file; the largest and the smallest numbers of each kind are fine."""
    from safetensors.torch import save_file

    limit = torch.finfo(kind)
    number = value if value != -3e38 else limit.min
    tensors = {"a.mask": torch.ones(3, dtype=torch.uint8), "b": torch.tensor([1.0, number, limit.max], dtype=kind)}
    save_file(tensors | {"c": torch.tensor([-1])}, folder / "model.safetensors")
    rename_in_manifest(folder, "model.safetensors")
    if math.isfinite(number):
        assert read_package(folder).weights.is_file()
    else:
        with pytest.raises(ModelError, match="the tensor b holds values that are not finite"):
            read_package(folder)


@pytest.mark.parametrize(
    "header",
    [b'{"a": 3}', b'{"a": {"dtype": "F32"}}', b'{"a": {"dtype": "F32", "data_offsets": [0, 3]}}', b'{"a": [', b"{1}"],
)
def test_a_damaged_header_of_weights_is_refused(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    rename_in_manifest(folder, "model.safetensors")
    with pytest.raises(ModelError, match="no tensors in the safetensors format"):
        read_package(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"files": {}, "facts": {}}', "damaged"),
        ('{"format": 1, "files": [], "facts": {}}', "damaged"),
        ('{"format": 1, "files": {}, "facts": null}', "damaged"),
        ('{"format": 1, "files": {}, "facts": {}}', "does not name"),
        ('{"format": 1, "files": {"model.safetensors": "abc"}, "facts": {}}', "does not name"),
        ('{"format": 2, "files": {}, "facts": {}}', "format 2"),
        ("[" * 100_000, "damaged"),
        ("\udcff", "damaged"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=words):
        read_package(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("plugins", "split", "scores", "training", "data")
            for value in (3, "x", [1], None)
        ),
        *((name, value) for name in ("name", "created", "voxgraft", "reference", "licence") for value in (3, [], {})),
        ("members", "two"),
        ("plugins", {"nifti": None}),
        ("plugins", {"nifti": {"version": 3}}),
        ("split", {"train": 3}),
        ("split", {"train": [1]}),
        ("scores", {"dice": {"mean": 3}}),
        ("scores", {"dice": {"mean": {"mean": "x"}}}),
        ("scores", {"dice": {"mean": {"mean": 0.5, "ci95": "ab"}}}),
        ("scores", {"dice": {"mean": {"mean": 0.5, "ci95": [1]}}}),
        ("scores", {"dice": {"mean": {"mean": 0.5, "ci95": [0.1, None], "n": None}}}),
    ],
    ids=str,
)
def test_facts_of_another_kind_are_refused_before_a_page_is_made_of_them(folder: Path, name: str, value: Any) -> None:
    change_manifest(folder, lambda document: document["facts"].update({name: value}))
    with pytest.raises(ModelError, match=rf"manifest\.json: is damaged: facts\.{name}"):
        read_package(folder)


@pytest.mark.parametrize("name", ["modality", "spacing_mm", "size_mm", "values", "units", "series", "described"])
@pytest.mark.parametrize("value", [True, 3, "x", [None], [[1]], [["a", "b"]], [{"modality": 3}]], ids=str)
def test_a_contract_that_no_scan_can_be_compared_with_is_refused(folder: Path, name: str, value: Any) -> None:
    document = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**document, "contract": {name: value}}))
    rename_in_manifest(folder, "plan.json")
    with pytest.raises(ModelError, match=rf"plan\.json: is not a plan: contract: .*{name}"):
        read_package(folder)


@pytest.mark.parametrize(
    ("values", "names", "words"),
    [
        ([1], [(3, "liver")], "names the values \\[3\\], and the plan has \\[1\\]"),
        ([1, 2], [(1, "liver")], "names the values \\[1\\], and the plan has \\[1, 2\\]"),
        ([1], [(1, "liver"), (2, "cyst")], "names the values"),
        ([1], [], "names the values"),
        ([1, 2], [(1, "liver"), (2, "liver")], "a name of its own"),
        ([1, 2], [(1, "liver"), (2, " ")], "a name of its own"),
        ([1, 1], [(1, "liver")], "each needs its own"),
        ([0, 1], [(1, "liver")], "each needs its own"),
        ([1, 70000], [(1, "liver")], "each needs its own"),
    ],
)
def test_names_for_other_values_than_the_network_gives_are_refused(
    folder: Path, values: list[int], names: list[tuple[int, str]], words: str
) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "labels": [[value, f"s{value}"] for value in values]}))
    labels = [{"value": value, "name": name} for value, name in names]
    (folder / "labels.json").write_text(json.dumps({"labels": labels}))
    for member in ("plan.json", "labels.json"):
        rename_in_manifest(folder, member)
    with pytest.raises(ModelError, match=words):
        read_package(folder)


def test_facts_that_nobody_knows_are_left_alone(folder: Path) -> None:
    more = {
        "held_out": {"x": 1},
        "scores": {"dice": {"mean": {"mean": None, "ci95": [None, None], "n": 0, "new": "x"}}},
    }
    change_manifest(folder, lambda document: document["facts"].update(more))
    assert read_package(folder).facts["held_out"] == {"x": 1}


def test_a_plan_or_labels_that_are_none_are_refused(folder: Path) -> None:
    for member, text in (("plan.json", '{"dims": 7}'), ("labels.json", '{"labels": [1]}')):
        before = (folder / member).read_bytes()
        (folder / member).write_text(text)
        rename_in_manifest(folder, member)
        with pytest.raises(ModelError, match=member):
            read_package(folder)
        (folder / member).write_bytes(before)
        rename_in_manifest(folder, member)
    read_package(folder)


def weights_of(header: bytes, body: bytes = bytes(16), length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


TENSOR = '{{"dtype": "{}", "shape": {}, "data_offsets": {}}}'
WEIGHTS = {
    "a header without end": weights_of(b"{", length=2**63),
    "a header of megabytes": weights_of(b"{" + b" " * 2**25 + b"}"),
    "tensors that overlap": weights_of(
        f'{{"a": {TENSOR.format("F32", [4], [0, 16])}, "b": {TENSOR.format("F32", [4], [0, 16])}}}'.encode()
    ),
    "a tensor beyond the file": weights_of(f'{{"a": {TENSOR.format("F32", [400], [0, 1600])}}}'.encode()),
    "a shape that lies": weights_of(f'{{"a": {TENSOR.format("F32", [2**40, 2**40], [0, 16])}}}'.encode()),
    "a negative shape": weights_of(f'{{"a": {TENSOR.format("F32", [-4], [16, 0])}}}'.encode()),
    "an unknown type": weights_of(f'{{"a": {TENSOR.format("X9", [4], [0, 16])}}}'.encode()),
    "brackets without end": weights_of(b'{"__metadata__":' + b"[" * 500_000),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_whose_header_lies_are_refused_before_they_are_loaded(folder: Path, what: str) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[what])
    rename_in_manifest(folder, "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors: holds no tensors in the safetensors format"):
        read_package(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spacing": [1.0, 1.0]}, "spacing has the length 2, and there are 3 axes of the images"),
        ({"patch": [16, 16]}, "patch has the length 2, and there are 3 axes of the network"),
        ({"strides": [[1, 1, 1], [2, 2]]}, "strides.1 has the length 2"),
        ({"strides": []}, "needs channels and levels"),
        ({"normalisation": []}, "normalisation has the length 0, and there are 1 channels"),
        ({"normalisation": [{}, {}]}, "normalisation has the length 2"),
        ({"paint": [1, 2, 3]}, "paint has the length 3"),
        ({"contract": {"size_mm": [[1.0, 2.0]]}}, "contract.size_mm has the length 1"),
        ({"contract": {"values": [[0.0, 1.0]] * 2}}, "contract.values has the length 2"),
        ({"mirrored": [3]}, "an axis that is not there"),
        ({"slice_axis": 3}, "an axis that is not there"),
        ({"dims": 3, "image_dims": 2, "spacing": [1.0, 1.0]}, "no more axes than its images"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_lists_of_another_length_than_there_are_axes_or_channels_are_refused(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, **change}))
    rename_in_manifest(folder, "plan.json")
    with pytest.raises(ModelError, match=rf"plan\.json: is not a plan: .*{re.escape(said)}"):
        read_package(folder)


def test_documents_of_a_package_are_bounded(folder: Path, tmp_path: Path, monkeypatch) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    for change in ({"patch": [10**6] * 3}, {"spacing": [0.0, 1.0, 1.0]}, {"batch": 10**9}):
        (folder / "plan.json").write_text(json.dumps({**plan, **change}))
        rename_in_manifest(folder, "plan.json")
        with pytest.raises(ModelError, match=rf"plan\.json: is not a plan: {next(iter(change))}"):
            read_package(folder)
    (folder / "plan.json").write_text(json.dumps(plan))
    rename_in_manifest(folder, "plan.json")
    for text in ("[" * 100_000, '{"format": 1, "format": 1}', '{"format": ' + "9" * 5000 + "}"):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / MANIFEST).write_text(text)
        with pytest.raises(ModelError, match=r"manifest\.json: is damaged"):
            read_package(tmp_path / "bad")
    monkeypatch.setattr(package, "LARGEST_DOCUMENT", 1 << 12)
    (folder / "card.md").write_text("x" * (1 << 13))
    rename_in_manifest(folder, "card.md")
    with pytest.raises(ModelError, match=r"card\.md: is larger than the 4096 bytes"):
        read_package(folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_is_packed_otherwise_than_packages_are_is_refused(folder: Path, tmp_path: Path, method) -> None:
    archive = hostile(folder, tmp_path / "a.zip", lambda file: file.writestr("card.md", "x", method), without="card.md")
    with pytest.raises(ModelError, match="is compressed in a way that packages are not"):
        unpack(archive, tmp_path / "out")


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(ModelError, match="not a model package"):
            read_package(path)


def test_packing_and_unpacking_gives_the_same_package(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "liver.voxgraft.zip")
    back = unpack(archive, tmp_path / "back")
    assert back.hash == read_package(folder).hash
    assert all((tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes() for name in (*MEMBERS, MANIFEST))


def test_a_damaged_folder_is_not_packed(folder: Path, tmp_path: Path) -> None:
    (folder / "card.md").write_text("changed")
    with pytest.raises(ModelError):
        pack(folder, tmp_path / "liver.voxgraft.zip")
    assert list(tmp_path.iterdir()) == [folder]


def hostile(folder: Path, target: Path, change: Callable[[zipfile.ZipFile], object], without: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*MEMBERS, MANIFEST):
            if name != without:
                archive.write(folder / name, name)
        change(archive)
    return target


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "evil.py", "..\\evil.txt"])
def test_an_archive_with_a_foreign_member_writes_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    archive = hostile(folder, tmp_path / "evil.zip", lambda file: file.writestr(name, "boo"))
    with pytest.raises(ModelError, match="not a model package"):
        unpack(archive, tmp_path / "in" / "here")
    assert not [path for path in tmp_path.rglob("*evil*") if path != archive]
    assert not list((tmp_path / "in").rglob("*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_member_twice_or_one_missing_is_refused(folder: Path, tmp_path: Path) -> None:
    for archive in (
        hostile(folder, tmp_path / "twice.zip", lambda file: file.writestr("card.md", "another")),
        hostile(folder, tmp_path / "less.zip", lambda file: None, without="card.md"),
        hostile(folder, tmp_path / "no_manifest.zip", lambda file: None, without=MANIFEST),
    ):
        with pytest.raises(ModelError, match="not a model package"):
            unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_in_an_archive_is_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = zipfile.ZipInfo("card.md")
    link.external_attr = 0o120777 << 16
    archive = hostile(folder, tmp_path / "l.zip", lambda file: file.writestr(link, str(secret)), without="card.md")
    with pytest.raises(ModelError, match=r"l\.zip/card\.md.*hash differs"):
        unpack(archive, tmp_path / "out")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(folder: Path, tmp_path: Path) -> None:
    def bomb(file: zipfile.ZipFile) -> None:
        with file.open("model.safetensors", "w", force_zip64=True) as sink:
            for _ in range(80):
                sink.write(bytes(1 << 20))

    archive = hostile(folder, tmp_path / "bomb.zip", bomb, without="model.safetensors")
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match="larger than any such package"):
        unpack(archive, tmp_path / "out")


def test_a_damaged_archive_is_refused_wherever_it_is_damaged(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder, tmp_path / "whole.zip")
    whole = packed.read_bytes()
    cut = [whole[:place] for place in (0, len(whole) // 4, len(whole) // 2, len(whole) - 10)]
    with zipfile.ZipFile(packed) as file:  # within a member's data: of its header not all is looked at, nor matters
        starts = [info.header_offset + 30 + len(info.filename) for info in file.infolist()]
        places = [start + info.compress_size // 2 for start, info in zip(starts, file.infolist(), strict=True)]
    for content in [
        *cut,
        *(whole[:place] + b"\x5a" * 8 + whole[place + 8 :] for place in (0, *places, len(whole) - 10)),
    ]:
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(content)
        with pytest.raises(ModelError):
            unpack(damaged, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_spoilt_archive_is_refused_in_a_sentence_or_is_the_same_package(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "a.zip")
    before = read_package(folder).hash
    for content in mutations(archive.read_bytes(), 80, 5):
        archive.write_bytes(content)
        try:
            assert unpack(archive, tmp_path / "out").hash == before
        except ModelError as error:
            assert str(archive) in str(error) and len(str(error).splitlines()) == 1


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.zip: there is no such package file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")
