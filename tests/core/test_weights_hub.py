"""Tests of weights from a hub: what is there is fetched once and computes; what is not is one sentence that mends."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError
from voxgraft.networks.sources import hub_file, named_weights
from voxgraft.networks.weights import load_weights
from voxgraft.support.files import sha256

pytestmark = pytest.mark.usefixtures("one_thread")

COMMIT = "0" * 40


@dataclass
class Hub:
    """A hub on this computer that serves `OWNER/REPOSITORY/FILE`, and remembers what it was asked.

    Attributes:
        cut: So many bytes of a file are sent before the connection breaks off.
        altered: Files are sent with their last byte changed.
        gated: Repositories whose terms must be accepted.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    gated: tuple[str, ...] = ()
    cut: int | None = None
    altered: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        owner, name, _, _, file = request.path.lstrip("/").split("/", 4)
        repository = f"{owner}/{name}"
        self.asked.append(f"{request.command} {repository}/{file}")
        content = self.files.get(f"{repository}/{file}")
        if repository in self.gated:
            self.refuse(request, 403, "GatedRepo")
        elif content is not None:
            self.send(request, content)
        elif any(one.startswith(f"{repository}/") for one in self.files):
            self.refuse(request, 404, "EntryNotFound")
        else:
            self.refuse(request, 404, "RepoNotFound")

    def refuse(self, request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        request.send_response(status)
        request.send_header("X-Error-Code", code)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            sent = content[:-1] + bytes([content[-1] ^ 1]) if self.altered else content
            request.wfile.write(sent[: self.cut])
            request.close_connection = True


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that huggingface_hub talks to, with an empty cache."""
    from huggingface_hub import constants

    made = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        do_HEAD = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    address = f"http://127.0.0.1:{server.server_port}/" + template.split("/", 3)[3]
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def resnet(catalogue: Catalogue, **options: Any) -> Any:
    return choose(catalogue, "encoder", {"use": "resnet", "variant": 18, "full_resolution": False, **options}).build()


def source(catalogue: Catalogue) -> tuple[Any, bytes]:
    """A backbone and its file under timm's own names."""
    torch.manual_seed(1)
    net = resnet(catalogue).make(2, 3, []).eval()
    return net, save({name.removeprefix("net."): one for name, one in net.state_dict().items()})


def computes_alike(made: Any, net: Any) -> None:
    mine = made.make(2, 3, []).eval()
    weights = made.weights()
    assert load_weights(mine, weights).share == 1.0
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(one, other) for one, other in zip(mine(image), net(image), strict=True))


def test_weights_of_a_repository_are_fetched_once_and_compute_what_their_source_computes(
    catalogue: Catalogue, hub: Hub, tmp_path: Path
) -> None:
    net, content = source(catalogue)
    hub.files["site/net/model.safetensors"] = content
    hub.files["site/net/older/weights.safetensors"] = content
    for reference in ("hf:site/net", "hf:site/net/older/weights.safetensors"):
        made = resnet(catalogue, weights=reference)
        computes_alike(made, net)
        weights = made.weights()
        assert (weights.origin, weights.licence) == (reference, "see the page of site/net")
        assert weights.sha256 == hashlib.sha256(content).hexdigest()
    assert hub.asked.count("GET site/net/model.safetensors") == 1


def test_a_repository_with_an_older_kind_of_file_is_read(catalogue: Catalogue, hub: Hub, tmp_path: Path) -> None:
    net, _ = source(catalogue)
    torch.save({name.removeprefix("net."): one for name, one in net.state_dict().items()}, tmp_path / "w.bin")
    hub.files["site/net/pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    computes_alike(resnet(catalogue, weights="hf:site/net"), net)


def test_imagenet_is_fetched_only_where_the_workflow_allows_it(catalogue: Catalogue, hub: Hub) -> None:
    net, content = source(catalogue)
    hub.files["timm/resnet18.a1_in1k/model.safetensors"] = content
    with pytest.raises(ModelError, match=r"hf:timm/resnet18\.a1_in1k/.* are not on this computer: write `download: t"):
        resnet(catalogue, weights="imagenet").weights()
    assert hub.asked == []
    made = resnet(catalogue, weights="imagenet", download=True)
    computes_alike(made, net)
    weights = made.weights()
    assert (weights.origin, weights.licence) == ("hf:timm/resnet18.a1_in1k", "apache-2.0")
    assert (weights.sha256, weights.contract.seen) == (
        hashlib.sha256(content).hexdigest(),
        "colour photographs (ImageNet)",
    )
    before = len(hub.asked)
    computes_alike(resnet(catalogue, weights="imagenet"), net)
    assert len(hub.asked) == before, "what is in the cache needs no hub"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hf:site/none", "there is no such repository, or it is not public; check the name"),
        ("hf:site/net", "the repository has no such file; name one as hf:OWNER/REPOSITORY/FILE"),
        ("hf:site/net/absent.pth", "the repository has no such file; name one"),
        ("hf:site/gated", "its authors require you to accept their terms; do that on its page"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, reference: str, said: str) -> None:
    hub.files |= {"site/net/readme.md": b"words", "site/gated/model.safetensors": b"x"}
    hub.gated = ("site/gated",)
    with pytest.raises(ModelError, match=said) as caught:
        named_weights(reference)
    assert "\n" not in str(caught.value) and "give file:PATH" in str(caught.value)
    assert reference in str(caught.value)


def test_a_file_that_breaks_off_leaves_nothing_behind(catalogue: Catalogue, hub: Hub, tmp_path: Path) -> None:
    net, content = source(catalogue)
    hub.files["site/net/model.safetensors"], hub.cut = content, 1000
    with pytest.raises(ModelError, match=r"cannot be downloaded: .*; or download it elsewhere") as caught:
        named_weights("hf:site/net/model.safetensors")
    assert "\n" not in str(caught.value)
    hub.cut = None
    computes_alike(resnet(catalogue, weights="hf:site/net"), net)


def test_another_file_than_the_repository_lists_is_refused(catalogue: Catalogue, hub: Hub) -> None:
    _, content = source(catalogue)
    hub.files["site/net/model.safetensors"], hub.altered = content, True
    with pytest.raises(ModelError, match=r"not the file that its repository lists; remove ") as caught:
        named_weights("hf:site/net")
    kept = Path(str(caught.value).rsplit("remove ", 1)[1])
    assert sha256(kept) != hashlib.sha256(content).hexdigest()
    kept.unlink()
    hub.altered = False
    assert named_weights("hf:site/net") is not None


def test_without_a_network_it_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library waits between its tries
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    with pytest.raises(ModelError, match="the hub cannot be reached; try again with a connection"):
        named_weights("hf:site/net")
    assert not logging.getLogger("huggingface_hub.utils").isEnabledFor(logging.WARNING), "its tries are not told"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="without HF_HUB_OFFLINE"):
        hub_file("site/net", "model.safetensors", download=True)
    assert hub.asked == []
