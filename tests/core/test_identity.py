"""What decides whether a step is done again: everything, less what its spec declares, with a reason each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from schema_leaves import changes
from test_valid import save

from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import Options
from voxgraft.datasets.cases import Case
from voxgraft.imaging.formats import ReaderSpec
from voxgraft.imaging.read import scan
from voxgraft.imaging.volume import ImageRef
from voxgraft.packages.references import Resolver
from voxgraft.packages.store import StoreSpec
from voxgraft.preprocessing.state import DataState
from voxgraft.runs.identity import decisive, facts_of, is_independent, leaves, made_from, reasons, summarise
from voxgraft.runs.run import Run, StepSpec
from voxgraft.runs.steps import independent
from voxgraft.support.contents import Contents
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import Workflow, from_document

STEPS = ("check", "plan", "prepare", "train", "evaluate", "guard", "register")
NOT_OF_THE_WORKFLOW = ("case", "dataset", "before", "reader", "roles", "writer")


def run_of(folder: Path, workflow: Workflow, catalogue: Catalogue) -> Run:
    readers = catalogue.with_options("reader", workflow.data.reader_options)
    return Run(folder, workflow, Resolver(readers, workflow.place), Progress(quiet=True))


def identity(run: Run, name: str) -> dict[str, Any]:
    return made_from(run, next(step for step in run.workflow.steps if step.name == name))


def everything(folder: Path, catalogue: Catalogue, **sections: Any) -> Workflow:
    """A workflow with every section."""
    document = {
        "name": "all",
        "data": {"layout": {"use": "nnunet", "path": str(folder)}, "modality": "mr", "split": {"by": "patient"}},
        "model": {"dims": 3, "encoder": {"use": "residual", "weights": "none"}, "decoder": "unet"},
        "transfer": ["prune"],
        "training": {"budget": "5 steps", "device": "cpu"},
        "tracking": {"uri": "sqlite:///none.db"},
        "registry": {"name": "all"},
        "guard": "twin",
        "steps": list(STEPS),
        **sections,
    }
    return from_document(document, catalogue)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four cases of two channels in nnU-Net's folders."""
    folder, rng = tmp_path / "Dataset001_X", np.random.default_rng(0)
    for index in range(4):
        for channel in range(2):
            image = rng.normal(size=(6, 6, 6)).astype(np.float32)
            save(folder / "imagesTr" / f"c{index}_{channel:04d}.nii.gz", image)
        mask = np.zeros((6, 6, 6), np.uint8)
        mask[1:3, 1:3, 1:3] = 1
        save(folder / "labelsTr" / f"c{index}.nii.gz", mask)
    document = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "x": 1},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(document))
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["c0", "c1"], "val": ["c2", "c3"]}]))
    return folder


def specs(catalogue: Catalogue) -> dict[str, StepSpec[Any]]:
    return {name: catalogue.get("step", name) for name in STEPS}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_every_option_counts_or_stands_on_the_list_of_what_cannot_matter(tmp_path, data, catalogue) -> None:
    """Of every section and of every component that can stand in a slot, and for each step: a new option counts."""
    start = everything(data, catalogue)
    first = run_of(tmp_path / "run", start, catalogue)
    dataset, shared = first.dataset, first.shared
    seen: set[str] = set()

    def facts(workflow: Workflow) -> list[Any]:
        run = run_of(tmp_path / "run", workflow, catalogue)
        run._dataset, run._others, run._shared = dataset, {}, shared
        return facts_of(run, dict.fromkeys(("case", "dataset", "reader"), "is tried elsewhere"))

    for change in changes(start, catalogue):
        before, after = facts(change.before), facts(change.after)
        for name, spec in specs(catalogue).items():
            kept = [{one.name: one.value for one in decisive(some, spec.independent_of)} for some in (before, after)]
            again = kept[0] != kept[1]
            assert again or is_independent(change.key, spec.independent_of), f"{name} does not see {change.key}"
        seen.add(change.key)
    assert len(seen) > 250
    assert {"name", "data.split.fold", "training.optimiser.lr", "transfer.0.teacher", "data.readers.dicom.pet"} <= seen
    own = tuple(
        f"{one}" for one in ("name", "data", "model", "transfer", "training", "evaluation", "registry", "guard")
    )
    assert {key.split(".")[0] for key in seen} >= set(own)


