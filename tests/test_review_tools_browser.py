"""Tools of the review page in a real browser: the filtered way from scan to scan, rulers, holes and borders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from review_batch import (
    AXIAL,
    CORONAL,
    READY,
    Patient,
    Server,
    Voxels,
    enter_as,
    look_at,
    make_batch,
    open_scan,
    saved,
    serving,
    stroke,
)
from review_browser import apply_preview, mask_of, needs_browser, told
from voxgraft.batch.ledger import Ledger

pytestmark = needs_browser
READER = "Dr-Weg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repo_path: dict[str, str]) -> Iterator[Server]:
    out = make_batch(tmp_path_factory.mktemp("tools") / "out")
    with Ledger(out) as ledger:
        flag = {"code": "no-spacing", "message": "nothing says how large its pixels are"}
        ledger.put(replace(ledger.get("sagittal"), flags=[flag]))
    with serving(out, repo_path) as running:
        yield running


def opened(page: Any) -> tuple[str, str]:
    """The scan on the page once it is there, and its place."""
    page.wait_for_selector(READY)
    return page.inner_text("#case"), page.inner_text("#place")


def goes_to(page: Any, case: str, act: Any) -> str:
    """Do what leads to another scan; gives the scan's place."""
    act()
    page.wait_for_url(f"**/scan/{case}")
    return opened(page)[1]


def row_cases(page: Any) -> list[str]:
    return [row.get_attribute("data-case") for row in page.locator(".row").all()]


def chosen_row(page: Any) -> str:
    case: str = page.locator(".row[aria-selected=true]").get_attribute("data-case")
    return case


def wait_for_rows(page: Any, cases: list[str]) -> None:
    script = "(cases) => [...document.querySelectorAll('.row')].map((row) => row.dataset.case).join() === cases"
    page.wait_for_function(script, arg=",".join(cases))


def the_way_from_scan_to_scan_is_that_of_the_list(page: Any, server: Server) -> None:
    enter_as(page, server.url, READER)
    assert sorted(row_cases(page)) == ["axial", "broken", "coronal", "oblique", "sagittal"]
    page.select_option("#state", "open")
    page.select_option("#flag", "")
    page.keyboard.press("/")
    page.keyboard.type("liver")  # the failed scan has none
    page.keyboard.press("Enter")
    page.select_option("#sort", "case")
    wait_for_rows(page, ["axial", "coronal", "oblique", "sagittal"])
    page.keyboard.press("ArrowDown")
    assert goes_to(page, "coronal", lambda: page.keyboard.press("Enter")) == "2 of 4 filtered"
    assert goes_to(page, "axial", lambda: page.keyboard.press("p")) == "1 of 4 filtered"
    assert page.is_disabled("#previous")
    told(page, "no scan before this in the worklist as it is filtered", lambda: page.keyboard.press("p"))
    assert goes_to(page, "coronal", lambda: page.click("#next")) == "2 of 4 filtered"
    page.keyboard.press("Shift+A")
    page.wait_for_selector("#whole .tag.good")
    assert page.inner_text("#place") == "2 of 4 filtered", "a decision moves nothing under the reader"
    assert goes_to(page, "oblique", lambda: page.keyboard.press("n")) == "2 of 3 filtered", "coronal is reviewed"
    assert goes_to(page, "axial", lambda: page.click("#previous")) == "1 of 3 filtered"
    goes_to(page, "oblique", lambda: page.keyboard.press("Shift+N"))
    goes_to(page, "sagittal", lambda: page.keyboard.press("Shift+N"))
    assert page.is_disabled("#next")
    goes_to(page, "axial", lambda: page.keyboard.press("Shift+N"))
    goes_to(page, "oblique", lambda: page.keyboard.press("n"))


def the_list_is_found_again_as_it_was_left_with_the_scan_that_was_open(page: Any) -> None:
    page.keyboard.press("w")
    wait_for_rows(page, ["axial", "oblique", "sagittal"])
    assert chosen_row(page) == "oblique"
    assert (page.input_value("#search"), page.input_value("#sort")) == ("liver", "case")
    assert "3 scans shown" in page.inner_text("#told") and "4 ○ not reviewed" in page.inner_text("#counts")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    wait_for_rows(page, ["axial", "broken", "coronal", "oblique", "sagittal"])
    page.keyboard.press("End")
    page.select_option("#sort", "doubt")
    page.wait_for_selector('.row[id=row-0][data-case="broken"]')
    assert goes_to(page, "broken", lambda: page.locator(".row").first.click()) == "1 of 5"
    assert "no longer where it was" in page.inner_text("#loading") and "voxels" not in page.inner_text("#about")


