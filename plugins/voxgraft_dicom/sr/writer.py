"""The measurement report: TID 1500 of DICOM PS3.16, with references to the SEG object and to the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxgraft.plugin import DataError, Quantity, Volume

from ..objects.forgiving import forgiving
from ..objects.header import item, patient_and_study, private_scheme, series_number
from ..objects.identity import Maker, derived_uid, long_string, object_uids
from ..objects.segments import segments_of
from ..objects.sources import Sources, read_sources
from ..objects.terms import Code, term_of
from .options import ReportOptions
from .proof import AREA, Size, prove, sizes_of

if TYPE_CHECKING:
    from voxgraft.plugin import Catalogue, Label, Labels

SEGMENTATION = {"binary": "1.2.840.10008.5.1.4.1.1.66.4", "labelmap": "1.2.840.10008.5.1.4.1.1.66.7"}
KINDS = {"binary": "segmentation", "labelmap": "labelmap"}
IMAGING: Code = ("363679005", "SCT", "Imaging procedure")


class ReportWriter:
    """Writes what was measured in a mask as a structured report of the study that it belongs to."""

    def __init__(self, options: ReportOptions) -> None:
        self._options = options
        self._readers: Catalogue | None = None

    def use_readers(self, catalogue: Catalogue) -> None:
        """Read the scan that is measured with these readers."""
        self._readers = catalogue

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file; it takes its name only after it was read back and says what was measured.

        It refers to the object that the writer `dicom-seg` makes of the same mask, whether that is written or not:
        its UIDs follow from the scan and the model.

        Args:
            volume: Label values (i, j[, k]), or 0 and 1 in a channel for each label.

        Raises:
            DataError: The volume is not a mask of a DICOM series, or holds values that no label names.
        """
        if labels is None or not labels.items:
            raise DataError(f"{target}: a measurement report needs a mask with named structures, and none are named")
        segments = segments_of(volume, labels, target)
        sources = read_sources(volume, target)
        sizes = sizes_of(segments, volume)
        quantities = self._quantities(sources, volume, labels)
        try:
            self._save(target, sizes, quantities, sources, labels, Maker.of(facts))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{target}: this series does not allow a measurement report: {error}") from error
        try:
            prove(target, sizes, [long_string(name) for name in labels.names])
        except DataError as error:
            raise DataError(f"{target}: was not kept: {error}") from None

    def _quantities(self, sources: Sources, mask: Volume, labels: Labels) -> list[list[Quantity]]:
        """What the installed measurements find in each structure, where the scan's values have a unit."""
        from voxgraft.plugin import measure_values, read_item, unit_of

        if not self._options.intensities or not unit_of(sources.item) or sources.item.channels != 1:
            return [[] for _ in labels.items]
        assert self._readers is not None, "the engine hands the readers to a writer that reads images"
        scan = read_item(sources.item, self._readers)
        array = scan.array.reshape(mask.shape)
        found = measure_values([(array, unit_of(sources.item))], mask, labels, self._readers).quantities
        return [found.get(label.name, []) for label in labels.items]

    def _save(
        self,
        path: Path,
        sizes: Sequence[Size],
        quantities: Sequence[Sequence[Quantity]],
        sources: Sources,
        labels: Labels,
        maker: Maker,
    ) -> None:
        from highdicom.sr import Comprehensive3DSR, MeasurementReport

        segmentation = _segmentation(self._options.segmentation, sources, maker)
        with forgiving():  # of values that the scan itself brought along
            groups = [
                _group(number, label, size, measured, segmentation, sources, maker)
                for number, (label, size, measured) in enumerate(zip(labels.items, sizes, quantities, strict=True), 1)
            ]
            report = MeasurementReport(
                observation_context=_observer(maker, self._options.manufacturer),
                procedure_reported=_code(IMAGING),
                imaging_measurements=groups,
                title=_code(("126000", "DCM", "Imaging Measurement Report")),
            )
            uids = object_uids(f"report of {KINDS[self._options.segmentation]}", sources, maker)
            document = Comprehensive3DSR(
                evidence=[*_evidence(sources), segmentation],
                content=report[0],
                series_instance_uid=uids[0],
                sop_instance_uid=uids[1],
                series_number=max(1, series_number(sources, self._options.series_offset)),
                instance_number=1,
                manufacturer=self._options.manufacturer,
                manufacturer_model_name="VoxGraft",
                software_versions=maker.software,
                device_serial_number=maker.hash or "0",
                series_description=long_string(f"{'Reviewed: ' if maker.review else ''}{maker.model} measurements"),
                is_complete=True,
                **_verified(maker),
            )
            document.SpecificCharacterSet = "ISO_IR 192"
            if any(term_of(label).private for label in labels.items):
                document.CodingSchemeIdentificationSequence = [private_scheme()]
            document.save_as(path, enforce_file_format=True)


