"""Options of readers in a workflow: checked when it is read, heeded wherever scans are read, and kept by the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import Brightness, Found, model
from click.testing import CliRunner
from datasets import workflow
from pydicom.dataset import Dataset

from dicom_series import make_series
from dicom_structures import make_seg
from voxgraft.batch.segment import segment
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.companions import read_companions
from voxgraft.datasets.dataset import find_dataset
from voxgraft.errors import ModelError, WorkflowError
from voxgraft.imaging.read import read_item, scan
from voxgraft.imaging.volume import Volume
from voxgraft.preprocessing.plan import read_plan
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import Workflow, from_document, read
from voxgraft.workflow.yaml import dump, parse
from voxgraft_dicom.layout.index import readers_hash

SHAPE = (20, 18, 8)
AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])
STORED = "data.readers={dicom: {pet: stored}}"
WRITTEN = {"dicom": {"pet": "stored", "tilt": "keep", "films": "refuse"}}
"""What a document says of it: the options that were left out are written, too."""
BRIGHT = 20_000
"""In Bq/mL as the files store it; a few g/mL as SUV."""
SUV = 72500 / (370e6 * 2 ** (-3600 / 6586.2))
FlowOf = Callable[..., Workflow]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies of a PET series with a bright box, and a SEG of it."""
    folder = tmp_path_factory.mktemp("pacs") / "pets"
    dose = Dataset()
    dose.RadiopharmaceuticalStartTime, dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = "110000", 370e6, 6586.2
    for number in range(3):
        box = np.zeros(SHAPE, bool)
        box[4:12, 5 + number : 12, 2:6] = True
        values: dict[str, Any] = {
            **{"Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN"]},
            **{"PatientWeight": 72.5, "SeriesDate": "20200101", "SeriesTime": "120000", "AcquisitionTime": "120000"},
            **{"PatientID": f"P{number}", "StudyInstanceUID": f"1.2.{number + 1}", "SeriesDescription": "PET"},
            **{"FrameOfReferenceUID": f"1.3.{number + 1}", "RadiopharmaceuticalInformationSequence": [dose]},
        }
        files = make_series(folder / f"{number}", (BRIGHT * box + 9).astype(np.int16), AFFINE, **values)
        make_seg(folder / f"s{number}", files, {"box": box})
    return folder


@pytest.fixture
def flow(tmp_path: Path, pets: Path, catalogue: Catalogue) -> FlowOf:
    """The workflow over the PET series, with overrides."""
    layout = f"{{use: dicom, path: {pets}, labels: {{source: seg}}}}"
    changes = {
        f"{{use: decathlon, path: {pets}}}": layout,
        "modality: mr": "modality: image",
        "budget: 12 steps": "budget: 2 steps",
        "patch: [16, 16, 16]": "patch: [16, 16, 8]",
    }
    path = workflow(tmp_path, pets, **changes)
    return lambda *overrides: read(path, catalogue, ["tracking=null", *overrides])


def test_options_are_read_and_written_out_whole(flow: FlowOf, catalogue: Catalogue) -> None:
    checked = flow(STORED)
    document = checked.document()
    assert document["data"]["readers"] == WRITTEN
    assert from_document(parse(dump(document)), catalogue).document() == document
    assert flow("data.readers.dicom-seg.resample=true").data.reader_options["dicom-seg"]["resample"] is True
    assert flow().document()["data"]["readers"] == {}


