"""The fully convolutional network (Long et al. 2015): scores of the coarsest maps, enlarged and added."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from voxgraft.plugin import CONVOLUTION, DecoderModule

from .options import FCNOptions
from .parts import check_maps, enlarged, ratio


class FCNDecoder(DecoderModule):
    """`s(n) = score(n)`, `s(i) = score(i) + U(s(i + 1))`; the finest s, enlarged, is the only decoded map.

    Every part is linear and so is the head that follows, which makes classes of the scores: together they are the
    paper's scores of classes. Enlargement is linear interpolation, as which the paper's starts.
    """

    def __init__(
        self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], options: FCNOptions
    ) -> None:
        super().__init__()
        self.channels = (options.width,)
        self._maps = len(channels)
        self._first = max(0, len(channels) - options.levels)
        self.reads = tuple(range(self._first, len(channels)))
        chosen = strides[self._first :]
        self._factors = [ratio(fine, coarse) for fine, coarse in pairwise(chosen)]
        self._last = ratio(strides[0], chosen[0])
        self.scores = nn.ModuleList(CONVOLUTION[dims](inside, options.width, 1) for inside in channels[self._first :])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        check_maps("fcn", maps, self._maps)
        chosen = maps[self._first :]
        total: Tensor = self.scores[-1](chosen[-1])
        for level in reversed(range(len(chosen) - 1)):
            total = self.scores[level](chosen[level]) + enlarged(total, chosen[level].shape[2:], self._factors[level])
        return [enlarged(total, maps[0].shape[2:], self._last)]
