"""A person's way through the review in a real browser: decide, draw, be refused, go on after the server was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from review_batch import (
    AXES,
    AXIAL,
    CORONAL,
    READY,
    SAGITTAL,
    Patient,
    Server,
    enter_as,
    look_at,
    make_batch,
    open_scan,
    pane_of,
    saved,
    serving,
    stroke,
)
from review_browser import apply_preview, mask_of, needs_browser, shown, told

pytestmark = needs_browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repo_path: dict[str, str]) -> Iterator[Server]:
    with serving(make_batch(tmp_path_factory.mktemp("review") / "out"), repo_path) as running:
        yield running


def the_picture_shows_the_scan_in_its_window(page: Any, server: Server) -> None:
    enter_as(page, server.url, "drawing")
    open_scan(page, server.url, "oblique")
    page.keyboard.press("Space")
    patient = Patient(server.out.parent / f"{server.out.name}-scans" / "oblique.nii.gz")
    for low, high in ((-160, 240), (0, 400)):
        page.evaluate("async ([low, high]) => review.setWindow(low, high)", [low, high])
        page.evaluate("() => review.setCursor([31, 31, 14])")
        left, top, width, height = pane_of(page, AXIAL)
        shown = Image.open(BytesIO(page.screenshot())).convert("L")
        voxels = [(x, y, 14) for x in range(4, 28, 3) for y in range(10, 28, 3)]
        places = [patient.point(AXIAL, voxel) for voxel in voxels]
        seen = [shown.getpixel((left + x * width, top + y * height)) for x, y in places]
        wanted = [np.clip((patient.canonical[voxel] - low) / (high - low), 0, 1) * 255 for voxel in voxels]
        assert np.corrcoef(seen, wanted)[0, 1] > 0.95
        assert np.mean(seen) == pytest.approx(np.mean(wanted), abs=5)


def what_is_drawn_lies_voxel_for_voxel_in_the_scans_own_grid(kind: str, page: Any, server: Server) -> None:
    patient = Patient(server.out / kind / "mask.nii.gz")
    open_scan(page, server.url, kind)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    far = tuple(length - 4 for length in patient.canonical.shape)
    look_at(page, patient, (far[0], 5, far[2] - 2))
    page.keyboard.press("d")
    page.keyboard.press(",")
    page.keyboard.press(",")
    ends = {
        AXIAL: [(2, 3, far[2] - 2), (far[0], 3, far[2] - 2)],
        CORONAL: [(4, 5, 2), (4, 5, far[2])],
        SAGITTAL: [(far[0], 2, 6), (far[0], far[1], 6)],
    }
    for plane, (first, last) in ends.items():
        stroke(page, plane, [patient.point(plane, first), patient.point(plane, last)])
        cells = tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))
        line = patient.canonical[cells]
        line[line == 0] = 3
    page.keyboard.press("Control+s")
    saved(page)
    result = nib.load(server.out / "review" / "masks" / kind / "drawing.nii.gz")
    assert np.asarray(result.dataobj).dtype == patient.array.dtype
    np.testing.assert_array_equal(np.asarray(result.dataobj), patient.in_file())
    np.testing.assert_allclose(result.affine, patient.image.affine, atol=1e-4)


def decisions(server: Server) -> list[tuple[str, str]]:
    """What was decided, in order, as the audit log has it."""
    lines = [json.loads(line) for line in (server.out / "review" / "audit.jsonl").read_text().splitlines()]
    return [(line["structure"], line["verdict"]) for line in lines if line.get("kind") == "decision"]


def decide_elsewhere(page: Any, verdict: str) -> None:
    """Another window of the same reader decides on the left kidney; this page does not know."""
    script = """async (verdict) => {
      const { send } = await import("/static/api.js");
      await send("POST", review.url("decisions"), { structure: "left kidney", verdict, mask: review.base, seconds: 1 });
    }"""
    page.evaluate(script, verdict)


def a_reader_finds_a_scan_by_keyboard(page: Any, server: Server) -> None:
    page.set_viewport_size({"width": 800, "height": 600})
    enter_again(page, server, "Dr-Weber")
    rows = page.locator(".row")
    assert [rows.nth(n).get_attribute("data-case") for n in (0, 1)] == ["broken", "axial"], "doubtful scans come first"
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "cut off at 800 pixels"
    page.keyboard.press("/")
    page.keyboard.type("corona")
    page.wait_for_selector('.row[id=row-0][data-case="coronal"]')
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.wait_for_selector('.row[id=row-0][data-case="axial"]')
    page.keyboard.press("Enter")
    page.wait_for_url("**/scan/axial")
    page.wait_for_selector(READY)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "cut off at 800 pixels"


def the_page_of_charts_is_styled_under_its_own_policy(page: Any, server: Server) -> None:
    context = page.context.new_page()
    context.goto(f"{server.url}/charts")
    assert context.evaluate("() => getComputedStyle(document.body).margin") == "0px", "the style inside is refused"
    context.close()


def enter_again(page: Any, server: Server, reader: str) -> None:
    """Change the reader."""
    page.goto(f"{server.url}/")
    page.wait_for_selector(READY)
    page.click("#who button")
    page.keyboard.type(reader)
    page.keyboard.press("Enter")
    page.wait_for_function("(reader) => document.querySelector('#who b').textContent === reader", arg=reader)


def a_reader_accepts_two_structures_and_draws_the_third(page: Any, server: Server) -> None:
    patient = Patient(server.out / "axial" / "mask.nii.gz")
    for name in ("liver", "spleen"):
        page.keyboard.press("a")
        page.wait_for_selector(f'.structure[data-name="{name}"] .tag.good')
    assert decisions(server) == [("liver", "accepted"), ("spleen", "accepted")]
    assert page.locator(".structure.chosen").get_attribute("data-name") == "left kidney"
    look_at(page, patient, (16, 14, 16))
    page.keyboard.press("d")
    page.keyboard.press("b")
    ends = [patient.point(CORONAL, (4, 14, 16)), patient.point(CORONAL, (28, 14, 16))]
    told(page, "locked", lambda: stroke(page, CORONAL, ends))  # finished structures stayed
    page.keyboard.press("Control+s")
    saved(page)
    after = mask_of(server, "axial", "Dr-Weber")
    for value in (1, 2):
        np.testing.assert_array_equal(after == value, patient.array == value)
    assert (after == 3).sum() > (patient.array == 3).sum()


def a_few_redrawn_slices_become_the_volume(page: Any, server: Server) -> None:
    patient = Patient(server.out / "axial" / "mask.nii.gz")
    page.keyboard.press("s")
    for _ in range(2):
        page.keyboard.press("r")
        assert page.input_value("#help select") == "erase", "another tool ends erasing"
        page.keyboard.press("d")
        page.keyboard.press("s")
    for up in (14, 18):
        look = "(up) => review.setCursor([16, 24, up])"
        page.evaluate(look, up)
        stroke(page, AXIAL, [patient.point(AXIAL, (12, 27, up)), patient.point(AXIAL, (20, 27, up))])
    assert "15, 19" in page.inner_text("#help"), "the page names the slices that were redrawn"
    page.keyboard.press("Control+s")
    saved(page)
    for key, done, named in (("Control+z", "Undone", False), ("Control+y", "Redone", True)):
        told(page, f"{done}, and saved.", lambda key=key: page.keyboard.press(key))  # type: ignore[misc]
        assert ("15, 19" in page.inner_text("#help")) == named, "slices are known again when their save is redone"
    page.click("[data-act=preview]")
    before, after = apply_preview(page, server, "axial", "Dr-Weber")
    changed = np.unique(np.nonzero(before != after)[2])
    assert {15, 16, 17} <= set(changed), "the slices between follow"
    np.testing.assert_array_equal(
        before[:, :, [14, 18]], after[:, :, [14, 18]], "redrawn slices stay as they were drawn"
    )


def a_click_changes_its_surroundings_only(page: Any, server: Server) -> None:
    patient = Patient(server.out / "axial" / "mask.nii.gz")
    page.keyboard.press("g")
    page.evaluate("() => review.setCursor([16, 24, 20])")
    stroke(page, AXIAL, [patient.point(AXIAL, (16, 24, 20))])
    before, after = apply_preview(page, server, "axial", "Dr-Weber")
    gained = (after == 3) & (before != 3)
    assert gained.any()
    for value in (1, 2):
        np.testing.assert_array_equal(after == value, patient.array == value)
    page.keyboard.press("d")


def an_island_is_removed_and_one_alone_is_kept(page: Any, server: Server) -> None:
    patient = Patient(server.out / "coronal" / "mask.nii.gz")
    open_scan(page, server.url, "coronal")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    here, there = (3, 4, 16), (3, 24, 16)
    look_at(page, patient, here)
    page.keyboard.press("d")
    for voxel in (here, there):
        stroke(page, AXIAL, [patient.point(AXIAL, voxel)])
    drawn = page.evaluate("() => review.mask.slice()")
    page.keyboard.press("y")
    assert page.evaluate("() => getComputedStyle(document.querySelector('#over')).cursor") == "crosshair"
    stroke(page, AXIAL, [patient.point(AXIAL, here)])
    assert place_of(page, here) == 0 and place_of(page, there) == 3
    page.keyboard.press("Control+z")
    assert page.evaluate("() => review.mask.slice()") == drawn
    page.keyboard.press("r")
    stroke(page, AXIAL, [patient.point(AXIAL, there)])
    left = page.evaluate("() => review.mask.reduce((count, code) => count + (code === 3), 0)")
    assert place_of(page, there) == 3 and 0 < left < 100, "the ball is gone as well"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+s")
    saved(page)
    page.keyboard.press("l")
    told(page, "is locked", lambda: stroke(page, AXIAL, [patient.point(AXIAL, there)]))
    assert place_of(page, there) == 3


def place_of(page: Any, voxel: tuple[int, int, int]) -> int:
    code: int = page.evaluate("(place) => review.mask[review.grid.index(...place)]", list(voxel))
    return code


def the_cursor_finds_a_structure_that_is_hollow(page: Any) -> None:
    script = """() => {
      const { grid } = review;
      review.mask.fill(0);
      for (const x of [4, 26]) review.mask[grid.index(x, 8, 9)] = review.chosen.code;
      review.centre();
      return review.picture.cursor;
    }"""
    x, y, z = page.evaluate(script)
    assert x in (4, 26) and (y, z) == (8, 9)


def a_save_that_would_change_a_finished_structure_is_refused_and_nothing_is_lost(page: Any, server: Server) -> None:
    before = mask_of(server, "axial", "Dr-Weber")
    stroke(page, AXIAL, [(0.4, 0.06), (0.6, 0.06)])
    decide_elsewhere(page, "corrected")
    page.keyboard.press("Control+s")
    page.wait_for_selector("dialog[open]")
    assert "left kidney: " in page.inner_text("dialog[open] li")
    page.keyboard.press("Escape")
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), before)
    assert page.evaluate("() => review.strokes.done.length") == 1
    page.wait_for_selector("#saved.look")
    page.keyboard.press("Control+s")
    page.click("dialog[open] [data-value=restore]")
    saved(page)
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), before)
    page.click('.structure.chosen [data-verdict="reopened"]')
    page.wait_for_selector(".structure.chosen .tag.wait")
    assert decisions(server)[-2:] == [("left kidney", "corrected"), ("left kidney", "reopened")]


def what_is_drawn_survives_a_killed_server_and_is_undone_afterwards(page: Any, server: Server) -> None:
    before = mask_of(server, "axial", "Dr-Weber")
    server.kill()
    stroke(page, AXIAL, [(0.4, 0.06), (0.6, 0.06)])
    page.keyboard.press("Control+s")
    page.wait_for_selector("#away", state="visible")
    server.start()
    page.wait_for_selector("#away", state="hidden")
    saved(page)
    assert (mask_of(server, "axial", "Dr-Weber") != before).any()
    told(page, "Undone, and saved.", lambda: page.keyboard.press("Control+z"))
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), before)
    stroke(page, AXIAL, [(0.4, 0.06), (0.6, 0.06)])
    page.wait_for_timeout(500)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.wait_for_selector(READY)
    assert page.evaluate("() => review.strokes.done.length") == 1, "a stroke that was not saved survives a reload"


def a_mask_that_was_saved_elsewhere_meanwhile_is_not_overwritten(page: Any, server: Server) -> None:
    page.evaluate("""async () => {
      const { send } = await import("/static/api.js");
      await send("POST", review.url("undo"), { mask: review.base });
    }""")
    page.keyboard.press("Control+s")
    page.click("dialog[open] [data-value=top]")
    page.wait_for_selector("#saved.look")
    page.keyboard.press("Control+s")
    saved(page)
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), shown(page))


def a_correction_of_a_mask_that_another_tab_saved_is_not_made(page: Any, server: Server) -> None:
    page.evaluate("""async () => {
      const { send } = await import("/static/api.js");
      await send("POST", review.url("undo"), { mask: review.base });
    }""")
    before = mask_of(server, "axial", "Dr-Weber")
    told(page, "the mask was changed in another window", lambda: page.keyboard.press("Control+z"))
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), before)
    np.testing.assert_array_equal(shown(page), before)


def what_a_tab_left_open_is_not_kept_under_the_reader_that_another_chose(page: Any, server: Server) -> None:
    other = page.context.new_page()
    other.goto(f"{server.url}/")
    other.wait_for_selector(READY)
    before = decisions(server)
    for name in ("Dr-Zwei", "Dr-Weber"):
        other.click("#who button")
        other.wait_for_selector("dialog[open] input")
        other.keyboard.type(name)
        other.keyboard.press("Enter")
        other.wait_for_selector(f"#who b >> text={name}")
        if name == "Dr-Zwei":
            page.keyboard.press("u")
            page.wait_for_selector("#toasts >> text=This browser now reads as Dr-Zwei")
            assert decisions(server) == before
    other.close()
    page.evaluate("review.saving.goOn()")
    page.wait_for_function("review.saving.waiting.length === 0")
    assert len(decisions(server)) == len(before) + 1


def a_decision_about_unsaved_strokes_waits_for_the_server(page: Any, server: Server) -> None:
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("d")
    server.kill()
    stroke(page, AXIAL, [(0.2, 0.06), (0.3, 0.06)])
    page.keyboard.press("c")
    page.wait_for_selector("#away", state="visible")
    server.start()
    page.wait_for_selector('.structure[data-name="left kidney"] .tag.good')
    saved(page)
    assert decisions(server)[-1] == ("left kidney", "corrected")
    np.testing.assert_array_equal(mask_of(server, "axial", "Dr-Weber"), shown(page))


def test_a_reader_goes_the_whole_way_through_the_review(page: Any, server: Server) -> None:
    """One test, for each step stands on what the one before left in the page; in this order."""
    the_picture_shows_the_scan_in_its_window(page, server)
    for kind in AXES:
        what_is_drawn_lies_voxel_for_voxel_in_the_scans_own_grid(kind, page, server)
    an_island_is_removed_and_one_alone_is_kept(page, server)
    the_cursor_finds_a_structure_that_is_hollow(page)
    a_reader_finds_a_scan_by_keyboard(page, server)
    the_page_of_charts_is_styled_under_its_own_policy(page, server)
    a_reader_accepts_two_structures_and_draws_the_third(page, server)
    a_few_redrawn_slices_become_the_volume(page, server)
    a_click_changes_its_surroundings_only(page, server)
    a_save_that_would_change_a_finished_structure_is_refused_and_nothing_is_lost(page, server)
    what_is_drawn_survives_a_killed_server_and_is_undone_afterwards(page, server)
    a_mask_that_was_saved_elsewhere_meanwhile_is_not_overwritten(page, server)
    a_correction_of_a_mask_that_another_tab_saved_is_not_made(page, server)
    what_a_tab_left_open_is_not_kept_under_the_reader_that_another_chose(page, server)
    a_decision_about_unsaved_strokes_waits_for_the_server(page, server)
