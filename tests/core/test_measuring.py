"""What is measured of a scan inside its structures: by which unit, in which report, and where a measurement fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import AFFINE, CONTRACT, Brightness, ball, model, write_scan

from dicom_series import make_series
from voxgraft.batch.contract import Level, judge
from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.scoring.measuring import Inside, MeasurementSpec, Quantity, measure_values

LABELS = Labels((Label(1, "ball"), Label(2, "core"), Label(3, "nothing")))
NONE = ("1", "UCUM", "no units")


def spec(name: str, work: Callable[[Inside], Any], **changes: Any) -> MeasurementSpec[Any]:
    return MeasurementSpec(name=name, summary=name, build=lambda options: work, **{"units": ("HU",), **changes})


def with_own(*specs: MeasurementSpec[Any]) -> Catalogue:
    catalogue = Catalogue()
    for number, one in enumerate(specs):
        catalogue.add_origin(Origin(f"plugin-{number}", "", "", ""))
        catalogue.add(f"plugin-{number}", one)
    return catalogue


def mask_of(array: Any) -> Volume:
    return Volume((array > 100).astype(np.uint8) + (array > 200).astype(np.uint8), AFFINE)


def test_mean_and_deviation_of_what_lies_inside(catalogue: Catalogue) -> None:
    array = ball()
    mask = mask_of(array)
    found = measure_values([(array, "HU")], mask, LABELS, catalogue)
    assert set(found.quantities) == {"ball", "core"} and not found.failures
    mean, deviation = found.quantities["core"]
    inside = array[mask.array == 2]
    assert (mean.name, mean.value) == ("HU mean", pytest.approx(inside.mean()))
    assert (deviation.name, deviation.value) == ("HU deviation", pytest.approx(inside.std()))
    assert mean.document() == {"value": round(float(inside.mean()), 4), "unit": "[hnsf'U]"}


@pytest.mark.parametrize("unit", ["", "BQML", "g/ml IBW"])
def test_values_without_a_unit_that_is_known_are_not_measured(catalogue: Catalogue, unit: str) -> None:
    assert measure_values([(ball(), unit)], mask_of(ball()), LABELS, catalogue).quantities == {}


def test_each_channel_is_measured_by_its_own_unit(catalogue: Catalogue) -> None:
    array = ball()
    found = measure_values([(array / 10, "g/ml"), (array, "HU"), (array * 0, "HU")], mask_of(array), LABELS, catalogue)
    values = {one.name: one.value for one in found.quantities["core"]}
    assert set(values) == {"SUVmean", "SUV deviation", "HU mean", "HU deviation"}
    assert values["HU mean"] == pytest.approx(10 * values["SUVmean"])  # the first channel of a unit counts


def test_structures_may_overlap(catalogue: Catalogue) -> None:
    array = ball()
    both = np.stack([array > 100, array > 200]).astype(np.uint8)
    labels = Labels(LABELS.items[:2])
    found = measure_values([(array, "HU")], Volume(both, AFFINE, dims=3), labels, catalogue)
    assert found.quantities["ball"][0].value == pytest.approx(array[array > 100].mean())


def test_a_measurement_sees_the_margin_that_it_asks_for() -> None:
    seen: list[Inside] = []
    array = ball()
    catalogue = with_own(spec("look", lambda inside: seen.append(inside) or [], margin_mm=4.0))
    measure_values([(array, "HU")], mask_of(array), LABELS, catalogue)
    core = seen[1]
    inside = np.argwhere(array > 200)
    low, high = inside.min(0), inside.max(0)
    assert core.values.shape == core.mask.shape == tuple(high - low + 1 + 2 * np.array([4, 4, 3]))
    np.testing.assert_array_equal(core.values[core.mask], array[array > 200])
    assert core.voxel_ml == pytest.approx(0.0015) and core.spacing == (1.0, 1.0, 1.5)


def _raises(inside: Inside) -> Any:
    raise RuntimeError("no such thing")


def test_what_fails_is_named_and_the_others_are_kept() -> None:
    good = spec("good", lambda inside: [Quantity("one", 1.0, NONE)])
    catalogue = with_own(
        spec("bad", _raises),
        good,
        spec("nan", lambda inside: [Quantity("none", float("nan"), NONE)]),
        spec("same", lambda inside: [Quantity("one", 2.0, NONE)]),
        spec("twice", lambda inside: [Quantity("two", 2.0, NONE)]),
        spec("twice", lambda inside: [Quantity("two", 2.0, NONE)]),
    )
    found = measure_values([(ball(), "HU")], mask_of(ball()), Labels(LABELS.items[:1]), catalogue)
    assert [(one.name, one.value) for one in found.quantities["ball"]] == [("one", 1.0)]
    said = "\n".join(found.failures)
    for word in ("'bad' failed: no such thing", "none is nan", "one is measured twice", "'twice' failed"):
        assert word in said


def batch(tmp_path: Path, catalogue: Catalogue, scan: Path, **changes: Any) -> tuple[dict[str, Any], str]:
    """The report of the one scan, and the page of the batch."""
    package = model(tmp_path / "model", **changes)
    done = segment(package, [scan], tmp_path / "out", catalogue, predictor=Brightness(), workers=1)
    assert done.done == 1, done.scans
    report = json.loads(next((tmp_path / "out").glob("*/report.json")).read_text())
    return report, (tmp_path / "out" / "report.html").read_text()


def test_a_ct_says_what_was_measured_in_its_report_and_in_the_page(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "ct", ball(), AFFINE, Modality="CT", RescaleIntercept=0)
    report, page = batch(tmp_path, catalogue, tmp_path / "ct", contract={**CONTRACT, "modality": ["CT"]})
    core = report["structures"]["core"]["measured"]
    assert core["HU mean"]["value"] == pytest.approx(ball()[ball() > 200].mean(), abs=1e-3)
    table = page[page.index("<h2>Measured") :]
    heads = re.findall(r"<th><button type=\"button\">(.*?)</button>", table)
    assert heads == ["Scan", "Structure", "Volume mL", "HU mean", "HU deviation"]
    assert f">{core['HU mean']['value']:.2f}</td>" in table


@pytest.mark.parametrize(("unit", "fits"), [("g/ml", True), ("BQML", False), ("g/ml LBMJANMA", False), ("", True)])
def test_values_in_other_units_than_in_training_are_refused(tmp_path: Path, unit: str, fits: bool) -> None:
    plan = model(tmp_path, contract={"modality": ["PT"], "units": ["g/ml"]}).plan
    item = Item(Path("pet"), "dicom", (26, 24, 14), AFFINE, modality="PT", facts={"units": unit})
    verdict = judge(item, plan)
    assert (verdict.level == Level.FITS) == fits
    assert fits or str(verdict) == f"its values are in {unit}, the model was trained on g/ml"


def test_an_mr_has_no_unit_and_nothing_is_said(tmp_path: Path, catalogue: Catalogue) -> None:
    report, page = batch(tmp_path, catalogue, write_scan(tmp_path / "scans" / "a.nii.gz"))
    assert "measured" not in report["structures"]["core"] and "<h2>Measured" not in page


def test_a_measurement_that_fails_is_a_flag_and_the_mask_is_there(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxgraft_plugins.measurements.values import Values

    monkeypatch.setattr(Values, "__call__", lambda self, inside: _raises(inside))
    make_series(tmp_path / "ct", ball(), AFFINE, Modality="CT", RescaleIntercept=0)
    report, _ = batch(tmp_path, catalogue, tmp_path / "ct", contract={**CONTRACT, "modality": ["CT"]})
    assert [flag["code"] for flag in report["flags"]] == ["no-measurement"] * 2 and report["masks"]


def test_scans_are_done_again_where_another_measurement_is_installed(tmp_path: Path, catalogue: Catalogue) -> None:
    """A second call skipped them, and their reports lacked what the new plugin measures without a word."""
    package, scan = model(tmp_path / "model"), write_scan(tmp_path / "scans" / "a.nii.gz")

    def again(known: Catalogue) -> list[str]:
        asked = Brightness()
        segment(package, [scan], tmp_path / "out", known, predictor=asked, workers=1)
        return asked.seen

    more = Catalogue(dict(catalogue._offers), dict(catalogue.origins))
    assert again(more) and not again(more)
    more.add_origin(Origin("new", "json", "", ""))
    more.add("new", spec("more", lambda inside: ()))
    assert again(more) and not again(more)
    more.add_origin(Origin("new", "csv", "", ""))  # the same name, other code
    assert again(more) and not again(more)
