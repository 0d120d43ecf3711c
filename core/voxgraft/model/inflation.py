"""How a network of slices is inflated, in a word; importing this costs no torch."""

from __future__ import annotations

from typing import Literal

Inflation = Literal["centre", "mean"]
"""`centre`: at the start only the middle slice counts; `mean`: every slice counts alike."""