def _group(
    number: int,
    label: Label,
    size: Size,
    quantities: Sequence[Quantity],
    segmentation: Any,
    sources: Sources,
    maker: Maker,
) -> Any:
    """The measurements of one structure (TID 1410 of a picture, TID 1411 of a volume)."""
    from highdicom import sr

    term, name = term_of(label), long_string(label.name)
    rows: list[tuple[Code, Code, float, Code | None]] = [(size.concept, size.unit, size.value, None)]
    rows += [
        (one.concept, one.unit, round(one.value, 3), one.derivation) for one in quantities if one.concept is not None
    ]
    algorithm = sr.AlgorithmIdentification(
        name=maker.model, version=maker.version, parameters=[f"sha256={maker.hash}"] if maker.hash else None
    )
    side = _code(term.side) if term.side is not None else None
    shared = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=derived_uid("tracking", segmentation.SOPInstanceUID, str(number)), identifier=name
        ),
        "finding_type": _code(term.type),
        "algorithm_id": algorithm,
        "finding_sites": [sr.FindingSite(anatomic_location=_code(term.type), laterality=side)] if side else None,
        "measurements": [
            sr.Measurement(
                name=_code(concept), value=value, unit=_code(unit), derivation=_code(how) if how is not None else None
            )
            for concept, unit, value, how in rows
        ],
    }
    if size.concept != AREA:
        reference = sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(sources.series),
        )
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **shared)
    picture = sr.SourceImageForSegmentation(*sources.planes[0].instance)
    frame = sr.ReferencedSegmentationFrame(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        frame_number=1,
        segment_number=number,
        source_image=picture,
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=frame, **shared)


def _verified(maker: Maker) -> dict[str, Any]:
    """The state of a report: preliminary from a model, final after a review, verified where somebody answers for it."""
    review = maker.review
    if review is None:
        return {}
    if not review.reader or not review.organisation:
        return {"is_final": True}
    return {
        "is_final": True,
        "is_verified": True,
        "verifying_observer_name": review.reader,
        "verifying_organization": long_string(review.organisation),
    }


def _observer(maker: Maker, manufacturer: str) -> Any:
    from highdicom import sr

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", maker.key),
        name=maker.model,
        manufacturer_name=manufacturer,
        model_name=f"{maker.model} {maker.version}",
        serial_number=maker.hash or None,
    )
    person = None
    if maker.review is not None and maker.review.reader:
        person = sr.ObserverContext(
            observer_type=_code(("121006", "DCM", "Person")),
            observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name=maker.review.reader),
        )
    return sr.ObservationContext(
        observer_person_context=person,
        observer_device_context=sr.ObserverContext(
            observer_type=_code(("121007", "DCM", "Device")), observer_identifying_attributes=device
        ),
    )


def _evidence(sources: Sources) -> list[Any]:
    """What the report has to know of each file of the scan, and nothing that it would copy besides.

    Texts are those that every derived object gets: the scan's own character set and sequences stay behind.
    """
    shared = {"StudyInstanceUID": sources.study, "SeriesInstanceUID": sources.series, **patient_and_study(sources)}
    return [
        item(SOPClassUID=sop_class, SOPInstanceUID=instance, **shared)
        for sop_class, instance in dict.fromkeys(plane.instance for plane in sources.planes)
    ]


def _segmentation(option: str, sources: Sources, maker: Maker) -> Any:
    """What is known of the SEG object without its file: enough to refer to it."""
    series, instance = object_uids(KINDS[option], sources, maker)
    return item(
        SOPClassUID=SEGMENTATION[option],
        StudyInstanceUID=sources.study,
        SeriesInstanceUID=series,
        SOPInstanceUID=instance,
    )


def _code(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)