def the_list_keeps_the_chosen_scan_while_scans_come_and_go(page: Any, server: Server) -> None:
    page.keyboard.press("w")
    page.wait_for_selector('.row[aria-selected=true][data-case="broken"]')  # the scan's page was ready already
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen, first = chosen_row(page), page.locator(".row[id=row-1]").get_attribute("data-case")
    page.evaluate(
        """async (name) => {
      const { get, send } = await import("/static/api.js");
      const { mask } = await get(`/api/scans/${name}`);
      await send("POST", `/api/scans/${name}/decisions`, { structure: "", verdict: "accepted", mask: mask.sha256 });
    }""",
        first,
    )
    page.select_option("#state", "open")
    page.wait_for_function("() => document.querySelector('#told').textContent.startsWith('3 scans shown')")
    page.locator(f'.row[data-case="{chosen}"] .flags').hover()
    page.evaluate("document.querySelector('#list').focus()")
    while chosen_row(page) != chosen:
        page.keyboard.press("ArrowDown")
    number = page.locator(".row[aria-selected=true]").get_attribute("id")
    page.evaluate("""async () => {
      const { get, send } = await import("/static/api.js");
      const { mask } = await get("/api/scans/broken");
      const { reasons } = await get("/api/session");
      const body = { structure: "", verdict: "rejected", reason: reasons[0], mask: mask.sha256 };
      await send("POST", "/api/scans/broken/decisions", body);
    }""")
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelector('#told').textContent.startsWith('2 scans shown')")
    assert chosen_row(page) == chosen
    assert page.locator(".row[aria-selected=true]").get_attribute("id") != number, "one before it has gone"
    page.select_option("#state", "")


