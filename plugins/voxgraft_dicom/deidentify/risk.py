"""Which files are held back unread by the profile: their pixels or texts may name the patient, and no rule can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CAPTURE = ("Secondary Capture", "Ultrasound", "Endoscopic", "Ophthalmic Photography", "VL ", "Video ")
_DOCUMENT = ("Encapsulated", "Standalone", "Inventory")
_WAVEFORM = ("Waveform", "ECG", "Audio", "Physiological")
_TEXT = ("SR Storage", "Report", "Key Object Selection", "Procedure Log", "SR for Waveform", "Structured Display")
_CAPTURE_MODALITIES = ("US", "IVUS", "SC", "ES", "XC", "OP", "GM", "SM", "OT", "SMR")
_SLICES = ("CT", "MR", "PT", "NM", "CR", "DX", "MG")
_RAW = ("Raw Data",)
_DERIVED_BY_NATURE = ("Segmentation", "Parametric Map", "Registration", "Fiducials", "Real World Value")
_OVERLAY_BITS = tuple(0x60000102 + (group << 16) for group in range(0, 0x20, 2))
_MEASUREMENT_REPORT = "1500"


def held_back(source: Dataset, *, pixels_checked: bool) -> tuple[str, str] | None:
    """The rule that holds a file back and a sentence for people, or None.

    Args:
        source: The file as it came.
        pixels_checked: A person has looked: rules that only suspect the pixels are not applied.
    """
    kind = _class_name(source)
    modality = _text(source, "Modality")
    if kind is None:
        return "private-object", "an object of a maker's own class may hold anything"
    if any(word in kind for word in _DOCUMENT) or modality == "DOC":
        return "document", "a document (PDF, CDA, model) within the file is not searched"
    if any(word in kind for word in _RAW):
        return "raw-data", "raw data of a maker's own form may hold anything"
    if any(word in kind for word in _WAVEFORM):
        return "waveform", "a waveform may hold annotations or speech"
    if (any(word in kind for word in _TEXT) or modality in ("SR", "KO")) and _template(source) != _MEASUREMENT_REPORT:
        return (
            "report-text",
            "the text of a report may hold names; of reports only measurements (TID 1500) are delivered",
        )
    texts = any("TextObjectSequence" in item for item in source.get("GraphicAnnotationSequence") or ())
    if "Presentation State" in kind and texts:
        return "graphic-text", "a presentation state with texts, which may hold names"
    if _text(source, "BurnedInAnnotation") == "YES":
        return "burned-in", "Burned In Annotation (0028,0301) is YES"
    return None if pixels_checked else _suspect_pixels(source, kind, modality)


def notes(source: Dataset) -> set[str]:
    """What the user should know of a file that is delivered."""
    said = set()
    modality, part = _text(source, "Modality"), _text(source, "BodyPartExamined")
    if modality in ("CT", "MR", "PT") and (
        not part or any(w in part for w in ("HEAD", "BRAIN", "FACE", "SKULL", "NECK"))
    ):
        said.add("faces: scans that may show the head are delivered as they are; a face can be rebuilt from them")
    if modality in ("XA", "RF", "CR", "DX", "MG"):
        said.add("projections (XA, RF, CR, DX, MG) are delivered; look for names or markers within their pixels")
    if "StructureSetROISequence" in source:
        said.add("names of structures in RTSTRUCT are emptied by default; --descriptors clean keeps known words")
    return said


def _suspect_pixels(source: Dataset, kind: str, modality: str) -> tuple[str, str] | None:
    if any(word in kind for word in _CAPTURE) or modality in _CAPTURE_MODALITIES or _text(source, "ConversionType"):
        return "screen-or-camera", "captures, ultrasound, endoscopy and photographs often show names in the pixels"
    image_type = [str(part).upper().strip() for part in _several(source, "ImageType")]
    if any("SCREEN" in part and "SAVE" in part.replace(" ", "") for part in image_type):
        return "screen-save", "Image Type (0008,0008) tells of a saved screen"
    natural = any(word in kind for word in _DERIVED_BY_NATURE)
    clear = natural or _text(source, "BurnedInAnnotation") == "NO"
    if not clear and image_type and image_type[0] not in ("ORIGINAL", ""):
        return "not-original", "Image Type (0008,0008) is not ORIGINAL: derived images may show names in the pixels"
    if any(source[tag].value for tag in _OVERLAY_BITS if tag in source):
        return "overlay-in-pixels", "an overlay lies in unused bits of the pixels, which are not changed"
    if source.get("SamplesPerPixel") == 3 and modality in _SLICES and not natural:
        return "colour", "a colour image of a scanner is usually a saved screen"
    return None


def _class_name(source: Dataset) -> str | None:
    """The name of the file's SOP class; None where the standard does not know it."""
    from pydicom.uid import UID, UID_dictionary

    uid = str(source.get("SOPClassUID") or "") or str(source.file_meta.get("MediaStorageSOPClassUID", ""))
    return UID(uid).name if uid in UID_dictionary else None


def _template(source: Dataset) -> str:
    for item in source.get("ContentTemplateSequence") or ():
        return _text(item, "TemplateIdentifier")
    return ""


def _text(source: Dataset, keyword: str) -> str:
    return str(source.get(keyword) or "").strip().upper()


def _several(source: Dataset, keyword: str) -> list[Any]:
    value = source.get(keyword)
    if value is None or isinstance(value, str):
        return [value] if value else []
    return list(value)
