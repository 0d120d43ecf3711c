"""What headers share is stepped over, and never changes what a header says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_series import make_series
from voxgraft_dicom.reader.attributes import BINARY, CREATORS, PRESENCE, PRIVATE, TAGS, WHOLE_NUMBERS
from voxgraft_dicom.reader.elements import MOST, Memory
from voxgraft_dicom.reader.header import read_header

ARRAY = np.arange(4 * 3 * 12, dtype=np.int16).reshape(4, 3, 12)
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def scanner(k: int, dataset: Dataset) -> None:
    """Private elements, a sequence of undefined length, and values whose lengths change from slice to slice."""
    block = dataset.private_block(0x0021, "SOME MAKER", create=True)
    for element in range(20):
        block.add_new(element, "LO", f"value {element}" if element != 7 else "x" * (k % 5))
    inner = Dataset()
    inner.CodeMeaning, inner.CodeValue = "Chest", f"T-{k // 3}"
    dataset.AnatomicRegionSequence = Sequence([inner])
    dataset["AnatomicRegionSequence"].is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    dataset.SliceThickness = 1 + (k // 4)
    dataset.RescaleIntercept = -1024 if k % 6 else 0


def two_series(folder: Path) -> list[Path]:
    """Files of an explicit and of an implicit series, three by three."""
    one, two = (
        make_series(folder / syntax, ARRAY, np.eye(4), syntax=syntax, edit=scanner, PatientID=f"P{syntax[-1]}")
        for syntax in SYNTAXES
    )
    return [file for k in range(0, 12, 3) for file in (*one[k : k + 3], *two[k : k + 3])]


def test_headers_are_the_same_with_and_without_a_memory(tmp_path: Path) -> None:
    memory = Memory()
    for file in two_series(tmp_path):
        assert read_header(file, memory) == read_header(file)
    assert memory.explicit, "nothing was learnt from explicit files"
    assert memory.implicit, "nothing was learnt from implicit files"


def test_spoiled_headers_are_the_same_with_and_without_a_memory(tmp_path: Path) -> None:
    files = two_series(tmp_path)
    random = np.random.default_rng(3)
    memory, differing = Memory(), 0
    for number in range(300):
        whole = files[number % len(files)].read_bytes()
        spoiled = bytearray(whole)
        for at in random.integers(132, len(spoiled) - 24, 1 + number % 3):
            spoiled[at] = random.integers(256)
        if number % 10 == 0:
            del spoiled[int(random.integers(140, len(spoiled))) :]
        for content in (bytes(spoiled), whole):
            file = tmp_path / "file.dcm"
            file.write_bytes(content)
            without: Any = read_header(file)
            assert read_header(file, memory) == without
        differing += spoiled != whole
    assert differing > 250


def test_a_memory_stays_small(tmp_path: Path) -> None:
    memory = Memory()
    for file in two_series(tmp_path) * 20:
        read_header(file, memory)
    assert len(memory.explicit) <= MOST
    assert len(memory.before) < 200


def test_the_table_of_attributes_is_that_of_the_standard() -> None:
    """Tags and what is not text, by pydicom's dictionary; private elements stand in groups of odd numbers."""
    public = TAGS.keys() - PRIVATE.keys() - CREATORS
    assert {name: TAGS[name] for name in public} == {name: tag_for_keyword(name) for name in public}
    assert all(TAGS[name] >> 16 & 1 for name in PRIVATE.keys() | CREATORS) and len(public) > 70
    of = {vr: {name for name in public if dictionary_VR(TAGS[name]) == vr} for vr in ("US", "FD", "FL", "SS")}
    assert of["US"] == WHOLE_NUMBERS and of["FD"] | of["FL"] | of["SS"] == BINARY.keys() & public
    assert {name for name in public if dictionary_VR(TAGS[name]) in ("SQ", "OF", "OD")} == PRESENCE
