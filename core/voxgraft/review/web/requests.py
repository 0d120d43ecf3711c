"""Requests of the page: bodies that are bounded while they are read, JSON, and answers to what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from ...errors import DataError
from ...support.files import json_text
from ..state.errors import Refused

LARGEST_JSON = 2**20
"""Bytes of a JSON body."""


class TooLarge(Refused):
    """A body is larger than it may be."""

    status = 413


class Answer(JSONResponse):
    """JSON without NaN, as RFC 8259 has it."""

    def render(self, content: Any) -> bytes:
        return json_text(content, indent=None).encode()


def refusal(error: DataError) -> Answer:
    """The answer to a request that is refused."""
    status = error.status if isinstance(error, Refused) else 400
    details = error.details if isinstance(error, Refused) else {}
    return Answer({"error": str(error), **details}, status)


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request, never more than so many bytes of it.

    Raises:
        TooLarge: It is larger.
    """
    text = f"the request is larger than the {most} bytes that it may have"
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise TooLarge(text)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(text)
        parts.append(part)
    return b"".join(parts)


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        Refused: It is none, or too large.
    """
    data = await body_of(request, LARGEST_JSON)
    try:
        values = json.loads(data.decode() or "{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("the request is not a JSON document") from None
    if not isinstance(values, dict):
        raise Refused("the request is not a JSON object")
    return values


def _no_number(text: str) -> float:
    raise ValueError(text)


def text_of(values: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text of a request.

    Args:
        values: The request's JSON object.
        name: The key.
        default: Where it is missing; None where it must be there.

    Raises:
        Refused: It is missing, or something else.
    """
    value = values.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise Refused(f"{name!r} has to be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(f"{name!r} is not a valid text") from None
    return value


def number_of(values: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A finite number of a request.

    Args:
        values: The request's JSON object.
        name: The key.
        default: Where it is missing; None where it must be there.

    Raises:
        Refused: It is missing, or something else.
    """
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e12 or not math.isfinite(value):
        raise Refused(f"{name!r} has to be a number")
    return float(value)


def whole_of(values: Mapping[str, Any], name: str) -> int:
    """A whole number of a request.

    Raises:
        Refused: It is missing, or something else.
    """
    number = number_of(values, name)
    if number != int(number):
        raise Refused(f"{name!r} has to be a whole number")
    return int(number)


def query_number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the address, from 0 on.

    Args:
        request: With the address.
        name: The key.
        default: Where it is missing.
        most: Larger ones become this.

    Raises:
        Refused: It is none.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(f"{name!r} has to be a whole number")
    return min(int(text), most)


def flag_of(values: Mapping[str, Any], name: str) -> bool:
    """True or false of a request; false where it is missing.

    Raises:
        Refused: It is something else.
    """
    found = values.get(name, False)
    if not isinstance(found, bool):
        raise Refused(f"{name!r} has to be true or false")
    return found
