"""What the engine asks of stores of models, and the spec by which plugins offer them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..components.catalogue import C, Component


class Store(Protocol):
    """Turns references into model packages, and keeps versions of them."""

    def fetch(self, reference: str) -> Path:
        """The folder of the package that a reference names, complete and verified.

        Raises:
            ModelError: There is no such model, or its package is damaged.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec(Component[C, Store]):
    """A place that keeps model packages, with the beginnings of the references it answers to."""

    kind = "store"

    schemes: tuple[str, ...] = ()
