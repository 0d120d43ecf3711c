"""Carry out what docs/install.md says of PyTorch's builds against a stand-in for PyTorch's index: which build comes?

    python benchmarks/torch_index.py --folder /tmp/torch --write benchmarks/results/torch_index.json

The stand-in answers on loopback in place of PyTorch's host, laid out as that is (PEP 503 pages for each backend, PEP
658 metadata). Its wheels of torch and torchvision bear the names and versions of the real ones and hold nothing; what
else torch needs lies beside them, as there. Everything else comes from the package index. Each command of the page is
carried out with `--dry-run` in an environment of its own; the first of two that belong together is really done. That
the stand-in has the host's name takes root (a mount namespace with another `/etc/hosts`, port 443).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from measured import ROOT, computer, keep, parser_of

HOST = "download.pytorch.org"
BACKENDS = ("cpu", "cu126", "cu130")
PARTS = ("torch", "torchvision")
HELD = dict(line.strip().split("==") for line in (ROOT / "constraints.txt").open() if "==" in line)
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATE, BUNDLE = "host.pem", "bundle.crt"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Index:
    """Wheels by backend: a folder that holds one for each."""

    folder: Path

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Kind and content of what lies at a path; None where there is nothing."""
        parts = [unquote(part) for part in path.split("/") if part]
        if len(parts) < 2 or parts[0] != "whl" or not (self.folder / parts[1]).is_dir():
            return None
        wheels = {file.name: file for file in sorted((self.folder / parts[1]).glob("*.whl"))}
        if len(parts) == 3 and parts[2].removesuffix(".metadata") in wheels:
            wheel = wheels[parts[2].removesuffix(".metadata")]
            return "application/octet-stream", metadata(wheel) if parts[2] != wheel.name else wheel.read_bytes()
        projects = sorted({project(name) for name in wheels})
        if len(parts) == 2:
            return "text/html", page(f'<a href="{name}/">{name}</a>' for name in projects)
        if parts[2] not in projects:
            return None
        links = (link(parts[1], file) for name, file in wheels.items() if project(name) == parts[2])
        return "text/html", page(links)


def project(wheel: str) -> str:
    return wheel.partition("-")[0].replace("_", "-").lower()


def page(links: Iterator[str]) -> bytes:
    return f"<!DOCTYPE html><html><body>{'<br/>'.join(links)}</body></html>".encode()


def link(backend: str, wheel: Path) -> str:
    said = f"sha256={sha256(metadata(wheel)).hexdigest()}"
    target = f"/whl/{backend}/{quote(wheel.name)}#sha256={sha256(wheel.read_bytes()).hexdigest()}"
    return f'<a href="{target}" data-dist-info-metadata="{said}" data-core-metadata="{said}">{wheel.name}</a>'


def metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))


