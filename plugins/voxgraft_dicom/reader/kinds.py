"""What an object is, by its SOP class (PS3.4, annex B.5): an image, structures of an image, or neither."""

from __future__ import annotations

from .header import Header

STORAGE = "1.2.840.10008.5.1.4.1.1."
DIRECTORY = "1.2.840.10008.1.3.10"
TOMOGRAPHIC = {STORAGE + "2": "CT", STORAGE + "4": "MR", STORAGE + "128": "PT"}
"""Single slices: without a place in the patient they are of no use."""
STRUCTURES = {STORAGE + "66.4": "dicom-seg", STORAGE + "66.7": "dicom-seg", STORAGE + "481.3": "dicom-rtstruct"}
"""Objects that hold structures of an image, with the readers that understand them."""
_IMAGES = frozenset({"1", "2", "3", "4", "5", "6", "7", "12", "13", "14", "20", "77", "128", "130"})
_NO_IMAGES = frozenset(map(str, (*range(8, 12), 30, 66, 67, 68, 78, 79, 80, 88, 90, 91, 104, 129, 131, 200, 201, 481)))
_NO_IMAGES_BY_NAME = frozenset({STORAGE + "4.2", STORAGE + "77.1.5.3", STORAGE + "501.3"})


def is_image(header: Header) -> bool:
    """Whether the file holds, or should hold, an image: one without pixels may be what is left of a slice."""
    name = header.sop_class
    family = name.removeprefix(STORAGE).split(".")[0] if name.startswith(STORAGE) else ""
    if family in _NO_IMAGES or name in _NO_IMAGES_BY_NAME or name.startswith(DIRECTORY):
        return False
    known = header.has_pixels or header.text("Rows") or not header.complete
    return bool(known) or not name or family in _IMAGES


def modality_of(header: Header) -> str | None:
    return header.text("Modality") or TOMOGRAPHIC.get(header.sop_class)
