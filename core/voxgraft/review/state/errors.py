"""What a review refuses, each with the status that a page is answered with."""

from __future__ import annotations

from typing import Any

from ...errors import DataError


class Refused(DataError):
    """A request is refused; nothing was changed.

    Attributes:
        details: What the page needs to go on, beside the sentence.
    """

    status = 400

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class NotThere(Refused):
    """There is no such scan, mask or note; or the reader may not see it."""

    status = 404


class Forbidden(Refused):
    """The reader may not do that."""

    status = 403


class Conflict(Refused):
    """The mask or scan is no longer what the reader saw, or a finished structure would change."""

    status = 409
