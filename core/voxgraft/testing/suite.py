"""Which laws there are for each kind of component, and how they are tried one after another."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..hookspecs import KINDS
from .law import Law, NotApplicable, Outcome, Subject

_MODULES = {
    "reader": "readers",
    "writer": "writers",
    "modality": "modalities",
    "encoder": "encoders",
    "decoder": "decoders",
    "loss": "scores",
    "metric": "scores",
}
"""The module that holds the laws of a kind; every kind keeps the laws of cards besides."""


def laws(kind: str) -> tuple[Law, ...]:
    """The laws for components of that kind.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    found: list[Law] = list(import_module(".cards", __package__).LAWS["card"])
    if kind in _MODULES:
        found += import_module(f".{_MODULES[kind]}", __package__).LAWS[kind]
    return tuple(found)


def try_laws(subject: Subject, folder: Path) -> list[Outcome]:
    """Try every law, each in an empty folder below `folder`; a broken law does not keep the others from being tried."""
    outcomes = []
    for number, law in enumerate(laws(subject.spec.kind), 1):
        place = folder / f"law-{number:02}"
        place.mkdir(parents=True)
        try:
            law.check(subject, place)
        except NotApplicable as reason:
            outcomes.append(Outcome(law.text, "not tried", str(reason)))
        except Exception as error:  # a plugin under test may fail in any way
            said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            outcomes.append(Outcome(law.text, "broken", said))
        else:
            outcomes.append(Outcome(law.text, "kept"))
    return outcomes
