"""The way to MLflow: which address, whether anything answers there, and its errors as sentences of ours.

MLflow's global tracking URI is never used: some of its functions fall back on it and then make a database in the
working directory. Everything goes through a client that is told where to go.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from voxgraft.errors import NoSuchRegistry, TrackingError, UsageError, VoxGraftError
from voxgraft.support.lock import sweep, temporary
from voxgraft.support.mlflow_page import page_command

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT = "sqlite:///voxgraft.db"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
KNOCK = 3.0
"""Seconds that a host has to take a connection."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_PRINT_MODEL_URLS_ON_CREATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""What a user's own environment may say otherwise."""

_PASSWORD = re.compile(r"//[^@/\s]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """Where runs and models are kept.

    Attributes:
        uri: For MLflow; a SQLite file has its absolute path here.
        shown: For messages: no password.
        database: The SQLite file, where it is one.
    """

    uri: str
    shown: str
    database: Path | None = None

    @property
    def artifacts(self) -> str | None:
        """Where files go by default: beside the SQLite file, whatever the working directory is."""
        return (self.database.parent / "mlartifacts").as_uri() if self.database else None


def address(uri: str) -> Address:
    """Read a tracking URI.

    Raises:
        UsageError: It is of no kind that can be used.
    """
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        return _sqlite(uri)
    shown = _PASSWORD.sub("//", uri)
    try:
        parts = urlsplit(uri)
        usable = scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"{shown}: is not a tracking URI that can be used; write sqlite:///FILE.db for a file, "
            "or http://HOST:PORT for an MLflow server"
        )
    return Address(uri.rstrip("/"), shown)


def default_address() -> Address:
    """Where a run goes that says nothing: `MLFLOW_TRACKING_URI`, or a SQLite file in the working directory."""
    return address(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT)


def page_of(at: Address, experiment: str, run: str) -> str:
    """How to look at a run: the address of its own page, since MLflow's first page says nothing of it.

    Args:
        at: Where it is kept.
        experiment, run: Their ids.
    """
    place = f"#/experiments/{experiment}/runs/{run}"
    if at.uri.startswith("http"):
        return f"{at.shown.rstrip('/')}/{place}"
    call = page_command(at.shown if at.database else "URI")
    return f"start {call}, then open http://127.0.0.1:5000/{place}"


def existing_address() -> Address:
    """Where a reference such as `models:/NAME@ALIAS` is looked up.

    Raises:
        TrackingError: Nothing says where.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path(DEFAULT.removeprefix("sqlite:///")).exists():
        raise NoSuchRegistry(
            "there is no registry here: MLFLOW_TRACKING_URI is not set, and there is no voxgraft.db in this folder; "
            "name one with MLFLOW_TRACKING_URI or, for `voxgraft models`, with --tracking"
        )
    return default_address()


def connect(at: Address, *, create: bool) -> MlflowClient:
    """A client whose registry or server has answered.

    Args:
        create: Make the SQLite file where there is none, which takes a few seconds.

    Raises:
        TrackingError: There is nothing, it does not answer within seconds, or it is not MLflow.
    """
    if at.database is not None:
        _check_file(at, create)
    else:
        _knock(at)
    os.environ.update(SETTINGS)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    with answers(at), patience(seconds=5, retries=0):
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if not at.uri.startswith(("sqlite:", "http")):
            _try_database(at.uri)
        if at.database is not None and not at.database.exists():
            _make(at.database)
        client = MlflowClient(at.uri, at.uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def answers(at: Address) -> Iterator[None]:
    """Turn the errors of MLflow, its database and its server into one sentence.

    Raises:
        TrackingError: In their place.
    """
    try:
        yield
    except VoxGraftError:
        raise
    except ModuleNotFoundError as error:
        hint = "; write postgresql+psycopg2://... and install psycopg2-binary" if "psycopg" in str(error) else ""
        raise TrackingError(f"{at.shown}: {error}{hint}") from error
    except Exception as error:
        if not isinstance(error, _foreign()):
            raise
        raise TrackingError(f"{at.shown}: {_sentence(error, at)}") from error


@contextmanager
def patience(*, seconds: int, retries: int) -> Iterator[None]:
    """Wait for a server no longer than this."""
    settings = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries)}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def pages(search: Callable[..., Any], **query: Any) -> list[Any]:
    """All results of one of MLflow's searches, page by page.

    Args:
        search: Such as `client.search_model_versions`.
        query: What that search is given besides the page.
    """
    entries: list[Any] = []
    token = None
    while True:
        page = search(**query, max_results=100, page_token=token)
        entries += page
        token = page.token
        if not token:
            return entries


