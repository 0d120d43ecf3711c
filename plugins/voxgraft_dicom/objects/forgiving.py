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

_lock, _changes, _callers = Lock(), ExitStack(), 0
"""What `forgiving` has changed, and for how many callers."""


@contextmanager
def forgiving() -> Iterator[None]:
    """Let pydicom read and write odd values in silence: its warnings quote them, and what matters is checked here.

    Several threads may ask for it at once; the last to leave puts things as they were before the first.
    """
    global _callers
    from pydicom import config

    with _lock:
        if not _callers:
            _changes.enter_context(warnings.catch_warnings())
            _changes.enter_context(config.disable_value_validation())
            warnings.simplefilter("ignore")
        _callers += 1
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if not _callers:
                _changes.close()


@contextmanager
def refusing(refusal: Exception) -> Iterator[None]:
    """Raises `refusal` where pydicom fails on what is badly written, as it does in many ways.

    Raises:
        OSError: A file cannot be read; this and what is of the kind of `refusal` stay as they are.
    """
    try:
        with forgiving():
            yield
    except (type(refusal), OSError):
        raise
    except Exception as error:
        raise refusal from error


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