def test_what_is_declared_exists_and_has_a_reason(tmp_path, data, catalogue) -> None:
    known = {change.key for change in changes(everything(data, catalogue), catalogue)}
    lists = [*(spec.independent_of for spec in specs(catalogue).values()), independent.ARRAYS]
    for declared in (*lists, independent.LABELS_OF_PACKAGE):
        for key, reason in declared.items():
            assert len(reason.split()) > 3, f"{key}: {reason}"
            place = key.split(".")[0] in NOT_OF_THE_WORKFLOW
            assert place or any(one == key or one.startswith(f"{key}.") for one in known), key


def test_every_value_of_the_document_is_a_fact(tmp_path, data, catalogue) -> None:
    workflow = everything(data, catalogue)
    found = {fact.name: fact.value for fact in facts_of(run_of(tmp_path / "run", workflow, catalogue), {})}
    assert {key: found[key] for key, _ in leaves(workflow.document())} == dict(leaves(workflow.document()))
    assert all(f"the code of {key}" in found for key in ("data.modality", "model.encoder", "transfer.0", "steps.3"))
    assert {"the code of the reader nifti", "VoxGraft", "case c0: images", "data set: splits"} <= set(found)


def test_a_step_of_which_nothing_is_declared_depends_on_everything(tmp_path, data, catalogue) -> None:
    spec = StepSpec(
        name="check", summary="", options=catalogue.get("step", "check").options, build=lambda options: None
    )
    workflow = everything(data, catalogue)
    names = []
    for name in ("all", "other"):
        run = run_of(tmp_path / "run", workflow.model_copy(update={"name": name}), catalogue)
        names.append(
            {fact.name: fact.value for fact in decisive(facts_of(run, spec.independent_of), spec.independent_of)}
        )
    assert reasons(names[1], names[0]) == ["name is other, was all"]


def put_back(file: Path, content: bytes) -> None:
    """Write a file anew with the size and the times that it had."""
    stat = file.stat()
    assert len(content) == stat.st_size
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def _image(data: Path) -> None:
    file = data / "imagesTr" / "c1_0000.nii.gz"
    put_back(file, flipped(file.read_bytes()))


def _mask(data: Path) -> None:
    file = data / "labelsTr" / "c1.nii.gz"
    put_back(file, flipped(file.read_bytes()))


def _names(data: Path) -> None:
    file = data / "dataset.json"
    put_back(file, file.read_bytes().replace(b'"x"', b'"y"'))


def _channels(data: Path) -> None:
    file = data / "dataset.json"
    file.write_text(file.read_text().replace('"0": "T1", "1": "FLAIR"', '"0": "FLAIR", "1": "T1"'))


def _splits(data: Path) -> None:
    file = data / "splits_final.json"
    put_back(file, file.read_bytes().replace(b'["c0", "c1"]', b'["c0", "c2"]'))


@pytest.mark.parametrize("change", [_image, _mask, _names, _channels, _splits])
@pytest.mark.parametrize("step", ["plan", "prepare", "train", "evaluate"])
def test_every_file_of_a_data_set_counts_also_where_it_keeps_its_size_and_time(
    tmp_path, data, catalogue, change: Callable[[Path], None], step: str
) -> None:
    workflow = everything(data, catalogue)
    before = identity(run_of(tmp_path / "run", workflow, catalogue), step)
    assert identity(run_of(tmp_path / "run", workflow, catalogue), step) == before
    change(data)
    assert identity(run_of(tmp_path / "run", workflow, catalogue), step) != before


def test_the_same_data_elsewhere_are_the_same(tmp_path, data, catalogue) -> None:
    """Moved, copied, touched: for training only the content counts; and where arrays and runs lie does not."""
    before = identity(run_of(tmp_path / "run", everything(data, catalogue), catalogue), "train")
    moved = data.rename(tmp_path / "elsewhere")
    for file in moved.rglob("*.nii.gz"):
        os.utime(file)
    cached = {"cache": str(tmp_path / "cache"), "modality": "mr", "layout": {"use": "nnunet", "path": str(moved)}}
    after = identity(run_of(tmp_path / "other", everything(moved, catalogue, data=cached), catalogue), "train")
    assert reasons(after, before) == []


def table(folder: Path, **columns: str) -> Path:
    """A table of the four cases; a column is given by its cells, parted by blanks."""
    rows = {"case": "c0 c1 c2 c3", "patient": "p0 p1 p2 p3", "split": "train train validation validation", **columns}
    images = " ".join(f"{folder}/imagesTr/c{index}_0000.nii.gz" for index in range(4))
    labels = " ".join(f"{folder}/labelsTr/c{index}.nii.gz" for index in range(4))
    cells = {"image": images, "label": labels, **rows}
    lines = [";".join(cells), *(";".join(row) for row in zip(*(text.split() for text in cells.values()), strict=True))]
    (folder / "cases.csv").write_text("\n".join(lines))
    return folder / "cases.csv"


