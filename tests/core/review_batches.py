"""A batch that is there to be reviewed, and readers in browsers of their own."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from batch_scans import Brightness, ball, model, write_scan
from starlette.testclient import TestClient

from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.web.app import make_app
from voxgraft.review.web.security import CSRF, Access

HOST = "testserver"


def make_batch(folder: Path, catalogue: Catalogue, scans: int = 3) -> Path:
    """A batch of some scans with a ball and its core, and of one that has failed."""
    paths = [write_scan(folder / "in" / f"scan-{n}.nii.gz", ball(radius=5 + n / 4)) for n in range(scans)]
    paths.append(write_scan(folder / "in" / "odd.nii.gz", ball()))
    fails: dict[str, BaseException] = {"odd.nii.gz": ValueError("a strange scan")}
    segment(model(folder / "model"), paths, folder / "out", catalogue, predictor=Brightness(fails=fails))
    return folder / "out"


def copy_of(batch: Path, folder: Path) -> Path:
    """A batch of one's own, with its scans."""
    shutil.copytree(batch.parent, folder, dirs_exist_ok=True)
    return folder / batch.name


@contextmanager
def opened(out: Path, catalogue: Catalogue, **options: Any) -> Iterator[ReviewStore]:
    store = ReviewStore(out, catalogue, **options)
    try:
        yield store
    finally:
        store.close()


@dataclass
class Browser:
    """A reader's browser."""

    client: TestClient
    csrf: str = ""

    @classmethod
    def of(cls, store: ReviewStore, reader: str = "", access: Access | None = None) -> Browser:
        client = TestClient(make_app(store, access or Access(frozenset({HOST}))), raise_server_exceptions=False)
        browser = cls(client, client.get("/api/session").json()["csrf"])
        if reader:
            answer = browser.post("/api/session", {"reader": reader})
            assert answer.status_code == 200
            browser.csrf = answer.json()["csrf"]
        return browser

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def json(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, document: Any = None) -> Any:
        return self.client.post(path, json=document or {}, headers={CSRF: self.csrf})

    def delete(self, path: str) -> Any:
        return self.client.delete(path, headers={CSRF: self.csrf})

    def put(self, case: str, data: bytes, base: str, **headers: str) -> Any:
        more = {f"X-VoxGraft-{name.title()}": value for name, value in headers.items()}
        return self.client.put(
            f"/api/scans/{case}/mask", content=data, headers={CSRF: self.csrf, "If-Match": f'"{base}"', **more}
        )

    def decide(self, case: str, structure: str, verdict: str = "accepted", **more: Any) -> Any:
        mask = more.pop("mask", None) or self.json(f"/api/scans/{case}")["mask"]["sha256"]
        wanted = {"structure": structure, "verdict": verdict, "mask": mask, "seconds": 4.5, **more}
        return self.post(f"/api/scans/{case}/decisions", wanted)

    def mask(self, case: str, which: str) -> tuple[Any, Any]:
        """Labels and affine of a mask."""
        answer = self.client.get(f"/api/scans/{case}/masks/{which}")
        assert answer.status_code == 200, answer.text
        image: Any = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
        return np.asarray(image.dataobj), image.affine


def nifti(array: Any, affine: Any, packed: bool = True) -> bytes:
    """The bytes of a NIfTI file."""
    data: bytes = nib.Nifti1Image(array, affine).to_bytes()
    return gzip.compress(data, 1) if packed else data


def accept(store: ReviewStore, case: str, structure: str, reader: str = "Ada", **more: Any) -> Any:
    mask = store.seen(case, reader).mask
    return store.decide(case, reader, **{"structure": structure, "verdict": "accepted", "mask": mask, **more})


def drawn(store: ReviewStore, case: str, reader: str, value: int, start: int = 0, base: str | None = None) -> Any:
    """Save a mask in which a small block has another label."""
    seen = store.seen(case, reader)
    with store.editor.using(case, reader, None) as (_, working):
        array, affine = working.array.copy(), working.affine
    array[start : start + 2, 0:2, 0:2] = value
    return store.editor.save(case, reader, base or seen.mask, nifti(array, affine))


def masks(out: Path) -> tuple[Any, Any]:
    mask: Any = nib.load(out / "scan-0" / "mask.nii.gz")
    return np.asarray(mask.dataobj).copy(), mask.affine
