"""Who may speak to the server, what the command refuses, and what is left when the process is killed."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from serving import SPACING, Sides, affine, kidneys, package, serving, with_token

from dicom_series import make_series
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.cli import main
from voxgraft.errors import DataError, UsageError
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.serve.app import Settings
from voxgraft.serve.datastore import Datastore
from voxgraft.serve.frames import pack
from voxgraft.web.access import hosts_of

TOKEN = "t" * 20


@pytest.fixture(scope="module")
def url(tmp_path_factory, catalogue):
    folder = tmp_path_factory.mktemp("server")
    with serving(
        [package(folder / "model")], Settings(folder / "sessions", listening=with_token(TOKEN, folder)), catalogue
    ) as at:
        yield at


def test_only_whether_it_is_there_is_told_without_the_token(url) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"ok": True}
    for path in ("/capabilities", "/info/", "/datastore/", "/nothing", "/train/"):
        answer = httpx.get(url + path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    for header in (f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer \xff", TOKEN):
        headers = {"authorization": header.encode("latin-1")}
        assert httpx.get(f"{url}/info/", headers=headers).status_code == 401
    assert httpx.get(f"{url}/info/", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_a_page_that_was_turned_against_this_machine_is_refused(url) -> None:
    own = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{url}/info/", headers={**own, "host": "evil.example"}).status_code == 421
    assert httpx.get(f"{url}/info/", headers={**own, "origin": "https://evil.example"}).status_code == 403
    assert httpx.get(f"{url}/info/", headers={**own, "origin": "null"}).status_code == 403
    assert httpx.get(f"{url}/info/", headers={**own, "origin": url}).status_code == 200


def test_on_all_addresses_the_machines_own_names_are_the_servers() -> None:
    own = hosts_of("0.0.0.0", "seg.hospital.example:443")
    assert {socket.gethostname().lower(), "localhost", "seg.hospital.example"} <= own and "evil.example" not in own


def test_a_page_that_is_named_may_ask(tmp_path, catalogue) -> None:
    settings = Settings(tmp_path / "s", listening=with_token(TOKEN, tmp_path), origins=("https://ohif.example",))
    with serving([package(tmp_path / "m")], settings, catalogue) as url:
        asked = {"origin": "https://ohif.example", "access-control-request-method": "PUT"}
        allowed = httpx.options(f"{url}/datastore/label", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://ohif.example"
        assert (
            httpx.options(f"{url}/datastore/label", headers={**asked, "origin": "https://x.example"}).status_code == 403
        )


def test_a_body_that_is_too_long_is_not_read(url) -> None:
    own = {"authorization": f"Bearer {TOKEN}"}
    connection = http.client.HTTPConnection(httpx.URL(url).netloc.decode(), timeout=10)
    connection.putrequest("POST", "/set_target_buffer")
    for name, value in {**own, "content-length": str(2**40)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()

    def endless():
        for _ in range(64):
            yield b"x" * 2**16

    assert httpx.post(f"{url}/activelearning/first", headers=own, content=endless()).status_code == 413


def test_a_path_or_method_that_is_not_there_is_told(url) -> None:
    own = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{url}/nothing", headers=own).json()["detail"] == "there is no such address here"
    assert httpx.get(f"{url}/claim", headers=own).status_code == 405


def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch) -> None:
    def said(*words: str) -> str:
        outcome = CliRunner().invoke(main, ["serve", *words])
        assert outcome.exit_code == 2
        return outcome.output

    monkeypatch.chdir(tmp_path)
    assert "there is no" in said(str(tmp_path / "nowhere"))
    assert "--token-file" in said(str(tmp_path), "--host", "0.0.0.0")
    with_token(TOKEN, tmp_path)
    assert "in the clear" in said(str(tmp_path), "--host", "0.0.0.0", "--token-file", "token")
    assert "belong together" in said(str(tmp_path), "--certificate", "token")
    monkeypatch.setattr("voxgraft.serve.app.find_spec", lambda name: None if name == "blosc2" else object())
    assert "serving needs blosc2: pip install 'voxgraft[serve]'" in said(str(tmp_path))
    assert not (tmp_path / "voxgraft-sessions").exists()


def test_axes_and_folders_that_are_none(tmp_path, catalogue) -> None:
    for axes in ("SPX", "SS", "SSL", "SPLA"):
        with (
            pytest.raises(UsageError, match="three letters"),
            serving([package(tmp_path)], Settings(tmp_path / "s", axes=axes), catalogue),
        ):
            pass
    with pytest.raises(UsageError, match="no such folder"):
        Datastore(tmp_path / "nowhere", catalogue)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        Datastore(tmp_path / "empty", catalogue)


JUNK: list[Any] = [
    None,
    True,
    -1,
    1e300,
    "x",
    [],
    [1, 2, 3],
    [[0, 9]] * 3,
    {},
    "\ud800",
    [[[]]],
    ["a", "b", "c"],
    10**400,
]
KEYS = {
    "/set_target_buffer": ("shape", "dtype"),
    "/add_point_interaction": ("coordinates", "include_interaction", "run_prediction"),
    "/add_bbox_interaction": ("bbox_coords", "include_interaction"),
    "/add_scribble_interaction": ("interaction_bbox", "include_interaction"),
    "/add_lasso_interaction": ("interaction_bbox", "include_interaction"),
    "/set_image": ("image_properties",),
    "/infer/kidneys-clicks": ("label", "foreground", "background", "result_extension", "result_dtype"),
    "/datastore/label": ("label_info",),
}


def test_junk_is_answered_by_a_sentence_and_breaks_nothing(tmp_path, catalogue) -> None:
    """Every field of every address with values of several kinds; a server that fails at one answers 500."""
    write(Volume(kidneys(), affine()), tmp_path / "data" / "one.nii.gz", catalogue)
    settings = Settings(tmp_path / "sessions", data=tmp_path / "data")
    whole, draw = pack(kidneys()[None]), random.Random(1)
    with serving([package(tmp_path / "model")], settings, catalogue) as url, httpx.Client(base_url=url) as http:
        lease = {"x-lease-token": http.post("/claim").json()["lease_token"]}
        assert http.post("/set_image", content=whole, headers=lease).status_code == 200
        for path, keys in KEYS.items():
            for key in keys:
                for value in draw.sample(JUNK, 5):
                    body = {"include_interaction": True, "label": "left kidney"}
                    body |= {other: draw.choice(JUNK) for other in keys if draw.random() < 0.2} | {key: value}
                    text = json.dumps(body)
                    if path.startswith(("/infer", "/datastore")):
                        files = {"params": (None, text), "label": ("label.bin", bytes(kidneys().size))}
                        method = "POST" if path.startswith("/infer") else "PUT"
                        answer = http.request(method, path, params={"image": "one"}, files=files)
                    else:
                        headers = {**lease, "x-meta": text}
                        binary = path in ("/set_image", "/add_scribble_interaction", "/add_lasso_interaction")
                        answer = http.post(path, content=whole if binary else text.encode(), headers=headers)
                    assert answer.status_code in (200, 400), (path, text, answer.text)
                    assert answer.status_code == 200 or answer.json()["detail"]
        assert http.post("/add_point_interaction", json=_point(5, 7, 4), headers=lease).status_code == 200


def _point(*index: int) -> dict[str, Any]:
    return {"coordinates": index, "include_interaction": True}


def batch(folder: Path, catalogue) -> Path:
    """What `segment` leaves of two scans, one of them doubtful."""
    out = folder / "out"
    out.mkdir()
    with Ledger(out) as ledger:
        for number, sure in enumerate((0.9, 0.6)):
            case = f"scan-{number}"
            write(Volume(kidneys() + number, affine()), folder / "scans" / f"{case}.nii.gz", catalogue)
            write(Volume((kidneys() == 150).astype(np.uint8), affine()), out / case / "mask.nii.gz", catalogue)
            ledger.put(Row(case, f"../scans/{case}.nii.gz"))
            ledger.begin(case)
            found = {"right kidney": {"value": 1, "voxels": 9, "confidence": sure}}
            ledger.finish(case, outputs={}, structures=found, seconds={}, peak_mb=None, flags=[])
        ledger.put(Row("failed", "../scans/none.nii.gz", state="failed"))
    return out


def test_what_a_batch_left_is_a_worklist_with_its_masks(tmp_path, catalogue) -> None:
    settings = Settings(tmp_path / "sessions", data=batch(tmp_path, catalogue))
    with serving([package(tmp_path / "model")], settings, catalogue) as url:
        objects = httpx.get(f"{url}/datastore/", params={"output": "all"}).json()["objects"]
        assert sorted(objects) == ["scan-0", "scan-1"]
        assert objects["scan-0"]["labels"]["original"]["info"]["params"]["label_names"] == {"right kidney": 1}
        following = httpx.post(f"{url}/activelearning/uncertainty", json={}).json()
        assert following["id"] == "scan-1" and following["confidence"] == 0.6
        files = {"label": ("label.bin", (kidneys() == 150).astype(np.uint8).tobytes(order="F"))}
        assert httpx.put(f"{url}/datastore/label", params={"image": "scan-1"}, files=files).status_code == 200
        assert httpx.post(f"{url}/activelearning/uncertainty", json={}).json()["id"] == "scan-0"
    assert (tmp_path / "out" / "voxgraft-labels" / "final" / "scan-1.nii.gz").is_file()


def test_a_dicom_series_is_found_by_its_uid_and_its_mask_lies_where_it_does(tmp_path, catalogue) -> None:
    """OHIF names images by their SeriesInstanceUID; the series is tilted, its slices lie apart."""
    tilt = np.array([[0.0, -1.4, 0.9, 5], [1.0, 0.1, 0.1, -8], [0.02, 0.4, 2.8, 12], [0, 0, 0, 1]])
    tilt[:3, :3], _ = np.linalg.qr(tilt[:3, :3])
    tilt[:3, :3] *= [1.0, 1.5, 3.0]
    files = make_series(tmp_path / "data" / "a", kidneys(), tilt, Modality="MR", SeriesInstanceUID="1.2.3.4")
    make_series(tmp_path / "data" / "b", kidneys() + 1, tilt, Modality="MR", SeriesInstanceUID="1.2.3.5")
    with serving([package(tmp_path / "model")], Settings(tmp_path / "s", data=tmp_path / "data"), catalogue) as url:
        told = httpx.post(f"{url}/infer/kidneys", params={"image": "1.2.3.4", "output": "image"}).content
        (tmp_path / "mask.nii.gz").write_bytes(told)
        scan, mask = read(files[0].parent, catalogue), read(tmp_path / "mask.nii.gz", catalogue)
        assert np.allclose(scan.affine, mask.affine, atol=1e-3)
        assert np.array_equal(mask.array > 0, scan.array.reshape(scan.shape) > 100) and mask.array.any()
        image = httpx.get(f"{url}/datastore/image", params={"image": "1.2.3.5"})
        (tmp_path / "image.nii.gz").write_bytes(image.content)
        assert np.array_equal(read(tmp_path / "image.nii.gz", catalogue).array, scan.array.reshape(scan.shape) + 1)
        objects = httpx.get(f"{url}/datastore/", params={"output": "all"}).json()["objects"]
        assert len(objects) == 2 and not any("P1" in name or "/" in name for name in objects)


SERVER = """
import sys
from pathlib import Path
from typing import Any
from dicom_series import make_series
from serving import Sides, package
from voxgraft.discovery import discover
from voxgraft.serve.app import Settings, run
from voxgraft.web.listen import Listening
folder = Path(sys.argv[1])
say = lambda address: print(address, flush=True)
run([package(folder / "model")], Settings(folder / "sessions", liveness=600), discover(), say, Sides())
"""


def test_what_was_drawn_outlives_a_killed_server(tmp_path, catalogue, repo_path) -> None:
    remote = pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is not installed")
    roots = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), repo_path["PYTHONPATH"]])
    call = [sys.executable, "-c", SERVER, str(tmp_path)]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env={**repo_path, "PYTHONPATH": roots})
    image = np.ascontiguousarray(kidneys().transpose(2, 1, 0))[None]

    def opened(url: str):
        session = remote.nnInteractiveRemoteInferenceSession(url)
        session.set_image(image, {"spacing": SPACING[::-1]})
        session.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
        return session

    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with pytest.raises(UsageError, match="another voxgraft"):
            from voxgraft.serve.app import run

            run([package(tmp_path / "model")], Settings(tmp_path / "sessions"), catalogue, print, Sides())
        session = opened(url)
        session.add_point_interaction([4, 7, 5], include_interaction=True)
        session.add_bbox_interaction([[2, 4], [0, 20], [0, 24]], include_interaction=False)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    session._stop_heartbeat.set()
    with serving([package(tmp_path / "model")], Settings(tmp_path / "sessions"), catalogue) as url:
        again = opened(url)
        again.add_point_interaction([5, 7, 5], include_interaction=True)
        assert np.array_equal(again.target_buffer, session.target_buffer)
        assert again.undo() and again.target_buffer.sum() > session.target_buffer.sum()
        again.close()
    assert not any("kidney" in path.name for path in (tmp_path / "sessions").rglob("*"))