@pytest.mark.parametrize(
    ("column", "cells", "steps"),
    [
        ("patient", "p0 p0 p2 p3", {"plan", "train", "evaluate"}),
        ("split", "validation train train validation", {"plan", "train", "evaluate"}),
        ("site", "a b b b", {"evaluate"}),
    ],
)
def test_every_column_of_a_table_counts_where_it_can(tmp_path, data, catalogue, column, cells, steps) -> None:
    layout = {"layout": {"use": "csv", "path": str(table(data, site="a a b b"))}, "modality": "mr"}
    workflow = everything(data, catalogue, data={**layout, "labels": {"x": 1}, "split": {"by": "dataset"}})
    names = ("plan", "train", "evaluate")
    before = {name: identity(run_of(tmp_path / "run", workflow, catalogue), name) for name in names}
    table(data, **{"site": "a a b b", column: cells})
    after = {name: identity(run_of(tmp_path / "run", workflow, catalogue), name) for name in names}
    assert {name for name in names if before[name] != after[name]} == steps


def test_a_file_of_voxels_beside_a_header_counts(tmp_path, catalogue) -> None:
    """Whatever it is called: the header of an image names it."""
    for index in range(2):
        header = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n"
        for kind in ("images", "labels"):
            folder = tmp_path / kind
            folder.mkdir(exist_ok=True)
            (folder / f"c{index}.mhd").write_text(header + f"ElementDataFile = voxels{index}.raw\n")
            (folder / f"voxels{index}.raw").write_bytes(bytes(64))
    layout = {"use": "pairs", "path": str(tmp_path), "images": "images", "labels": "labels"}
    workflow = everything(tmp_path, catalogue, data={"layout": layout, "modality": "mr", "labels": {"x": 1}})
    before = identity(run_of(tmp_path / "run", workflow, catalogue), "plan")
    put_back(tmp_path / "labels" / "voxels1.raw", bytes([1]) * 64)
    after = identity(run_of(tmp_path / "run", workflow, catalogue), "plan")
    assert "case c1: label changed" in reasons(after, before)


def test_a_file_of_voxels_that_came_after_its_header_counts(tmp_path, catalogue) -> None:
    """A header that pointed to nothing when it was looked at first."""
    text = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n"
    header, voxels, states = tmp_path / "c.mhd", tmp_path / "c.raw", []
    header.write_text(f"{text}ElementDataFile = c.raw\n")
    known = Contents(tmp_path / "contents.json")
    for byte in (None, 0, 1):
        if byte is not None:
            voxels.write_bytes(bytes([byte]) * 64)
        states.append(DataState(catalogue, known).of_case(Case("c", "c", (ImageRef(header),))))
    assert states[0] != states[1] != states[2]


def test_what_was_said_of_a_header_is_asked_again_of_other_readers(tmp_path, catalogue) -> None:
    save(tmp_path / "c.nii.gz", np.zeros((4, 4, 4), np.float32))
    known = Contents(tmp_path / "contents.json")

    def readers(offers: Catalogue) -> set[str]:
        state = DataState(offers, known)
        state.of_case(Case("c", "c", (ImageRef(tmp_path / "c.nii.gz"),)))
        return state.readers

    class Other:
        def scan(self, files: Any) -> Any:
            return [replace(item, reader="longer") for item in scan(files[0], catalogue)]

    assert readers(catalogue) == {"nifti"}
    spec = ReaderSpec(
        name="longer", summary="", options=lambda: Options, build=lambda _: Other(), suffixes=("c.nii.gz",)
    )
    origins = {**catalogue.origins, "other": Origin("other", "json", "", "")}
    offers = {**catalogue._offers, ("reader", "longer"): {"other": spec}}
    assert readers(replace(catalogue, _offers=offers, _origins=origins)) == {"longer"}


def test_files_behind_a_link_to_a_folder_count(tmp_path, catalogue) -> None:
    """Readers follow links, so what a link leads to is what a case is made of."""
    for name, value in (("one", 1.0), ("two", 2.0)):
        save(tmp_path / name / "c.nii.gz", np.full((4, 4, 4), value, np.float32))
    folder = tmp_path / "case"
    folder.mkdir()
    states = []
    for name in ("one", "two"):
        (folder / "scan").unlink(missing_ok=True)
        (folder / "scan").symlink_to(tmp_path / name)
        known = Contents(tmp_path / "contents.json")
        states.append(DataState(catalogue, known).of_case(Case("c", "c", (ImageRef(folder),))))
    assert states[0] != states[1]


