"""Python processes that have imported everything already: forked from a server instead of started.

A process of its own costs about three seconds of imports. Tests that need one (signals, exit codes, what is printed,
changed modules) but do not look at the imports take it from here; those of start-up, and one of each behaviour,
start a real one. `python -S warm.py SOCKET -c CODE ARGS...` or `-m MODULE ARGS...` does what the same call of Python
does: standard streams, environment, working directory, signals and the exit status are those of the client. When the
client is killed, so is what it runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

PASSED_ON = (signal.SIGTERM, signal.SIGINT)
MODULES = (
    *("torch", "numpy", "scipy.ndimage", "nibabel", "pydicom", "jinja2", "mlflow", "safetensors.torch"),
    *("voxgraft.cli", "voxgraft.api", "voxgraft.batch.segment", "voxgraft.runs.engine", "voxgraft.inference.predictor"),
)
"""What the server has imported, where it is there."""


def ask(address: str, words: list[str]) -> int:
    """Let the server run these words, and wait for their end."""
    import json

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        text = json.dumps([str(Path.cwd()), dict(os.environ), words]).encode()
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(text)
        with connection.makefile("r") as said:
            process = int(said.readline())
            for number in PASSED_ON:
                signal.signal(number, lambda number, frame: os.kill(process, number))
            return int(said.readline())


def serve(address: str) -> None:
    """Answer until the process that started this one is gone."""
    import importlib
    import select

    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        Path(f"{address}.new").rename(address)  # whoever sees it can connect
        parent = os.getppid()
        while os.getppid() == parent:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if select.select([listener], [], [], 1.0)[0]:
                connection = listener.accept()[0]
                if os.fork() == 0:
                    listener.close()
                    os._exit(_watch(connection))
                connection.close()


def _watch(connection: socket.socket) -> int:
    """Run what one client asks for, tell it how that ended, and end it where the client is gone."""
    import json
    import select

    signal.signal(signal.SIGINT, signal.default_int_handler)
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as said:
        folder, environment, words = json.loads(said.read(int.from_bytes(head, "big")))
    process = os.fork()
    if process == 0:
        connection.close()
        _become(folder, environment, words, streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(b"%d\n" % process)
    ended = os.pidfd_open(process)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % status)
    return 0


def _become(folder: str, environment: dict[str, str], words: list[str], streams: list[int]) -> None:
    """Be the process that these words would have started."""
    import random
    import runpy
    import traceback

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    ways = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = ["", *(way for way in ways if way and way not in sys.path)]
    kind, target, *rest = words
    sys.argv = [kind, *rest]
    random.seed()
    status = 0
    try:
        if kind == "-c":
            main = type(sys)("__main__")
            sys.modules["__main__"] = main
            exec(compile(target, "<string>", "exec"), main.__dict__)
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if status and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(BaseException):
        import atexit
        import threading

        threading._shutdown()
        atexit._run_exitfuncs()
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            output.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        ended = ask(sys.argv[1], sys.argv[2:])
        if ended < 0:
            with contextlib.suppress(OSError):  # of SIGKILL nothing can be set
                signal.signal(-ended, signal.SIG_DFL)
            os.kill(os.getpid(), -ended)
        sys.exit(ended)
