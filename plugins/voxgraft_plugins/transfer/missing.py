"""Learning to do without channels that a scan may lack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from voxgraft.plugin import Context, TrainingError

from .options import ChannelDropoutOptions
from .own import OwnStrategy


class ChannelDropout(OwnStrategy):
    """In training each optional channel of each sample is left out with probability p (Neverova et al. 2016), never
    all that are there. A channel left out is zeros, as one that is missing is after normalisation."""

    name = "channel-dropout"
    needs = frozenset[str]()

    def __init__(self, options: ChannelDropoutOptions) -> None:
        self._p, self._wanted = options.p, options.channels
        self._may_go = torch.zeros(0, dtype=torch.bool)

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Find the channels.

        Raises:
            TrainingError: None is optional, or one that is named does not exist.
        """
        have = context.plan.channels if context.plan is not None else ()
        optional = context.plan.optional if context.plan is not None else ()
        names = optional if self._wanted is None else self._wanted
        for name in names:
            if name not in have:
                raise TrainingError(
                    f"transfer: channel-dropout.channels names {name!r}; the channels are {', '.join(have)}"
                )
        if not names or len(have) < 2:
            raise TrainingError(
                "transfer: channel-dropout finds no channel that a scan may lack; mark one in data.channels "
                "({NAME: optional}), or name some in channel-dropout.channels"
            )
        self._may_go = torch.tensor([name in names for name in have])
        return {}

    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        chances = torch.rand(image.shape[:2], generator=draw)
        goes = (chances < self._p) & self._may_go
        present = image.flatten(2).any(2).cpu()
        nothing_left = ~(present & ~goes).any(1)
        # The one that was least likely to go stays, among those that are there.
        stays = chances.masked_fill(~present, -1.0).argmax(1)
        goes[nothing_left, stays[nothing_left]] = False
        return image.masked_fill(goes.to(image.device)[(...,) + (None,) * (image.ndim - 2)], 0.0)
