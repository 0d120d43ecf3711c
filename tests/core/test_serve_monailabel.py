"""MONAI Label's API, driven by its own client, and by requests in the shape of OHIF's."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from serving import STRUCTURES, Sides, affine, kidneys, package, serving, with_token

from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.serve.app import Settings
from voxgraft.serve.monailabel import NOT_TRAINED

if sys.version_info >= (3, 13):
    pytest.skip("monailabel's client imports cgi, which Python 3.13 no longer has", allow_module_level=True)
_reason = "monailabel is not installed; pip install --no-deps monailabel==0.8.5"
monailabel = pytest.importorskip("monailabel.client.client", reason=_reason)


def _oblique() -> np.ndarray:
    """A scan that lies in no plane of the body, axes turned and voxels of different lengths."""
    turn = sitk.Euler3DTransform((0, 0, 0), 0.5, -0.35, 0.8)
    matrix = np.array(turn.GetMatrix()).reshape(3, 3)[:, [1, 2, 0]] * [-1.2, 0.9, 2.6]
    return np.vstack([np.column_stack([matrix, [12.0, -7.0, 30.0]]), [0, 0, 0, 1]])


OBLIQUE = _oblique()
NAMES = {name: value for value, name in STRUCTURES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, catalogue) -> Path:
    root = tmp_path_factory.mktemp("monai")
    images = root / "data" / "images"
    write(Volume(kidneys(), affine()), images / "one.nii.gz", catalogue)
    write(Volume(kidneys(), OBLIQUE), images / "two.nrrd", catalogue)
    write(Volume(np.ascontiguousarray(kidneys()[::-1]), affine()), images / "three.nii.gz", catalogue)
    label = Volume((kidneys() == 150).astype(np.uint8), affine())
    write(label, root / "data" / "labels" / "one.nii.gz", catalogue)
    return root


@pytest.fixture(scope="module")
def url(folder, catalogue):
    settings = Settings(folder / "sessions", data=folder / "data")
    with serving([package(folder / "model")], settings, catalogue, Sides()) as address:
        yield address


@pytest.fixture
def client(url, tmp_path) -> Any:
    return monailabel.MONAILabelClient(url, tmpdir=str(tmp_path), client_id="reader")


def wanted(place: np.ndarray) -> np.ndarray:
    """What the model finds of the kidneys in a scan that lies so: by the side of the patient on which voxels lie."""
    return Sides().predict(Volume(kidneys(), place)).labels.array


def test_info_names_models_structures_and_licence_and_no_path(client, folder) -> None:
    info = client.info()
    assert info["labels"] == ["right kidney", "left kidney"] and not info.get("config")
    assert info["models"]["kidneys"]["labels"] == NAMES and info["models"]["kidneys-clicks"]["type"] == "deepgrow"
    assert "licence: not stated" in info["models"]["kidneys"]["description"]
    assert info["trainers"] == {} and info["datastore"]["total"] == 3
    assert not client.auth_enabled() and client.auth_valid_token()
    told = json.dumps([info, client.datastore(), client.next_sample("first", {})])
    assert str(folder) not in told and "/tmp" not in told


@pytest.mark.parametrize(("image", "place"), [("one", affine()), ("two", OBLIQUE)])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_mask_lies_where_the_scan_does(client, image, place, suffix) -> None:
    file, params = client.infer("kidneys", image, {"result_extension": suffix})
    assert file.endswith(suffix) and params["label_names"] == NAMES
    mask = sitk.ReadImage(file)
    assert np.array_equal(sitk.GetArrayFromImage(mask).T, wanted(place))
    for index in ((0, 0, 0), (5, 7, 3), (23, 19, 11)):
        lps = np.array([-1, -1, 1]) * (place @ [*index, 1])[:3]
        assert np.allclose(mask.TransformIndexToPhysicalPoint(index), lps, atol=1e-3)
    if suffix == ".nii.gz":
        assert np.allclose(nib.load(file).affine, place, atol=1e-4)


def test_names_are_those_of_the_structures_that_are_there(url, tmp_path, folder, catalogue) -> None:
    """Slicer takes names by the order of the values, not by the values: one that is missing would shift them."""
    scan = kidneys()
    scan[scan == 150] = 0
    write(Volume(scan, affine()), tmp_path / "left.nii.gz", catalogue)
    client = monailabel.MONAILabelClient(url, tmpdir=str(tmp_path))
    _, params = client.infer("kidneys", "", {}, file=str(tmp_path / "left.nii.gz"))
    assert params["label_names"] == {"left kidney": 2}


def test_points_correct_one_structure(client) -> None:
    file, params = client.infer(
        "kidneys-clicks", "one", {"label": "right kidney", "foreground": [[9, 7, 5]], "background": []}
    )
    mask = np.asarray(nib.load(file).dataobj)
    assert params["label_names"] == {"right kidney": 1} and mask[9, 7, 5] == 1
    assert (mask[wanted(affine()) == 1] == 1).all() and not mask[20:].any()


def test_the_next_scan_is_that_of_which_the_model_is_least_sure(folder, catalogue, tmp_path) -> None:
    predictor = Sides()
    settings = Settings(tmp_path / "sessions", data=folder / "data")
    with serving([package(folder / "model")], settings, catalogue, predictor) as url:
        client = monailabel.MONAILabelClient(url, tmpdir=str(tmp_path))
        assert client.next_sample("uncertainty", {})["id"] == "one"
        client.infer("kidneys", "three", {})
        assert client.next_sample("uncertainty", {}) == {
            "id": "three",
            "name": "three.nii.gz",
            "strategy": "uncertainty",
            "confidence": 0.8,
        }
    with serving([package(folder / "model")], settings, catalogue, predictor) as url:
        client = monailabel.MONAILabelClient(url, tmpdir=str(tmp_path))
        assert client.next_sample("uncertainty", {})["id"] == "three", "known after a restart, too"
        assert client.next_sample("random", {})["id"] in ("one", "two", "three")
        with pytest.raises(monailabel.MONAILabelClientException) as caught:
            client.next_sample("epistemic", {})
        assert "known are uncertainty, first, random" in caught.value.msg


def test_a_saved_label_lies_beside_and_never_over(client, folder, tmp_path, catalogue) -> None:
    own = (folder / "data" / "labels" / "one.nii.gz").read_bytes()
    drawn = np.zeros(kidneys().shape, np.uint8)
    drawn[15:20, 9:16, 4:10], drawn[3:5, 5:10, 2:8] = 1, 2
    turned = Volume(np.ascontiguousarray(drawn[::-1].transpose(2, 1, 0)), affine()[:, [2, 1, 0, 3]].copy())
    turned.affine[:3, 2] *= -1  # the same grid in another order of axes
    turned.affine[:3, 3] += affine()[:3, 0] * (drawn.shape[0] - 1)
    write(turned, tmp_path / "drawn.nrrd", catalogue)
    info = [{"name": "left kidney", "idx": 1}, {"name": "right kidney", "idx": 2}]
    for number in range(2):
        saved = client.save_label("one", str(tmp_path / "drawn.nrrd"), "final", {"label_info": info})
        assert saved["label_names"] == {"left kidney": 2, "right kidney": 1}, number
    kept = nib.load(folder / "data" / "voxgraft-labels" / "final" / "one.nii.gz")
    assert np.allclose(kept.affine, affine())
    assert np.array_equal(np.asarray(kept.dataobj), np.array([0, 2, 1])[drawn]), "the values are those of the model"
    assert (folder / "data" / "voxgraft-labels" / "final" / "one.before-1.nii.gz").is_file()
    assert (folder / "data" / "labels" / "one.nii.gz").read_bytes() == own
    objects = client.datastore()["objects"]
    assert objects["one"]["labels"]["final"]["info"]["params"]["label_names"]["left kidney"] == 2
    assert "original" in objects["one"]["labels"] and set(objects) == {"one", "two", "three"}
    assert client.info()["datastore"]["completed"] == 1
    assert client.next_sample("first", {})["id"] != "one"
    back = nib.load(client.download_label("one", "final"))
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(kept.dataobj))
    own_mask = nib.load(client.download_label("one", "original"))
    assert np.array_equal(np.asarray(own_mask.dataobj) > 0, kidneys() == 150)


def test_ohifs_requests(url) -> None:
    form = {
        "params": (None, json.dumps({"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}))
    }
    image = httpx.post(f"{url}/infer/kidneys", params={"image": "one", "output": "image"}, files=form)
    head, _, voxels = image.content.partition(b"\n\n")
    assert image.content.startswith(b"NRRD") and b"encoding: raw" in head
    assert np.array_equal(np.frombuffer(voxels, "<u2").reshape(kidneys().shape, order="F"), wanted(affine()))
    drawn = wanted(affine()).astype(np.uint8)
    files = {"params": (None, "{}"), "label": ("label.bin", drawn.tobytes(order="F"))}
    saved = httpx.put(f"{url}/datastore/label", params={"image": "three"}, files=files)
    assert saved.status_code == 200
    back = httpx.get(f"{url}/datastore/label", params={"label": "three", "tag": "final"}).content
    assert np.array_equal(np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(back)).dataobj), drawn)
    files["label"] = ("label.bin", drawn.tobytes()[:-1])
    assert httpx.put(f"{url}/datastore/label", params={"image": "three"}, files=files).status_code == 400
    assert httpx.post(f"{url}/infer/kidneys", params={"image": "one", "output": "json"}).json()["label_names"] == NAMES


def test_sessions_and_images_that_viewers_send(client, folder, tmp_path, catalogue) -> None:
    write(Volume(kidneys(), OBLIQUE), tmp_path / "sent.nii.gz", catalogue)
    session = client.create_session(str(tmp_path / "sent.nii.gz"))["session_id"]
    assert client.get_session(session)["files"] == 1
    file, _ = client.infer("kidneys", "", {}, session_id=session)
    assert np.array_equal(np.asarray(nib.load(file).dataobj), wanted(OBLIQUE))
    client.remove_session(session)
    with pytest.raises(monailabel.MONAILabelClientException):
        client.get_session(session)
    assert client.upload_image(str(tmp_path / "sent.nii.gz"), "new 1") == {"image": "new 1"}
    assert client.datastore()["objects"]["new 1"]["labels"] == {}
    got = httpx.get(f"{client.get_server_url()}/datastore/image", params={"image": "new 1"})
    assert "new%201.nii.gz" in got.headers["content-disposition"]
    assert httpx.head(f"{client.get_server_url()}/datastore/image", params={"image": "new 1"}).status_code == 200


def test_it_says_that_it_does_not_train(client) -> None:
    assert client.train_status(True) is False
    assert client.train_status() == {"status": "NOT TRAINED HERE", "details": [NOT_TRAINED]}
    with pytest.raises(monailabel.MONAILabelClientException) as caught:
        client.train_start("kidneys", {})
    assert NOT_TRAINED in caught.value.msg


def test_a_token_is_the_password(folder, catalogue, tmp_path) -> None:
    settings = Settings(tmp_path / "sessions", data=folder / "data", listening=with_token("s" * 20, tmp_path))
    with serving([package(folder / "model")], settings, catalogue, Sides()) as url:
        client = monailabel.MONAILabelClient(url, tmpdir=str(tmp_path))
        assert client.auth_enabled() and not client.auth_valid_token()
        with pytest.raises(monailabel.MONAILabelClientException):
            client.info()
        with pytest.raises(monailabel.MONAILabelClientException):
            client.auth_token("anybody", "wrong")
        client.update_auth(client.auth_token("anybody", "s" * 20))
        assert client.auth_valid_token() and client.info()["models"]
        assert client.next_sample("first", {})["id"] and client.infer("kidneys", "one", {})[0]
        assert client.info()["models"], "the client says with this how long its last body was"


@pytest.mark.parametrize("image", ["../one", "/etc/passwd", "images/one.nii.gz", "", "one\x00", "%2e%2e/one"])
def test_ids_are_no_paths(url, image) -> None:
    for address, params in (
        ("datastore/image", {"image": image}),
        ("datastore/label", {"label": image, "tag": "final"}),
    ):
        answer = httpx.get(f"{url}/{address}", params=params)
        assert answer.status_code == 404 and "/" not in answer.json()["detail"]
    files = {"label": ("label.bin", b"0")}
    assert httpx.put(f"{url}/datastore/label", params={"image": image}, files=files).status_code == 404
    answer = httpx.put(f"{url}/datastore/label", params={"image": "one", "tag": f"../{image}"}, files=files)
    assert answer.status_code == 400
    assert httpx.get(f"{url}/session/..%2f..%2fone").status_code == 404


def test_broken_files_and_forms(url, tmp_path, folder) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b" + b"no gzip" * 9)
    for called in ("broken.nii.gz", "../../x.nii.gz", "broken.exe", ""):
        with (tmp_path / "broken.nii.gz").open("rb") as file:
            answer = httpx.post(f"{url}/infer/kidneys", files={"file": (called or "x", file), "params": (None, "{}")})
        assert answer.status_code == 400 and str(tmp_path) not in answer.text and "voxgraft-serve" not in answer.text
    small = Path(folder / "data" / "images" / "one.nii.gz").read_bytes()
    cut = httpx.post(f"{url}/infer/kidneys", files={"file": ("x.nii.gz", small[: len(small) // 2])})
    assert cut.status_code == 400
    label = {"label": ("x.nii.gz", small), "params": (None, "{}")}
    assert httpx.put(f"{url}/datastore/label", params={"image": "two"}, files=label).status_code == 400
    for params in ("[1]", "{", '"x"', "[" * 9999):
        answer = httpx.post(f"{url}/infer/kidneys", params={"image": "one"}, files={"params": (None, params)})
        assert answer.status_code == 400
    for query, status in (({"image": "nowhere"}, 404), ({"image": "one", "output": "dicom_seg"}, 400)):
        assert httpx.post(f"{url}/infer/kidneys", params=query, files={"params": (None, "{}")}).status_code == status
    assert httpx.post(f"{url}/infer/liver", params={"image": "one"}, files={"params": (None, "{}")}).status_code == 404
    for params in ({"result_extension": ".exe"}, {"result_dtype": "object"}):
        form = {"params": (None, json.dumps(params))}
        assert httpx.post(f"{url}/infer/kidneys", params={"image": "one"}, files=form).status_code == 400
    broken = httpx.post(
        f"{url}/infer/kidneys", content=b"--x\r\n", headers={"content-type": "multipart/form-data; boundary=y"}
    )
    assert broken.status_code == 400
    clicks = {"label": "right kidney", "foreground": [[99, 0, 0]]}
    answer = httpx.post(
        f"{url}/infer/kidneys-clicks", params={"image": "one"}, files={"params": (None, json.dumps(clicks))}
    )
    assert answer.status_code == 400 and "outside" in answer.json()["detail"]