@contextmanager
def serving(index: Index, port: int = 0, certificate: Path | None = None) -> Iterator[str]:
    """Answer on loopback, with TLS where there is a certificate; gives the address."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = index.answer(self.path.partition("?")[0])
            kind, body = found or ("text/plain", b"not found")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Answers) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def certified(folder: Path) -> None:
    """A certificate for the host with its key, and the authorities trusted here with the one that signed it."""
    folder.mkdir(parents=True)
    authority, key, ours, bundle = (folder / name for name in ("ca.pem", "ca.key", CERTIFICATE, BUNDLE))
    done("openssl", "req", "-x509", *EC, "-subj", "/CN=stand-in", "-keyout", str(key), "-out", str(authority))
    names = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-addext", "basicConstraints=CA:FALSE")
    signed = ("-CA", str(authority), "-CAkey", str(key), "-keyout", f"{ours}.key", "-out", str(ours))
    done("openssl", "req", "-x509", *EC, *names, *signed)
    ours.write_text(ours.read_text() + Path(f"{ours}.key").read_text())
    bundle.write_text(Path(AUTHORITIES).read_text() + authority.read_text())


def stubs(folder: Path, real: Mapping[str, Path] = {}) -> Index:
    """Wheels that hold nothing, but for those that are given, for each backend."""
    needs = [need for need in requires("torch") or [] if "extra ==" not in need]
    for backend in BACKENDS:
        place = folder / backend
        place.mkdir(parents=True)
        for name in PARTS:
            if backend == "cpu" and name in real:
                shutil.copy(real[name], place)
                continue
            version = f"{HELD[name]}+{backend}"
            stub(place, name, version, needs if name == "torch" else ["numpy", f"torch=={HELD['torch']}", "pillow"])
        for name in {"numpy", "pillow", "MarkupSafe", "mpmath", *(re.split(r"[^\w.-]", need)[0] for need in needs)}:
            held = {key.lower().replace("_", "-"): value for key, value in HELD.items()}
            stub(place, name, held[name.lower().replace("_", "-")], {"jinja2": ["MarkupSafe"]}.get(name.lower(), []))
    return Index(folder)


def stub(folder: Path, name: str, version: str, needs: list[str]) -> None:
    """A wheel with no more than its metadata."""
    plain, kind = name.replace("-", "_"), f"{TAG}-{TAG}-manylinux_2_28_{platform.machine()}"
    inside = f"{plain}-{version}.dist-info"
    said = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(folder / f"{plain}-{version}-{kind}.whl", "w") as wheel:
        wheel.writestr(f"{inside}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{said}")
        wheel.writestr(f"{inside}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: {kind}\n")
        wheel.writestr(f"{inside}/RECORD", "")


def done(*call: str, **more: Any) -> str:
    """Run something that must succeed; what it printed.

    Raises:
        SystemExit: It failed.
    """
    answer = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if answer.returncode:
        raise SystemExit(f"{' '.join(call)}\n{answer.stdout[-3000:]}")
    return answer.stdout


@dataclass(frozen=True)
class Trial:
    """A command of the page, and what it promises.

    Attributes:
        told: As the page has it.
        backend: The build that it promises; None where it must leave torch as it is.
        address: The backend that ADDRESS stands for.
        driver: The version of NVIDIA's driver that uv finds; empty for a machine without a GPU.
        stays: It is really done, and the next one comes into its environment.
    """

    told: str
    backend: str | None
    address: str = ""
    driver: str = ""
    stays: bool = False


FIRST = f"pip install torch=={HELD['torch']} torchvision=={HELD['torchvision']} --index-url ADDRESS"
EXTRA = "pip install --extra-index-url ADDRESS -c constraints.txt ."
AUTO = "uv pip install --torch-backend auto -c constraints.txt ."
TRIALS = (
    Trial(FIRST, "cpu", address="cpu", stays=True),
    Trial("pip install -c constraints.txt .", None),
    Trial(EXTRA, "cpu", address="cpu"),
    Trial(EXTRA, "cu126", address="cu126"),
    Trial("uv pip install --torch-backend cpu -c constraints.txt .", "cpu"),
    Trial(AUTO, "cpu"),
    Trial(AUTO, "cu130", driver="580.65.06"),
    Trial(AUTO, "cu126", driver="560.35.05"),
    Trial("uv pip install --torch-backend cu126 -c constraints.txt .", "cu126"),
)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="A folder that is not there yet.")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        raise SystemExit(subprocess.call(["unshare", "--mount", sys.executable, *sys.argv, "--inside"]))
    folder = asked.folder.absolute()
    certified(folder)
    (folder / "hosts").write_text(f"127.0.0.1 localhost {HOST}\n")
    done("mount", "--bind", str(folder / "hosts"), "/etc/hosts")
    index = stubs(folder / "whl")
    done(sys.executable, "-m", "venv", str(folder / "uv"))
    done(str(folder / "uv" / "bin" / "pip"), "install", "-q", "uv")
    version = done(str(folder / "uv" / "bin" / "uv"), "--version").strip()
    found: dict[str, Any] = {"machine": computer(), "uv": version, "trials": []}
    with serving(index, 443, folder / CERTIFICATE), serving(index) as address:
        kept = False
        for trial in TRIALS:
            venv = folder / "venv"
            if not kept:
                shutil.rmtree(venv, ignore_errors=True)
                done(sys.executable, "-m", "venv", str(venv))
            kept = trial.stays
            found["trials"].append(row := carried_out(trial, venv, address, folder / BUNDLE))
            print(json.dumps(row, indent=2), flush=True)
    shutil.rmtree(folder)
    if asked.write is not None:
        keep(asked.write, found)


def carried_out(trial: Trial, venv: Path, address: str, bundle: Path) -> dict[str, Any]:
    """What the command would install; an environment of its own settings, for this machine may hold torch itself."""
    words = trial.told.replace("ADDRESS", f"{address}/whl/{trial.address}").split()
    tool = venv.with_name("uv") / "bin" / "uv" if words[0] == "uv" else venv / "bin" / "pip"
    call = [str(tool), *words[1:], *([] if trial.stays else ["--dry-run"])]
    settings = {"HOME": str(venv.parent), "PATH": "/usr/bin:/bin", "VIRTUAL_ENV": str(venv)}
    settings |= {"PIP_CONFIG_FILE": os.devnull, "PIP_CERT": str(bundle), "SSL_CERT_FILE": str(bundle)}
    settings |= {"UV_CUDA_DRIVER_VERSION": trial.driver} if trial.driver else {}
    text = done(*call, cwd=ROOT, env=settings)
    got = {name: re.findall(rf"[ +]{name}(?:==|-)(\d[\w.+]*)", text)[-1:] for name in PARTS}
    wanted = [] if trial.backend is None else [f"+{trial.backend}"]
    kept = all(["+" + one.partition("+")[2] for one in ones] == wanted for ones in got.values())
    return {"command": trial.told, "address": trial.address, "driver": trial.driver, "got": got, "as_promised": kept}


if __name__ == "__main__":
    main()