def test_a_file_of_where_cases_count_counts(tmp_path, catalogue) -> None:
    from test_valid import cases, flow

    folder = cases(tmp_path / "data")
    workflow = flow(folder, catalogue)
    before = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    file = next((folder / "valid").iterdir())
    put_back(file, flipped(file.read_bytes()))
    after = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    assert [one for one in reasons(after, before) if "valid changed" in one]


def test_weights_under_one_name_count_by_their_content(tmp_path, data, catalogue, monkeypatch) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"0123456789")
    encoder = {"use": "residual", "weights": f"file:{file}"}
    workflow = everything(data, catalogue, model={"dims": 3, "encoder": encoder, "decoder": "unet"})
    before = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    put_back(file, b"0123456780")
    after = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    assert reasons(after, before) == ["what is in model.encoder.weights changed"]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"model": {"start": "models:/base@champion", "encoder": "residual", "decoder": "unet"}}, "model.start"),
        ({"transfer": [{"use": "distil", "teacher": "models:/base@champion"}]}, "transfer.0.teacher"),
        ({"transfer": [{"use": "distil", "teacher": "shelf:base"}]}, "transfer.0.teacher"),
    ],
)
def test_an_alias_that_moves_counts_wherever_it_stands(tmp_path, data, catalogue, monkeypatch, section, key) -> None:
    """In the registry, and in a store of somebody else's."""
    shelf = StoreSpec(name="shelf", summary="", options=lambda: Options, build=lambda _: None, schemes=("shelf:",))
    assert not catalogue.failures
    catalogue = replace(catalogue, _offers={**catalogue._offers, ("store", "shelf"): {"shelves": shelf}})
    workflow = everything(data, catalogue, **section)
    champion = ["one"]
    named = type("Package", (), {"hash": property(lambda self: champion[0])})
    monkeypatch.setattr(Resolver, "resolve", lambda self, reference: named())
    before = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    champion[0] = "two"
    after = identity(run_of(tmp_path / "run", workflow, catalogue), "train")
    assert reasons(after, before) == [f"what is in {key} changed"]
    assert identity(run_of(tmp_path / "run", workflow, catalogue), "plan") == identity(
        run_of(tmp_path / "run", workflow, catalogue), "plan"
    )


def test_the_code_of_a_plugin_counts_with_its_helpers(tmp_path, monkeypatch) -> None:
    from voxgraft.components.code import source_hash

    site = tmp_path / "site"
    site.mkdir()
    (site / "ident_plugin.py").write_text("def work():\n    from ident_helper import power\n    return power\n")
    (site / "ident_helper.py").write_text("from ident_deeper import power\n")
    (site / "ident_deeper.py").write_text("power = 1\n")
    (site / "ident_stranger.py").write_text("power = 1\n")
    monkeypatch.syspath_prepend(str(site))
    first = source_hash("ident_plugin", "some-plugin")
    (site / "ident_stranger.py").write_text("power = 2\n")
    assert source_hash("ident_plugin", "some-plugin") == first
    (site / "ident_deeper.py").write_text("power = 2\n")
    assert source_hash("ident_plugin", "some-plugin") != first


