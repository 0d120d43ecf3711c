"""A request to end (SIGTERM, from a job scheduler say) does what Ctrl-C does: what was done is left in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_gently() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
