"""Connections that never say what they want are ended; those that do, are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the server is not installed: pip install 'voxgraft[review]'")

from voxgraft.web import server as web  # noqa: E402

SECONDS = 0.4
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    kept, web.HEAD = web.HEAD, SECONDS
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=web.Patience, lifespan="off", log_level="critical", timeout_keep_alive=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    web.HEAD = kept


def ended(connection: socket.socket) -> bool:
    """Whether the server ends a connection, well after it should."""
    connection.settimeout(5)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    return True


def answer(connection: socket.socket) -> bytes:
    """What the server says, to the end of the body."""
    read = b""
    while not read.endswith(b"\r\n\r\nok") and (part := connection.recv(4096)):
        read += part
    return read


@pytest.mark.parametrize("sent", [b"", b"G", WHOLE[:-2], WHOLE + b"GET /second HT"])
def test_half_a_head_does_not_hold_a_connection(sent: bytes, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(sent)
        assert ended(connection)


def test_a_head_that_comes_byte_by_byte_does_not_hold_one_either(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        begun = time.monotonic()
        with pytest.raises(OSError):
            for byte in WHOLE * 20:
                connection.sendall(bytes([byte]) if byte != 10 else b"x")
                time.sleep(0.02)
        assert time.monotonic() - begun < SECONDS * 6


def test_a_body_may_take_its_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        time.sleep(SECONDS * 2)
        connection.sendall(b"cd")
        assert answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(WHOLE)
        assert answer(connection).startswith(b"HTTP/1.1 200")
