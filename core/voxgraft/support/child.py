"""A process that does one piece of work over and over: begun once, asked many times, ended at will.

The parent and the child speak through the child's standard input and output, in pickles with their length before them.
The child is a fresh interpreter that imports nothing of the caller's script. It ends when the parent does, and when it
is told to; Ctrl-C and requests to end are the parent's to answer. What it prints goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import IO, Any

from ..errors import DataError, VoxGraftError

_BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); from voxgraft.support.child import main; main()"
READY = -1
"""Stands in the place of a number when the child says that it has begun."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child says.

    Attributes:
        number: Of the question; `READY` when it has begun, None when it is no more.
        value: What the work gave, where it did.
        error: What the work raised, where it did.
    """

    child: Child
    number: int | None
    value: Any = None
    error: BaseException | None = None


class Child:
    """One process.

    Args:
        work: The pickle of what is done with each question; it is unpickled once.
        told: Is called with each answer, in a thread of its own.
        threads: Questions that it works on at once.
        environment: Is added to this process's own.

    Raises:
        OSError: No process can be begun.
    """

    def __init__(
        self,
        work: bytes,
        told: Callable[[Answer], None],
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out, self._told = self._process.stdin, self._process.stdout, told
        Thread(target=self._listen, daemon=True).start()
        self._send(pickle.dumps((sys.path, threads)))
        self._send(work)

    @property
    def ended(self) -> str:
        """How it ended, for a sentence: `was killed by SIGKILL`; empty while it is there."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the code {code}"

    def memory(self) -> int:
        """Bytes that it holds in memory."""
        import psutil

        with suppress(psutil.Error):
            return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    def ask(self, number: int, task: Any) -> None:
        """Give it a question; the answer bears the same number. One that is no more is told by its last answer."""
        self._send(pickle.dumps((number, task)))

    def end(self) -> None:
        """End it at once, and wait until it is no more."""
        self._process.kill()
        self._process.wait()
        for stream in (self._in, self._out):
            with suppress(OSError):
                stream.close()

    def _send(self, data: bytes) -> None:
        with suppress(OSError, ValueError):
            _put(self._in, data)

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            while (data := _get(self._out)) is not None:
                number, succeeded, value = pickle.loads(data)
                self._told(Answer(self, number, value if succeeded else None, None if succeeded else value))
        self._process.wait()
        self._told(Answer(self, None))


def main() -> None:
    """What the child does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    lock = Lock()

    def tell(number: int, succeeded: bool, value: Any) -> None:
        with lock:
            _put(answers, _pickled(number, succeeded, value))

    sys.path[:], threads = pickle.loads(_get(asked) or b"")
    try:
        work = pickle.loads(_get(asked) or b"")
    except BaseException as error:
        tell(READY, False, error)
        os._exit(1)
    tell(READY, True, None)
    pool = ThreadPoolExecutor(threads)
    while (data := _get(asked)) is not None:
        pool.submit(_do, work, data, tell)
    os._exit(0)  # the parent is no more, or wants nothing more


def _do(work: Callable[[Any], Any], data: bytes, tell: Callable[[int, bool, Any], None]) -> None:
    number, task = pickle.loads(data)
    try:
        value = work(task)
    except BaseException as error:
        tell(number, False, error)
    else:
        tell(number, True, value)


def _pickled(number: int, succeeded: bool, value: Any) -> bytes:
    """An answer that the parent can read: an error of a class that cannot be made anew becomes a plain one."""
    try:
        data = pickle.dumps((number, succeeded, value))
        pickle.loads(data)
    except Exception as error:
        if succeeded:
            plain: Exception = TypeError(f"the result cannot be sent: {error}")
        elif isinstance(value, VoxGraftError):
            plain = DataError(str(value))
        else:
            plain = RuntimeError(f"{type(value).__name__}: {value}")
        data = pickle.dumps((number, False, plain))
    return data


def _put(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def _get(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the other side is no more."""
    size = stream.read(8)
    if size is None or len(size) < 8:
        return None
    data = stream.read(int.from_bytes(size, "big"))
    return data if data is not None and len(data) == int.from_bytes(size, "big") else None