@pytest.mark.parametrize(
    ("readers", "sentence"),
    [
        ("{dicon: {pet: stored}}", "data.readers.dicon: no reader is called 'dicon'; did you mean 'dicom'?"),
        ("{dicom: {pett: stored}}", "data.readers.dicom.pett: there is no key 'pett' here; did you mean 'pet'?"),
        ("{dicom: {colour: 3}}", "there is no key 'colour' here; the options here are pet, tilt, films"),
        ("{nifti: {level: 3}}", "data.readers.nifti.level: there is no key 'level' here; there are no options here"),
        ("{dicom: {pet: bq}}", "data.readers.dicom.pet: "),
        ("{dicom: stored}", "dicom: expected a mapping of options"),
        ("{dicom: {use: nifti}}", "without the key 'use'"),
        ("[dicom]", "data.readers: "),
    ],
)
def test_what_is_wrong_is_said_when_the_workflow_is_read(flow: FlowOf, readers: str, sentence: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        flow(f"data.readers={readers}")
    assert sentence in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_the_line_of_an_unknown_option_is_named(tmp_path: Path, pets: Path, catalogue: Catalogue) -> None:
    text = "  modality: mr\n  readers:\n    dicom:\n      pett: stored"
    path = workflow(tmp_path, pets, **{"  modality: mr": text})
    with pytest.raises(WorkflowError, match=r"workflow\.yaml:8: data\.readers\.dicom\.pett"):
        read(path, catalogue)


def test_the_schema_knows_the_options_of_each_reader(flow: FlowOf, catalogue: Catalogue) -> None:
    from jsonschema import Draft202012Validator

    from voxgraft.workflow.schema import workflow_schema

    validator = Draft202012Validator(workflow_schema(catalogue))
    document = flow(STORED).document()
    assert not list(validator.iter_errors(document))
    for wrong in ({"dicom": {"pett": "stored"}}, {"dicon": {}}, {"dicom": {"pet": "bq"}}):
        document["data"]["readers"] = wrong
        assert list(validator.iter_errors(document))


class Watching(Brightness):
    """Remembers how bright scans were."""

    def predict(self, volume: Volume) -> Found:
        self.brightest = float(volume.array.max())
        return super().predict(volume)


def test_a_run_and_its_model_read_with_the_options(
    tmp_path: Path, flow: FlowOf, pets: Path, catalogue: Catalogue
) -> None:
    """Measured, prepared, evaluated and segmented are the values that the options ask for, and no others."""
    found = {}
    for name, overrides in {"suv": (), "stored": (STORED,)}.items():
        checked = flow(*overrides, f"data.cache={tmp_path / 'cache'}")
        run = run_workflow(checked, catalogue, tmp_path / name, progress=Progress(quiet=True))
        fingerprint = json.loads((run.folder / "fingerprint.json").read_text())
        folders = json.loads((run.folder / "prepared.json").read_text())["folders"]
        watching = Watching()
        batch = segment(str(run.package), [pets / "0"], tmp_path / f"out-{name}", catalogue, predictor=watching)
        assert [one.state for one in batch.scans] == ["done"], batch.scans
        assert json.loads((run.folder / "evaluate" / "scores.json").read_text())["cases"]
        measured = fingerprint["intensities"][0]["max"]
        found[name] = (measured, watching.brightest, {folder for key, folder in folders.items() if key})
    assert found["stored"][0] == found["stored"][1] == BRIGHT + 9
    assert found["suv"][0] == pytest.approx((BRIGHT + 9) * SUV, rel=1e-5) == found["suv"][1]
    assert not found["suv"][2] & found["stored"][2], "arrays of other values were taken from the cache"
    assert read_plan(tmp_path / "stored" / "plan.json").readers == WRITTEN
    environment = json.loads((tmp_path / "stored" / "environment.json").read_text())
    assert any(plugin.endswith("dicom") for plugin in environment["plugins"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """In which units the DICOM reader was asked for PET."""
    from voxgraft_dicom.reader import items

    real, seen = items.uptake_of, set[str]()
    monkeypatch.setattr(items, "uptake_of", lambda headers, wanted: seen.add(wanted) or real(headers, wanted))
    return seen


def test_check_looks_with_the_options(tmp_path: Path, flow: FlowOf, asked: set[str]) -> None:
    flow()  # leaves the file
    call = ["check", str(tmp_path / "workflow.yaml"), "--set", STORED, "--set", "tracking=null"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0 and asked == {"stored"}, result.output


def test_a_dry_run_measures_with_the_options(flow: FlowOf, catalogue: Catalogue, asked: set[str]) -> None:
    dry_run(flow(STORED), catalogue)
    assert asked == {"stored"}


def test_a_layout_that_looks_at_images_looks_with_the_options(
    flow: FlowOf, catalogue: Catalogue, asked: set[str]
) -> None:
    assert len(find_dataset(flow(STORED).data, catalogue).cases) == 3 and asked == {"stored"}
    asked.clear()
    beside = flow(STORED, f"data.unlabelled={json.dumps(flow().document()['data']['layout'])}")
    assert len(
        read_companions(beside.data, catalogue.with_options("reader", beside.data.reader_options))["unlabelled"].cases
    ) == 3 and asked == {"stored"}


def test_an_index_is_for_the_options_it_was_made_with(catalogue: Catalogue) -> None:
    stored, frames = ({"dicom": {name: value}} for name, value in (("pet", "stored"), ("films", "frames")))
    hashes = {
        readers_hash(one) for one in (catalogue, *(catalogue.with_options("reader", o) for o in (stored, frames)))
    }
    assert len(hashes) == 3


def test_an_item_is_read_as_it_was_found(pets: Path, catalogue: Catalogue) -> None:
    """Writers of reports read a scan once more, with readers of their own: it must mean the same."""
    (item,) = scan(pets / "0", catalogue.with_options("reader", {"dicom": {"pet": "stored"}}))
    assert item.facts["units"] == "BQML" and read_item(item, catalogue).array.max() == BRIGHT + 9
    (usual,) = scan(pets / "0", catalogue)
    stored = catalogue.with_options("reader", {"dicom": {"pet": "stored"}})
    assert read_item(usual, stored).array.max() == pytest.approx((BRIGHT + 9) * SUV, rel=1e-5)


@pytest.mark.parametrize(
    ("readers", "words"),
    [({"dicom": {"pett": "x"}}, "did you mean 'pet'"), ({"tomograph": {}}, "no reader is called 'tomograph'")],
)
def test_a_model_whose_readers_are_not_here_is_refused_in_a_sentence(
    tmp_path: Path, pets: Path, catalogue: Catalogue, readers: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        segment(model(tmp_path / "m", readers=readers), [pets], tmp_path / "out", catalogue, predictor=Brightness())
    assert not (tmp_path / "out").exists()
