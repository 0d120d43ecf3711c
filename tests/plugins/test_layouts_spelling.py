"""Names whose accents are encoded in two ways are one name: in tables, lists, patterns, pairs, folders and headers."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from layout_folders import read, touch
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Dataset, Described
from voxgraft.datasets.dataset import leave_out, read_layout
from voxgraft.imaging.read import read as read_image
from voxgraft.imaging.volume import Item
from voxgraft.scoring.subgroups import read_facts
from voxgraft.support.texts import as_stored, composed

FORMS = [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")]
NAMES = ("Müller_0", "Müller_1")


def form(kind: str, text: str) -> str:
    return unicodedata.normalize(kind, text)


def paired(dataset: Dataset) -> list[bool]:
    return [
        reference is not None and reference.path.exists()
        for case in dataset.cases
        for reference in (*case.images, case.label)
    ]


@pytest.fixture(params=FORMS, ids="-".join)
def forms(request: pytest.FixtureRequest) -> tuple[str, str]:
    """How accents are encoded on disk, and in what people and programs wrote about it."""
    found: tuple[str, str] = request.param
    return found


def test_a_table(tmp_path: Path, catalogue, forms) -> None:
    disk, told = forms
    touch(tmp_path / form(disk, "Bilder"), *[form(disk, f"{name}{end}.nii.gz") for name in NAMES for end in ("", "_m")])
    rows = [f"{name},Bilder/{name}.nii.gz,Bilder/{name}_m.nii.gz,{name[:6]}" for name in NAMES]
    (tmp_path / "cases.csv").write_text(form(told, "\n".join(["case,image,label,patient", *rows])), "utf-8")
    dataset = read(catalogue, "csv", path=tmp_path / "cases.csv")
    assert all(paired(dataset)) and len(dataset.cases) == 2
    assert {case.patient for case in dataset.cases} == {"Müller"}


@pytest.mark.parametrize("pattern", [False, True])
def test_pairs(tmp_path: Path, catalogue, forms, pattern) -> None:
    disk, told = forms
    folder = tmp_path / form(disk, "Köpfe")
    touch(folder / form(disk, "größer"), *[form(disk, f"{name}.nii.gz") for name in NAMES])
    touch(folder / "masken", *[form(told, f"{name}_ö.nii.gz" if pattern else f"{name}.nii.gz") for name in NAMES])
    labels = form(told, "masken/{case}_ö.nii.gz") if pattern else "masken"
    path = Path(form(told, str(folder)))
    images = form(told, "größer/{case}.nii.gz") if pattern else form(told, "größer")
    dataset = read(catalogue, "pairs", path=path, images=images, labels=labels)
    assert all(paired(dataset)) and len(dataset.cases) == 2


def test_the_lists_of_decathlon_and_nnunet(tmp_path: Path, catalogue, forms) -> None:
    disk, told = forms
    for root, end in ((tmp_path / "a", ""), (tmp_path / "b", "_0000")):
        touch(root / "imagesTr", *[form(disk, f"{name}{end}.nii.gz") for name in NAMES])
        touch(root / "labelsTr", *[form(told, f"{name}.nii.gz") for name in NAMES])
    rows = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in NAMES]
    document = {"modality": {"0": "MR"}, "labels": {"0": "background", "1": "a"}, "training": rows}
    (tmp_path / "a/dataset.json").write_text(form(told, json.dumps(document, ensure_ascii=False)), "utf-8")
    assert all(paired(read(catalogue, "decathlon", path=tmp_path / "a")))
    document = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "a": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "b/dataset.json").write_text(json.dumps(document))
    splits = [{"train": [NAMES[0]], "val": [NAMES[1]]}]
    (tmp_path / "b/splits_final.json").write_text(form(told, json.dumps(splits, ensure_ascii=False)), "utf-8")
    dataset = read(catalogue, "nnunet", path=tmp_path / "b")
    assert all(paired(dataset)) and dataset.splits[0].train == (dataset.cases[0].id,)


def test_patients_of_another_layout_and_cases_that_are_left_out(tmp_path: Path, catalogue) -> None:
    touch(tmp_path / "i", *[f"{form(kind, 'Müller')}_{n}.nii.gz" for n, kind in enumerate(("NFC", "NFD"))])
    chosen = choose(
        catalogue,
        "layout",
        {"use": "pairs", "path": tmp_path, "images": "i", "labels": None, "patient": "{patient}_{rest}"},
    )
    dataset = read_layout(chosen, catalogue)
    assert {case.patient for case in dataset.cases} == {"Müller"}
    assert len(leave_out(dataset, [form("NFD", dataset.cases[0].id)]).cases) == 1


def test_descriptions_groups_and_files_beside_a_header(tmp_path: Path, catalogue, forms) -> None:
    disk, told = forms
    item = Item(Path("a"), "dicom", (1, 1, 1), np.eye(4), description=form(disk, "Schädel axial"))
    assert not any(Described((form(told, "schädel*"),)).misfits(item))
    (tmp_path / "g.csv").write_text(form(told, "case,site\nMüller,Köln\n"), "utf-8")
    assert read_facts(tmp_path / "g.csv") == {"Müller": {"site": "Köln"}}
    (tmp_path / form(disk, "Müller.raw")).write_bytes(bytes(range(24)))
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "DimSize = 2 3 4",
        "ElementType = MET_UCHAR",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
    ]
    (tmp_path / "m.mhd").write_text("\n".join([*lines, form(told, "ElementDataFile = Müller.raw"), ""]), "utf-8")
    assert np.array_equal(read_image(tmp_path / "m.mhd", catalogue).array.ravel(order="F"), np.arange(24))


def test_what_is_not_there_keeps_its_name(tmp_path: Path) -> None:
    assert as_stored(tmp_path / "größer" / "ü") == tmp_path / "größer" / "ü"
    assert composed(form("NFD", "ü\udcff")) == "ü\udcff"
