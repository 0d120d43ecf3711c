"""Every option that a workflow can hold, found by walking the models, and another value for each."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import ByName, ComponentField, Options, Selected
from voxgraft.workflow.workflow import Workflow


@dataclass(frozen=True)
class Change:
    """A workflow in which one option has another value.

    Attributes:
        key: Dotted, as the workflow's document has it.
    """

    key: str
    before: Workflow
    after: Workflow


def changes(workflow: Workflow, catalogue: Catalogue) -> Iterator[Change]:
    """One for each option of each section, and of each component that can stand in a slot."""
    for key, before, after in _of_model(workflow, catalogue):
        yield Change(key, before, after)


def other(annotation: Any, value: Any, catalogue: Catalogue, metadata: tuple[Any, ...] = ()) -> Any:
    """A value of the type that differs from `value`.

    Raises:
        NotImplementedError: None is known for this type: say here how one is made.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return other(args[0], value, catalogue, (*args[1:], *metadata))
    if origin in (Union, types.UnionType):
        return _of_union(args, value, catalogue)
    if origin is Literal:
        return next(one for one in args if one != value)
    if origin in (list, tuple):
        inner = args[0]
        return (
            type(value or ())([*(value or ()), other(inner, None, catalogue)])
            if origin is list
            else (
                *(value or ()),
                other(inner, None, catalogue),
            )
        )
    if origin is dict:
        return {**(value or {}), "another": other(args[1], None, catalogue)}
    if annotation is bool:
        return not value
    if annotation in (int, float):
        return annotation((value or 0) + 1)
    if annotation is str:
        return f"{value or ''}another"
    if annotation is Path:
        return Path(f"{value or ''}another")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _any_of(annotation, catalogue) if value is None else _first_change(value, catalogue)
    raise NotImplementedError(f"no other value of {annotation!r} is known")


def _of_union(args: tuple[Any, ...], value: Any, catalogue: Catalogue) -> Any:
    for one in args:
        if one is type(None):
            continue
        try:
            found = other(one, value, catalogue)
        except (NotImplementedError, TypeError, StopIteration):
            try:
                found = other(one, None, catalogue)
            except (NotImplementedError, StopIteration):
                continue
        if found != value:
            return found
    raise NotImplementedError(f"no other value of {args!r} is known")


def _first_change(value: Options, catalogue: Catalogue) -> Any:
    return next(after for _, _, after in _of_model(value, catalogue))


def _any_of(model: type[BaseModel], catalogue: Catalogue) -> Any:
    """Options with a value wherever one is needed."""
    needed = {
        name: other(info.annotation, None, catalogue, tuple(info.metadata))
        for name, info in model.model_fields.items()
        if info.is_required()
    }
    return model.model_construct(**needed)


def _of_model(value: Any, catalogue: Catalogue) -> Iterator[tuple[str, Any, Any]]:
    """Key, the model, and the model with another value, for every option of it and of what stands in it."""
    for name, info in type(value).model_fields.items():
        key, now = info.alias or name, getattr(value, name)
        for below, before, after in _of_field(info, now, catalogue):
            yield (
                f"{key}.{below}" if below else key,
                value.model_copy(update={name: before}),
                value.model_copy(update={name: after}),
            )


def _of_field(info: FieldInfo, now: Any, catalogue: Catalogue) -> Iterator[tuple[str, Any, Any]]:
    slot = next(
        (one for one in _metadata(info.annotation, info.metadata) if isinstance(one, (ComponentField, ByName))), None
    )
    if slot is not None:
        yield from _of_slot(slot, info, now, catalogue)
    elif isinstance(now, Options) and not _is_scalar(now):
        yield from _of_model(now, catalogue)
    elif get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1:
        return  # it is always this value
    else:
        yield "", now, other(info.annotation, now, catalogue, tuple(info.metadata))


def _of_slot(
    slot: ComponentField | ByName, info: FieldInfo, now: Any, catalogue: Catalogue
) -> Iterator[tuple[str, Any, Any]]:
    """Every component of the slot's kind, and every option of it."""
    several = get_origin(info.annotation) is list
    first: Any = None
    for plugin, spec in catalogue.of(slot.kind):
        options = _any_of(spec.options(), catalogue)
        chosen = Selected(spec, options, plugin)
        wrap = (lambda one: [one]) if several else (lambda one: {one.name: one}) if isinstance(slot, ByName) else _same
        if first is not None:
            yield "0" if several else "", wrap(first), wrap(chosen)
        first = chosen
        start = "0." if several else f"{spec.name}." if isinstance(slot, ByName) else ""
        for key, before, after in _of_model(options, catalogue):
            yield start + key, wrap(Selected(spec, before, plugin)), wrap(Selected(spec, after, plugin))
    assert first is not None, f"nothing of the kind {slot.kind} is offered"


def _same(value: Any) -> Any:
    return value


def _is_scalar(value: Options) -> bool:
    """Whether a workflow writes it as one text, as it does a budget."""
    return type(value).__str__ is not BaseModel.__str__


def _metadata(annotation: Any, found: list[Any]) -> list[Any]:
    """What annotates a field, in lists and mappings too."""
    rest = list(found)
    for one in get_args(annotation):
        if get_origin(one) is Annotated:
            rest += [*get_args(one)[1:], *_metadata(get_args(one)[0], [])]
        elif get_origin(one) is not None:
            rest += _metadata(one, [])
    return rest
