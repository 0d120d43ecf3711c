"""nnInteractive's protocol, driven by the client that 3D Slicer's extension, MITK and napari use."""

from __future__ import annotations

import concurrent.futures
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import SPACING, Sides, affine, kidneys, package, serving, with_token

from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.serve.app import Settings

remote = pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is not installed")
TOKEN = "k" * 32
KJI = (2, 1, 0)
"""The order of axes in which 3D Slicer sends an array."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def predictor() -> Sides:
    return Sides()


@pytest.fixture(scope="module")
def url(folder, catalogue, predictor):
    settings = Settings(folder / "sessions", clients=3, listening=with_token(TOKEN, folder))
    packages = [package(folder / "a"), package(folder / "b", licence="CC BY 4.0")]
    with serving(packages, settings, catalogue, predictor) as address:
        yield address


def client(url: str, key: str = TOKEN) -> Any:
    return remote.nnInteractiveRemoteInferenceSession(url, api_key=key)


def slicer_array() -> np.ndarray:
    """The scan as 3D Slicer sends it: a channel, then the axes up, to the back, to the left."""
    return np.ascontiguousarray(kidneys().transpose(KJI))[None].astype(np.float32)


def begun(session: Any, image: np.ndarray | None = None, spacing: Any = SPACING[::-1]) -> np.ndarray:
    """Send a scan, and give the mask that the client keeps."""
    image = slicer_array() if image is None else image
    session.set_image(image, {"spacing": list(spacing)})
    assert session.original_image_shape == image.shape
    mask = np.zeros(image.shape[1:], np.uint8)
    session.set_target_buffer(mask)
    return mask


def fresh(value: float) -> np.ndarray:
    """The scan with another voxel, so that nobody has drawn on it."""
    image = slicer_array()
    image[0, 0, 0, 0] = value
    return image


def test_a_client_learns_what_the_server_can_and_whose_model_it_is(url) -> None:
    with client(url) as session:
        assert session.ping() and session.supports_undo and session.INFERENCE_SESSION_VERSION == 2
        assert session.license == "not stated by the makers of kidneys; trained from scratch"
        assert all(session.supported_interactions[name] for name in ("points", "bbox2d", "scribble", "lasso"))
        assert 595 < session.lease_status()["remaining_seconds"] <= 600
    with client(f"{url}/models/kidneys-2") as session:
        assert session.license == "CC BY 4.0"
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        client(f"{url}/models/liver")


def test_the_first_point_gives_the_models_structure_where_the_scans_voxels_lie(url) -> None:
    scan = kidneys()
    with client(url) as session:
        mask = begun(session, fresh(1))
        box = session.add_point_interaction([4, 7, 5], include_interaction=True)  # k, j, i: the right kidney
        wanted = np.zeros(scan.shape, bool)
        wanted[3:9, 5:10, 2:8] = True
        assert np.array_equal(mask.transpose(KJI) > 0, wanted)
        assert box == [[2, 8], [5, 10], [3, 9]]


@pytest.mark.parametrize(
    ("axes", "order", "flips"), [("RAS", (0, 1, 2), (True, True, False)), ("IRP", (2, 0, 1), (True, True, False))]
)
def test_other_axes_are_said_at_the_start(axes, order, flips, folder, catalogue) -> None:
    scan = kidneys().transpose(order)
    turned = scan[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    settings = Settings(folder / f"axes-{axes}", axes=axes)
    with serving([package(folder / "a")], settings, catalogue) as address, client(address) as session:
        mask = begun(session, np.ascontiguousarray(turned)[None], [SPACING[axis] for axis in order])
        left = np.argwhere(turned == 180)[0]
        session.add_point_interaction([int(i) for i in left], include_interaction=True)
        assert np.array_equal(mask > 0, turned == 180)


def test_a_scan_among_the_data_lies_where_its_file_says(folder, catalogue) -> None:
    """The file runs to the right, to the front and down, which no option says; its voxels are recognised."""
    scan, flipped = kidneys(), affine() @ np.diag([-1.0, -1.0, -1.0, 1.0])
    turned = np.ascontiguousarray(scan[::-1, ::-1, ::-1])
    write(Volume(turned, flipped), folder / "data" / "scan_1.nii.gz", catalogue)
    write(Volume(turned + 1, flipped), folder / "data" / "scan_2.nii.gz", catalogue)
    settings = Settings(folder / "known", data=folder / "data")
    with serving([package(folder / "a")], settings, catalogue) as address, client(address) as session:
        mask = begun(session, np.ascontiguousarray(turned.transpose(KJI))[None].astype(np.float32))
        place = np.argwhere(turned.transpose(KJI) == 150)[0]
        session.add_point_interaction([int(i) for i in place], include_interaction=True)
        assert np.array_equal(mask > 0, turned.transpose(KJI) == 150)


def test_only_the_changed_box_comes_back_and_undo_is_exact(url) -> None:
    with client(url) as session:
        mask = begun(session, fresh(2))
        session.add_point_interaction([4, 7, 5], include_interaction=True)
        before = mask.copy()
        box = session.add_point_interaction([9, 15, 20], include_interaction=True)
        assert box is not None and (mask != before).any()
        outside = np.ones(mask.shape, bool)
        outside[tuple(slice(*side) for side in box)] = False
        assert np.array_equal(mask[outside], before[outside])
        assert session.undo() and np.array_equal(mask, before)
        assert session.undo() and not mask.any()
        assert not session.undo()


def test_boxes_scribbles_and_lassos(url) -> None:
    scan = fresh(3)
    right, left = scan[0] == 150, scan[0] == 180
    with client(url) as session:
        mask = begun(session, scan)
        session.add_bbox_interaction([[6, 7], [8, 17], [14, 22]], include_interaction=True)  # flat: a slice
        assert np.array_equal(mask > 0, left)
        session.add_bbox_interaction([[4, 6], [0, 20], [0, 24]], include_interaction=False)
        assert np.array_equal(mask > 0, left & (np.arange(12) >= 6)[:, None, None])
        session.reset_interactions()
        assert not mask.any()
        stroke = np.zeros((1, 3, 4), np.uint8)
        stroke[0, 1] = 1
        session.add_scribble_interaction(stroke, True, interaction_bbox=[[4, 5], [6, 9], [4, 8]])
        assert np.array_equal(mask > 0, right)
        stroke[:] = 1
        session.add_scribble_interaction(stroke, False, interaction_bbox=[[4, 5], [6, 9], [4, 8]])
        assert not mask[4, 6:9, 4:8].any() and mask.any()
        session.reset_interactions()
        outline = np.zeros(scan.shape[1:], np.uint8)  # of the whole image
        outline[5, 5:10, 3:9] = 1
        outline[5, 6:9, 4:8] = 0
        session.add_lasso_interaction(outline, True)
        assert np.array_equal(mask > 0, right)
        outline[:] = 0
        outline[5, 5:10, 9:12] = 1
        session.add_lasso_interaction(outline, True)
        assert mask[5, 5:10, 3:12].all() and not mask[:, 10:].any()


def test_marks_wait_where_the_viewer_says_so(url) -> None:
    with client(url) as session:
        mask = begun(session, fresh(4))
        assert session.add_point_interaction([4, 7, 5], True, run_prediction=False) is None and not mask.any()
        assert session._predict() == [[2, 8], [5, 10], [3, 9]] and mask.any()
        assert session._predict() is None


def test_an_initial_mask_is_where_work_begins(url) -> None:
    with client(url) as session:
        mask = begun(session, fresh(5))
        start = np.zeros(mask.shape, np.uint8)
        start[3:6, 4:9, 3:8] = 1
        session.add_initial_seg_interaction(start)
        assert np.array_equal(mask, start)
        session.add_point_interaction([10, 2, 2], include_interaction=True)
        assert mask.sum() > start.sum()
        assert session.undo() and np.array_equal(mask, start)


def test_the_next_day_a_viewer_finds_its_work(folder, catalogue, predictor) -> None:
    settings = Settings(folder / "days", listening=with_token(TOKEN, folder))
    with serving([package(folder / "a")], settings, catalogue, predictor) as address:
        session = client(address)
        mask = begun(session)
        session.add_point_interaction([4, 7, 5], include_interaction=True)
        whole = mask.copy()
        session.add_bbox_interaction([[2, 4], [0, 20], [0, 24]], include_interaction=False)
        corrected = mask.copy()
        session._stop_heartbeat.set()  # the viewer ends without a word
    seen = predictor.seen
    with serving([package(folder / "a")], settings, catalogue, predictor) as address, client(address) as session:
        mask = begun(session)
        session.add_point_interaction([5, 7, 5], include_interaction=True)
        assert np.array_equal(mask, corrected) and predictor.seen == seen
        assert session.undo() and np.array_equal(mask, whole)
        session.reset_interactions()
        session.add_initial_seg_interaction(whole)
        assert session.undo() and not mask.any(), "the same mask is the same object, with its history"


def test_ten_clients_at_once_get_their_own_and_the_eleventh_is_told(folder, catalogue) -> None:
    settings = Settings(folder / "many", clients=10)
    with serving([package(folder / "a")], settings, catalogue) as address:
        sessions = [client(address) for _ in range(10)]
        with pytest.raises(remote.ServerAtCapacityError, match="places"):
            client(address)

        def draw(number: int) -> int:
            mask = begun(sessions[number], fresh(100 if number % 2 else 60 + number))
            place = [4, 7, 5] if number % 3 else [6, 12, 17]
            sessions[number].add_point_interaction(place, include_interaction=True)
            sessions[number].add_bbox_interaction([[0, 12], [0, 20], [number, number + 1]], include_interaction=False)
            return int(mask.sum())

        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            sizes = list(pool.map(draw, range(10)))
        for number, size in enumerate(sizes):
            kidney = kidneys().transpose(KJI) == (150 if number % 3 else 180)
            kidney[:, :, number] = False
            assert size == kidney.sum(), number
        sessions[0].close()
        client(address).close()
        for session in sessions:
            session.close()


def test_two_requests_of_one_client_are_done_one_after_the_other(url) -> None:
    with client(url) as session:
        mask = begun(session, fresh(6))
        session.add_point_interaction([4, 7, 5], include_interaction=True)
        threads = [
            threading.Thread(target=session.add_bbox_interaction, args=([[n, n + 1], [0, 20], [0, 24]], False))
            for n in range(2, 8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not mask.any()
        assert all(session.undo() for _ in range(7)) and not session.undo()


def test_leases_end_and_a_wrong_key_is_refused(url, folder, catalogue) -> None:
    for key in ("", "wrong", TOKEN[:-1]):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            client(url, key or "x")
    settings = Settings(folder / "short", idle=0.2)
    with serving([package(folder / "a")], settings, catalogue) as address:
        session = client(address)
        begun(session)
        threading.Event().wait(0.3)
        with pytest.raises(remote.SessionExpiredError, match="your work is kept"):
            session.add_point_interaction([4, 7, 5], include_interaction=True)
        session.close()


def test_what_cannot_be_is_told_in_a_sentence(url) -> None:
    with client(url) as session:
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            session.add_point_interaction([1, 1, 1], include_interaction=True)
        begun(session, fresh(7))

        def refusal(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str]:
            with pytest.raises(httpx.HTTPStatusError) as caught:
                call(*args, **kwargs)
            return caught.value.response.status_code, caught.value.response.json()["detail"]

        session.target_buffer = None  # else the client itself stumbles over masks of another shape
        status, text = refusal(session.add_point_interaction, [12, 0, 0], include_interaction=True)
        assert status == 400 and text == "the point [12, 0, 0] lies outside the image of [12, 20, 24] voxels"
        for call, args in [
            (session.add_point_interaction, ([1, 2], True)),
            (session.add_point_interaction, ([float("nan"), 2, 3], True)),
            (session.add_bbox_interaction, ([[3, 3], [0, 5], [0, 5]], True)),
            (session.add_bbox_interaction, ([[50, 60], [0, 5], [0, 5]], True)),
            (session.add_scribble_interaction, (np.ones((2, 2, 2), np.uint8), True)),
            (session.add_initial_seg_interaction, (np.ones((2, 2, 2), np.uint8),)),
            (session.set_image, (np.zeros((2, 3, 3, 3), np.float32),)),
            (session.set_image, (np.zeros((1, 3, 3, 3), np.float32), {"spacing": [1, 0, 1]})),
        ]:
            assert refusal(call, *args)[0] == 400
        assert refusal(session.set_target_buffer, np.zeros((2, 2, 2), np.uint8))[0] in (400, 409)


def test_no_pieces_are_left_of_what_was_not_drawn(url, folder) -> None:
    with client(url) as session:
        begun(session, fresh(8))
        session.add_point_interaction([0, 0, 0], include_interaction=False)
    for path in (folder / "sessions" / "scans").iterdir():
        assert (path / "scan.json").is_file()
        shutil.rmtree(path)
