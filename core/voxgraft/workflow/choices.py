"""What pydantic says of a value that may be one of several kinds, as one sentence that names what may be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .yaml import Loc

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "keys and values",
    "model": "keys and values",
    "none": "null",
    "path": "a path",
}
"""What to write, by the first word of pydantic's type of error."""

LIMITS = {"greater_than_equal": ("ge", "of at least"), "greater_than": ("gt", "above")} | {
    "less_than_equal": ("le", "of at most"),
    "less_than": ("lt", "below"),
}
OF_KEYS = ("missing", "extra_forbidden")


def one_for_each_value(errors: Sequence[Any], document: Any) -> list[dict[str, Any]]:
    """The errors with one for each value: those of the kinds that a value may have are brought together.

    Args:
        document: What was validated. Behind the place of a value in it, pydantic names the kind that it tried.
    """
    by_place: dict[Loc, list[dict[str, Any]]] = {}
    for error in errors:
        loc, of_key = tuple(error["loc"]), error["type"] in OF_KEYS
        target = (*_place(loc[:-1], document), loc[-1]) if of_key else _place(loc, document)
        by_place.setdefault(target, []).append(dict(error))
    merged: list[dict[str, Any]] = []
    for target, group in by_place.items():
        tried = [error for error in group if len(error["loc"]) > len(target)]
        if not tried or group[0]["type"] in OF_KEYS:
            merged += [{**error, "loc": target} for error in group[:1]] if tried else group
        else:
            merged.append({**tried[0], "loc": target, "type": "choice", "msg": _sentence(tried)})
    return merged


def _place(loc: Loc, document: Any) -> Loc:
    """A place without the kind that pydantic tried there: up to that, and through the keys behind it that are there."""
    node, depth = _follow(loc, document)
    inside = _follow(loc[depth + 1 :], node)[1] if isinstance(node, dict) else 0
    return (*loc[:depth], *loc[depth + 1 : depth + 1 + inside])


def _follow(loc: Loc, node: Any) -> tuple[Any, int]:
    """How much of a place leads through a document, and what lies there."""
    for depth, part in enumerate(loc):
        exists = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if not exists:
            return node, depth
        node = node[part]
    return node, len(loc)


def _sentence(tried: Sequence[dict[str, Any]]) -> str:
    value = tried[0]["input"]
    phrases = list(dict.fromkeys(_wanted(error) for error in tried))
    listed = ", ".join(phrases[:-1]) + (" or " if len(phrases) > 1 else "") + phrases[-1]
    shown = repr(value) if isinstance(value, (str, int, float, bool)) else "this"
    return f"write {listed}, not {shown}"


def _wanted(error: dict[str, Any]) -> str:
    """What the kind that was tried would have been."""
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "literal_error":
        return str(context.get("expected", "")).replace("'", "")
    if kind == "too_short":
        return f"a list of at least {context['min_length']}"
    if kind in LIMITS:
        name, phrase = LIMITS[kind]
        return f"a number {phrase} {context[name]:g}"
    return KINDS.get(kind.split("_")[0], str(error["msg"]).removeprefix("Value error, "))
