"""Elements as pydicom gives them: odd values in silence, and what it makes of damaged ones as one sentence.

Python keeps warning filters, and pydicom the rules for values, for the whole process; what is changed here is put back
by the last of the threads that asked for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

from voxgraft.plugin import BadImage


class _Forgiving:
    """What `forgiving` has changed, and for how many callers."""

    def __init__(self) -> None:
        self._lock, self._callers, self._changes = Lock(), 0, ExitStack()

    def enter(self) -> None:
        from pydicom import config

        with self._lock:
            if not self._callers:
                self._changes.enter_context(warnings.catch_warnings())
                self._changes.enter_context(config.disable_value_validation())
                warnings.simplefilter("ignore")
            self._callers += 1

    def leave(self) -> None:
        with self._lock:
            self._callers -= 1
            if not self._callers:
                self._changes.close()


_FORGIVING = _Forgiving()


@contextmanager
def forgiving() -> Iterator[None]:
    """Let pydicom read and write odd values in silence: its warnings quote them, and what matters is checked here.

    Several threads may ask for it at once; the last to leave puts things as they were before the first.
    """
    _FORGIVING.enter()
    try:
        yield
    finally:
        _FORGIVING.leave()


@contextmanager
def understanding(path: Path) -> Iterator[None]:
    """Maps what pydicom raises on damaged elements, which it looks at late, in many ways.

    Raises:
        BadImage: Something could not be understood.
    """
    try:
        with forgiving():
            yield
    except (BadImage, OSError, MemoryError):
        raise
    except Exception as error:
        raise BadImage(path, f"its header cannot be understood: {type(error).__name__}") from error