@pytest.mark.parametrize(
    ("imports", "changed"),
    [
        ("from ident_parts import terms", "ident_parts/terms.csv"),
        ("import ident_parts.terms", "ident_parts/deeper/weights.bin"),
        ("from ident_parts.terms import TERMS", "ident_parts/__init__.py"),
        ("def work():\n    if True: from ident_parts import terms", "ident_parts/terms.py"),
        ("import json; import ident_parts.terms", "ident_parts/terms.py"),
        ("from ident_parts import other, \\\n    terms", "ident_parts/terms.py"),
        ("from ident_parts import (  # of names\n    other,  # and, more\n    terms,\n)", "ident_parts/terms.py"),
        ('import importlib\nterms = importlib.import_module("ident_parts.terms")', "ident_parts/terms.py"),
    ],
)
def test_a_package_that_a_plugin_imports_from_counts_with_its_tables(tmp_path, monkeypatch, imports, changed) -> None:
    from voxgraft.components.code import source_hash

    for name in ("ident_parts/__init__.py", "ident_parts/terms.py", "ident_parts/other.py", "ident_parts/terms.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "ident_parts" / "deeper").mkdir()
    (tmp_path / "ident_parts" / "deeper" / "weights.bin").write_text("")
    (tmp_path / "ident_importing.py").write_text(f"{imports}\n")
    (tmp_path / "ident_strange.csv").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = source_hash("ident_importing", "some-plugin")
    (tmp_path / "ident_strange.csv").write_text("of nobody")
    assert source_hash("ident_importing", "some-plugin") == first
    (tmp_path / changed).write_text("VALUE = 2\n")
    assert source_hash("ident_importing", "some-plugin") != first


def test_the_coded_terms_are_code_of_the_plugins_that_use_them() -> None:
    from voxgraft.components.code import source_files

    for module in ("voxgraft_dicom.seg", "voxgraft_dicom.rtstruct", "voxgraft_dicom.sr"):
        assert "voxgraft_dicom/objects/terms.csv" in source_files(module, "voxgraft"), module


def test_tables_inside_a_package_are_code(tmp_path, monkeypatch) -> None:
    from voxgraft.components.code import source_hash

    package = tmp_path / "ident_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "terms.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = source_hash("ident_package")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert source_hash("ident_package") == first
    (package / "terms.json").write_text('{"a": 1}')
    assert source_hash("ident_package") != first


def test_another_voxgraft_and_another_plugin_count_for_every_step_that_they_take_part_in(
    tmp_path, data, catalogue, monkeypatch
) -> None:
    workflow = everything(data, catalogue)
    before = {name: identity(run_of(tmp_path / "run", workflow, catalogue), name) for name in STEPS}
    monkeypatch.setattr("voxgraft.runs.identity.version_of", lambda name: "9.9")
    for name in STEPS:
        (told,) = reasons(identity(run_of(tmp_path / "run", workflow, catalogue), name), before[name])
        assert told.startswith("VoxGraft is 9.9 (") and ", was " in told
    monkeypatch.undo()
    real = Catalogue.code_of
    monkeypatch.setattr(
        Catalogue,
        "code_of",
        lambda self, origin: "f" * 64 if origin.module.endswith("modalities") else real(self, origin),
    )
    told = {
        name: reasons(identity(run_of(tmp_path / "run", workflow, catalogue), name), before[name]) for name in STEPS
    }
    assert {name for name in STEPS if told[name]} == {"check", "plan", "prepare", "train", "evaluate", "guard"}
    assert all("the code of data.modality is" in text for texts in told.values() for text in texts)


def test_reasons_are_few_and_causes_come_before_what_follows() -> None:
    now = {"a": 1, "b": True, "c": None, "d": 4, "what an earlier step left, plan.json,": "x"}
    before = {"a": 0, "b": False, "c": "q", "d": 3, "what an earlier step left, plan.json,": "y"}
    found = reasons(now, before)
    assert summarise(found) == "a is 1, was 0; b is true, was false; c is none, was q; and 1 more"
    assert summarise(found[-1:]) == "what an earlier step left, plan.json, changed"


def test_the_place_of_an_optional_channel_counts_for_a_case_and_its_arrays(tmp_path, data, catalogue) -> None:
    """One file, once as the first and once as the second channel: other arrays, though the bytes are the same."""
    from voxgraft.datasets.cases import Case
    from voxgraft.imaging.volume import ImageRef
    from voxgraft.preprocessing.fingerprint import measure
    from voxgraft.preprocessing.state import DataState
    from voxgraft.support.contents import Contents

    ref = ImageRef(data / "imagesTr" / "c0_0000.nii.gz")
    first, second = Case("c0", "p", (ref, None)), Case("c0", "p", (None, ref))
    state = DataState(catalogue, Contents(tmp_path / "contents.json"))
    assert state.of_case(first)["images"] != state.of_case(second)["images"]
    assert measure(first, catalogue, None)["hash"] != measure(second, catalogue, None)["hash"]


def test_a_hash_is_kept_only_of_a_file_that_has_settled(tmp_path, monkeypatch) -> None:
    """One that changed a moment ago could change again within one tick of the clock."""
    from voxgraft.support import contents

    file = tmp_path / "a"
    file.write_bytes(b"1")
    kept = contents.Contents(tmp_path / "contents.json")
    assert kept.of(file) == contents.sha256(file) and kept.of(tmp_path / "missing") == ""
    kept.save()
    assert json.loads((tmp_path / "contents.json").read_text()) == {}
    monkeypatch.setattr(contents, "SETTLED", 0)
    kept = contents.Contents(tmp_path / "contents.json")
    kept.of(file)
    kept.save()
    monkeypatch.setattr(contents, "sha256", lambda path: pytest.fail("it was hashed again"))
    assert len(contents.Contents(tmp_path / "contents.json").of(file)) == 64
    assert str(tmp_path) not in (tmp_path / "contents.json").read_text()