def lengths(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#help b").all_inner_texts()]


def a_ruler_measures_millimetres_in_the_plane(page: Any, server: Server) -> None:
    patient = Patient(server.out / "oblique" / "mask.nii.gz")
    open_scan(page, server.url, "oblique")
    page.keyboard.press("Shift+R")
    ends = [(3, 5, 9), (27, 25, 9)]
    page.evaluate("() => review.setCursor([3, 5, 9])")
    stroke(page, AXIAL, [patient.point(AXIAL, end) for end in ends])
    wanted = np.linalg.norm(np.diff(nib.affines.apply_affine(patient_affine(patient), ends), axis=0))
    assert float(lengths(page)[0].removesuffix(" mm")) == pytest.approx(wanted, abs=1.0), "half a pixel of the screen"
    page.evaluate("() => review.setCursor([3, 5, 9])")
    stroke(page, CORONAL, [patient.point(CORONAL, (3, 5, 4)), patient.point(CORONAL, (3, 5, 28))])
    assert float(lengths(page)[1].removesuffix(" mm")) == pytest.approx(24 * 3.0, abs=1.0)
    stroke(page, CORONAL, [patient.point(CORONAL, (20, 5, 20))])
    assert len(lengths(page)) == 2, "a click measures nothing"
    assert page.evaluate("() => review.strokes.done.length") == 0 and "✓ saved" in page.inner_text("#saved")
    page.keyboard.press("Escape")
    assert lengths(page) == []


def patient_affine(patient: Patient) -> Voxels:
    affine: Voxels = nib.as_closest_canonical(patient.image).affine
    return affine


def where_nothing_says_how_large_a_pixel_is_a_ruler_counts_pixels(page: Any, server: Server) -> None:
    patient = Patient(server.out / "sagittal" / "mask.nii.gz")
    open_scan(page, server.url, "sagittal")
    page.keyboard.press("Shift+R")
    assert "lengths are in pixels" in page.inner_text("#help")
    page.evaluate("() => review.setCursor([3, 5, 9])")
    stroke(page, AXIAL, [patient.point(AXIAL, (4, 10, 9)), patient.point(AXIAL, (20, 22, 9))])
    (text,) = lengths(page)
    assert float(text.removesuffix(" pixels")) == pytest.approx(20, abs=0.5)
    page.keyboard.press("Shift+S")
    assert "3 pixels" in page.inner_text("#help") and "mm" not in page.inner_text("#help")


def preview_and_apply(page: Any, server: Server, case: str) -> tuple[Voxels, Voxels]:
    """By keyboard: the masks on the server before and after."""
    page.keyboard.press("Enter")
    return apply_preview(page, server, case, READER)


def a_hole_is_filled_where_the_reader_wants_it_and_undone(page: Any, server: Server) -> None:
    patient = Patient(server.out / "oblique" / "mask.nii.gz")
    open_scan(page, server.url, "oblique")
    inside = tuple(int(n) for n in np.argwhere(patient.canonical == 1).mean(0))
    look_at(page, patient, inside)  # type: ignore[arg-type]
    page.keyboard.press("e")
    page.keyboard.press(",")
    stroke(page, AXIAL, [patient.point(AXIAL, inside)])  # type: ignore[arg-type]
    page.keyboard.press("Shift+F")
    before, after = preview_and_apply(page, server, "oblique")
    assert (before != patient.array).any()
    np.testing.assert_array_equal(after, patient.array)
    told(page, "Undone, and saved.", lambda: page.keyboard.press("Control+z"))
    np.testing.assert_array_equal(mask_of(server, "oblique", READER), before)
    for where in ("slice by slice", "this slice"):
        page.keyboard.press("r")
        assert page.input_value("#help select") == where
    page.keyboard.press("PageDown")
    told(page, "Nothing would change", lambda: page.keyboard.press("Enter"))
    page.keyboard.press("PageUp")
    np.testing.assert_array_equal(preview_and_apply(page, server, "oblique")[1], patient.array)


def a_border_is_smoothed_and_other_structures_stay(page: Any, server: Server) -> None:
    before = mask_of(server, "oblique", READER)
    page.keyboard.press("Shift+S")
    page.keyboard.press("r")
    assert page.input_value("#help select") == "gaussian"
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-act=apply]")
    preview = page.inner_text("#help b >> nth=1")
    for _ in range(6):
        page.keyboard.press(".")
    page.wait_for_function("(old) => document.querySelectorAll('#help b')[1]?.textContent !== old", arg=preview)
    page.wait_for_selector("#help >> text=working", state="detached")
    assert "6 mm" in page.inner_text("#help")
    told(page, "changed, and saved.", lambda: page.keyboard.press("Enter"))
    saved(page)
    after = mask_of(server, "oblique", READER)
    assert (after != before).any() and not ((after != before) & (before > 1)).any()
    assert (after == 1).sum() < (before == 1).sum() * 1.1
    page.keyboard.press("l")
    told(page, "liver is locked", lambda: page.keyboard.press("Enter"))


def the_keyboard_keeps_its_place_in_what_is_drawn_again(page: Any) -> None:
    page.focus("#window")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "window", "the next arrow would choose another structure"
    assert page.locator(".structure.chosen").get_attribute("data-name") == "liver"
    unnamed = """[...document.querySelectorAll("button, a, input, select, canvas:not([aria-hidden])")]
      .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.title || one.labels?.length))
      .map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []


def test_a_reader_uses_the_filtered_way_and_the_tools(page: Any, server: Server) -> None:
    """One test, for each step stands on what the one before left in the page; in this order."""
    the_way_from_scan_to_scan_is_that_of_the_list(page, server)
    the_list_is_found_again_as_it_was_left_with_the_scan_that_was_open(page)
    the_list_keeps_the_chosen_scan_while_scans_come_and_go(page, server)
    a_ruler_measures_millimetres_in_the_plane(page, server)
    where_nothing_says_how_large_a_pixel_is_a_ruler_counts_pixels(page, server)
    a_hole_is_filled_where_the_reader_wants_it_and_undone(page, server)
    a_border_is_smoothed_and_other_structures_stay(page, server)
    the_keyboard_keeps_its_place_in_what_is_drawn_again(page)
