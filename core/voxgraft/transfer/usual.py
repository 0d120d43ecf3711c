"""How pretrained weights are used where nothing else is known: what the measured figures favour."""

from __future__ import annotations

from typing import Any

USUAL: dict[str, Any] = {"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}
"""L2-SP (Li 2018), weakly weighed. On the left atrium, with eight labels, it did better than fine-tuning with a smaller
learning rate and than four other ways, and no worse than a frozen encoder (docs/transfer.md); what ImageNet weights
gain over scratch in the curves of polyps and of the heart, with 1 to 33 labels, was measured with it."""
FROZEN: dict[str, Any] = {"use": "freeze"}
"""The encoder as it is: quicker, and what is left to try where fewer than five cases are labelled."""
