"""The server of `voxgraft serve` as one ASGI application, and the way it is run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, VoxGraftError
from ..support.lock import sole_owner
from ..web.access import Callers
from ..web.guard import TOO_LONG, Guard, TooLong, told
from ..web.listen import Listening
from . import routes_monailabel, routes_nninteractive
from .datastore import Datastore
from .models import Models
from .monailabel import Service
from .nninteractive import Protocol
from .places import USUAL, Places
from .refused import Refused, plainly
from .uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from ..components.catalogue import Catalogue
    from ..inference.predictor import Applied
    from ..packages.package import Package

NEEDED = ("starlette", "uvicorn", "blosc2", "python_multipart")
LARGEST, LARGEST_JSON = 2 * 2**30, 2**20
"""Bytes of the longest request that carries an image or a mask, and of any other."""
THREADS = 256
"""Requests that are done at once, most of which wait."""
SWEEP = 15.0
"""Seconds between two looks for clients that have gone."""
OPEN = ("/healthz", "/auth/", "/auth/token")
"""What needs no token: whether the server is there, and how one gets in."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a server is started with.

    Attributes:
        sessions: Keeps what was drawn and predicted.
        data: The folder of scans; None for none.
        axes: Where the axes of viewers' arrays run, see `Places`.
        clients: How many may be connected at once.
        listening: Where the server is, and who may ask.
        origins: Pages of other servers that may ask, such as `https://ohif.example`.
        idle, liveness: Seconds, see `voxgraft.serve.leases.Leases`.
    """

    sessions: Path
    data: Path | None = None
    axes: str = USUAL
    device: str = "auto"
    clients: int = 8
    idle: float = 600.0
    liveness: float = 60.0
    listening: Listening = field(default_factory=Listening)
    origins: tuple[str, ...] = ()


def check_installed() -> None:
    """See that the packages of a server are there.

    Raises:
        UsageError: They are not.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UsageError(f"serving needs {', '.join(missing)}: pip install 'voxgraft[serve]'")


def make_app(
    packages: Sequence[Package],
    settings: Settings,
    catalogue: Catalogue,
    load: Callable[[Package], Applied] | None = None,
) -> Guard:
    """The application.

    Args:
        packages: The models.
        settings: See there.
        catalogue: What is installed.
        load: Makes a package ready; by default the networks that it describes.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.routing import Route

    models = Models(packages, catalogue, settings.sessions / "predictions", settings.device, load)
    data = None if settings.data is None else Datastore(settings.data, catalogue)
    protocol = Protocol(
        models,
        Places(settings.axes, data),
        settings.sessions / "scans",
        settings.clients,
        settings.idle,
        settings.liveness,
    )
    uploads = Uploads(settings.sessions / "uploads")
    uploads.sweep()
    service = Service(models, data, uploads, settings.sessions / "confidence")
    callers = Callers(settings.listening.hosts, settings.listening.tokens)
    cors = Middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    app = Starlette(
        routes=[
            Route("/healthz", _health, methods=["GET"]),
            *routes_nninteractive.routes(protocol),
            *routes_monailabel.routes(service, callers),
        ],
        exception_handlers={
            Refused: _refused,
            TooLong: _too_long,
            VoxGraftError: _wrong,
            HTTPException: _http,
            Exception: _broken,
        },
        middleware=[cors] if settings.origins else [],
        lifespan=_living(protocol, models),
    )
    app.router.redirect_slashes = True
    return Guard(app, callers, _most, OPEN, settings.origins)


def run(
    packages: Sequence[Package],
    settings: Settings,
    catalogue: Catalogue,
    say: Callable[[str], None] = print,
    load: Callable[[Package], Applied] | None = None,
) -> None:
    """Serve until the process is asked to end.

    Args:
        packages: The models.
        settings: See there.
        catalogue: What is installed.
        say: Is told where the server is.
        load: See `make_app`.

    Raises:
        UsageError: The address needs protection that was not named, another server works with the same folder of
            sessions, or a package of a server is missing.
        DataError: The port is taken, or the files of TLS are no good.
    """
    check_installed()
    settings.listening.check()
    from ..web.server import answer

    with sole_owner(settings.sessions, "serving from", _taken):
        settings.sessions.chmod(0o700)
        app = make_app(packages, settings, catalogue, load)
        answer(settings.listening, lambda _: app, say, lifespan="on", ws="none")


def _taken(sentence: str) -> UsageError:
    return UsageError(sentence.replace("--out", "--sessions"))


def _living(protocol: Protocol, models: Models) -> Any:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        from anyio.to_thread import current_default_thread_limiter

        current_default_thread_limiter().total_tokens = THREADS  # those that wait for the model must not be all
        sweeper = asyncio.create_task(_sweep(protocol))
        try:
            yield
        finally:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            protocol.leases.close()
            models.close()

    return lifespan


async def _sweep(protocol: Protocol) -> None:
    from starlette.concurrency import run_in_threadpool

    while True:
        await asyncio.sleep(SWEEP)
        await run_in_threadpool(protocol.leases.sweep)


def _most(method: str, path: str) -> int:
    """Bytes of the longest body of a request."""
    if method in ("GET", "HEAD", "DELETE"):
        return LARGEST_JSON  # one of MONAI Label's clients says with a GET how long its last body was
    if path.endswith(routes_nninteractive.BINARY):
        return LARGEST
    carrying = ("/infer/", "/datastore/", "/session/")
    return LARGEST if path.startswith(carrying) else LARGEST_JSON


async def _health(request: Request) -> Response:
    from ..review.web.requests import Answer as Json

    return Json({"ok": True})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _sentence(error.status, error.sentence)


async def _too_long(request: Request, error: Exception) -> Response:
    return _sentence(413, TOO_LONG)


async def _wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, VoxGraftError)
    return _sentence(400, plainly(error))


async def _http(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return _sentence(
        status,
        {404: "there is no such address here", 405: "this address does not accept this method"}.get(status, str(error)),
    )


async def _broken(request: Request, error: Exception) -> Response:
    if isinstance(error, MemoryError):
        return _sentence(503, "this does not fit into the memory of this server")
    log.error("%s failed: %s", request.scope["path"].split("?")[0], type(error).__name__, exc_info=error)
    return _sentence(500, "the server failed to do this; its log says where")


def _sentence(status: int, sentence: str) -> Response:
    from ..review.web.requests import Answer as Json

    return Json(told(sentence), status)
