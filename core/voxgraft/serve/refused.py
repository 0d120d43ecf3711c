"""What a server answers where a request cannot be done: a status and one sentence, without a path of this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import BadImage, VoxGraftError

_PLACE = re.compile(r"(?<![\w/])(?:[A-Za-z]:)?[\\/](?:[^\s:;,'\"\\/]+[\\/])*([^\s:;,'\"\\/]*)")


class Refused(Exception):
    """A request that is not done.

    Args:
        status: Of HTTP: 400 for what is wrong in itself, 404, 409, 410, 413, 503.
        sentence: Says why; seen by the person at the viewer.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def plainly(error: VoxGraftError) -> str:
    """The sentence of an error without places on this machine: of a path stays the last name."""
    text = error.reason if isinstance(error, BadImage) else str(error)
    return _PLACE.sub(lambda match: match[1], text)


def json_object(data: bytes, what: str) -> Mapping[str, Any]:
    """The JSON object that a part of a request is; without bytes an empty one.

    Args:
        data: UTF-8.
        what: Is said to be none where it is none, such as `the request is`.

    Raises:
        Refused: It is none.
    """
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refused(400, f"{what} not a JSON object")
    return document
