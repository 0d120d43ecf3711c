"""Scans with the patient's name in every corner, for the tests of de-identification."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from click.testing import CliRunner
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_series import make_series
from voxgraft.cli import main

AFFINE = np.diag([0.9, 0.8, 2.5, 1.0])
SECRETS = ("doe", "roentgen", "mrn-778", "mrn778", "sycamore", "sorrow", "acc4711", "19510307", "sn-x99", "ct-basement")
"""Planted below; no file of a result may hold one of them, in any element, private or not, or in its bytes."""


def plant(k: int, dataset: Dataset) -> None:
    """Write the patient into every corner of a file."""
    dataset.PatientName, dataset.PatientID = "Doe^Wilhelmina^Q=Roentgen", "MRN-778"
    dataset.PatientBirthDate, dataset.PatientAge, dataset.PatientSex = "19510307", "093Y", "F"
    dataset.PatientWeight, dataset.PatientAddress = 70, "12 Sycamore Lane, Springfield"
    dataset.OtherPatientIDs, dataset.AccessionNumber = ["MRN778", "X1"], "ACC4711"
    dataset.InstitutionName, dataset.StationName = "Our Lady of Sorrow", "CT-BASEMENT"
    dataset.ReferringPhysicianName = "Roentgen^Wilhelm^^Prof"
    dataset.DeviceSerialNumber = "SN-X99"
    dataset.StudyDescription = "Liver CT of Mrs Doe"
    dataset.SeriesDescription = "axial 3mm Doe"
    dataset.ImageComments = dataset.PatientComments = "Wilhelmina Doe, seen by Roentgen"
    dataset.AcquisitionDate, dataset.AcquisitionDateTime = "20200101", "20200101121500.5+0100"
    dataset.ContentDate, dataset.ContentTime, dataset.AcquisitionTime = "20200102", "121500", "121500"
    inner = Dataset()
    inner.PatientName, inner.ReferencedSOPInstanceUID = "Doe^Wilhelmina", "1.2.3.4.5"
    inner.ReferencedSOPClassUID, inner.PersonName = pydicom.uid.CTImageStorage, "Roentgen^W"
    outer = Dataset()
    outer.ReferencedSOPClassUID, outer.ReferencedSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3.4.6"
    outer.PurposeOfReferenceCodeSequence, outer.ReferencedFrameNumber = Sequence([inner]), 1
    dataset.SourceImageSequence = Sequence([outer])
    dataset.add_new(0x00091001 & 0xFFFFFF00 | 0x10, "LO", "Doe Private")
    dataset.add_new(0x00091001, "UN", b"Doe^Wilhelmina")
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1000, 8, 0, 0])
    dataset.private_block(0x0043, "GEMS_PARM_01").add_new(0x60, "LO", "Doe")
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "1.5")
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"SV10 Roentgen MRN-778 ")
    dataset.add_new(0x60003000, "OW", b"\0" * 8)
    dataset.add_new(0x60000022, "LO", "Overlay of Doe")
    dataset.add_new(0x50003000, "OW", b"curve of Doe")
    dataset.add_new(0xFFFCFFFC, "OB", b"MRN-778 Doe padding.")
    dataset.add_new(0x00080002, "LO", "Doe in an attribute that the standard does not have")
    dataset.preamble = b"Doe^Wilhelmina".ljust(128, b"\0")
    dataset.file_meta.SourceApplicationEntityTitle = "DOE"
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = b"Doe^Wilhelmina"


def planted(folder: Path, edit: Callable[[int, Dataset], None] | None = None, n: int = 3, **changes: Any) -> list[Path]:
    def both(k: int, dataset: Dataset) -> None:
        plant(k, dataset)
        if edit is not None:
            edit(k, dataset)

    array = (np.arange(6 * 5 * n, dtype=np.int16).reshape(6, 5, n) * 7) % 999
    return make_series(folder, array, AFFINE, edit=both, **changes)


def call(*words: object, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["deidentify", *map(str, words), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if code in (0, 3) else {"error": done.stderr}


def run(*words: object) -> dict[str, Any]:
    """The document of a call that may have failed in part."""
    done = CliRunner().invoke(main, ["deidentify", *map(str, words), "--json"])
    assert done.stdout, (done.output, done.exception)
    return dict(json.loads(done.stdout))


def results(target: Path) -> list[Path]:
    return sorted(target.rglob("*.dcm"))


def everything(path: Path) -> str:
    """Every value of a file, private and nested ones too, then its bytes, in lower case."""
    dataset = pydicom.dcmread(path)
    told = [str(dataset.file_meta)]
    dataset.walk(lambda _, element: told.append(str(element.value)))
    return "\n".join(told).casefold() + path.read_bytes().decode("latin-1").casefold()


def assert_silent(target: Path) -> None:
    for path in target.rglob("*"):
        assert not any(secret in str(path.relative_to(target)).casefold() for secret in SECRETS)
        if path.is_file():
            text = everything(path) if path.suffix == ".dcm" else path.read_text().casefold()
            assert [secret for secret in SECRETS if secret in text] == []


def errors(path: Path) -> list[str]:
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    return sorted(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error"))