def absent(error: BaseException) -> bool:
    """Whether MLflow says that the thing that is asked for is not there."""
    code = str(getattr(error, "error_code", ""))
    return code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and "not found" in str(error))


def _foreign() -> tuple[type[BaseException], ...]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, RequestException, OSError)


def _sentence(error: BaseException, at: Address) -> str:
    """The first line of a foreign message, without what it repeats and without passwords."""
    text = " ".join(str(error).strip().splitlines()[:1]) or type(error).__name__
    if re.search(r"Max retries exceeded|timeout exception|timed out", text):
        return "the MLflow server does not answer; is it running, and is the address right?"
    if re.search(r"ENDPOINT_NOT_FOUND|error code 404|valid JSON", text):
        return "what answers there is no MLflow server of version 3 or newer"
    text = _PASSWORD.sub("//", text.replace(at.uri, at.shown))
    return text if len(text) <= 300 else text[:297] + "..."


def _sqlite(uri: str) -> Address:
    path = unquote(uri.partition("sqlite:///")[2])
    if not path or path == ":memory:" or "%" in path or "?" in path:
        raise UsageError(f"{uri}: write sqlite:///FILE.db, with a file name that holds neither % nor ?")
    database = Path(path).absolute()
    return Address(f"sqlite:///{database}", f"sqlite:///{path}", database)


def _check_file(at: Address, create: bool) -> None:
    database = at.database
    assert database is not None
    try:
        exists = database.is_file() and database.stat().st_size > 0
        if not exists and not create:
            raise NoSuchRegistry(f"{at.shown}: there is no registry: this file does not exist; name the right one")
        if exists:
            with database.open("rb") as file:
                if file.read(16) != b"SQLite format 3\0":
                    raise TrackingError(f"{at.shown}: this file is not a SQLite database")
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(f"{at.shown}: cannot be opened: {error.strerror or error}") from error
    if database.is_dir() or not os.access(database if exists else database.parent, os.W_OK):
        raise TrackingError(f"{at.shown}: cannot be written to")


def _make(database: Path) -> None:
    """Make MLflow's tables in a file of another name first: a process that is killed leaves no half of a database, and
    of two that start together the second takes the first one's.
    """
    from mlflow import MlflowClient

    sweep(database.parent, database.name)
    with temporary(database) as new:
        MlflowClient(f"sqlite:///{new}", f"sqlite:///{new}").search_experiments(max_results=1)
        try:
            os.link(new, database)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            new.rename(database)


def _try_database(uri: str) -> None:
    """Log in once: MLflow itself would go on trying a refused password for an hour."""
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    engine.connect().close()
    engine.dispose()


def _knock(at: Address) -> None:
    """Ask for a connection before MLflow does, which would try for minutes."""
    parts = urlsplit(at.uri)
    scheme = parts.scheme.partition("+")[0]
    host, port = parts.hostname or "", parts.port or PORTS[scheme]
    if scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), timeout=KNOCK).close()
    except OSError as error:
        raise TrackingError(
            f"{at.shown}: nothing answers at {host} port {port} ({error.strerror or 'no answer'}); "
            "start the MLflow server, or name another with tracking.uri"
        ) from error
