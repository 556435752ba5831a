"""Many channels to one: their mean, unless it loses the sound that they hold.

Decided once a recording, on its first ten minutes, so that a chunk is mixed as the whole is:

1. Where the order of channels has a centre (5.1, 7.1), it is taken: that is where speech is. A centre more than 20 dB
   below the loudest channel is none.
2. Where the channels cancel, the one with the most energy is taken, the first of equals: the energy of their sum is
   below a quarter (-6 dB) of the sum of their energies, in all or in those seconds that hold a tenth of the energy.
   Unrelated channels give 1, equal ones their number, two in opposite phase 0; two channels fall below it from a
   correlation of -0.75 on.
3. So it is where one of more than two channels holds 90 % of the energy: the mean would be a fraction of it.
4. Otherwise the mean is taken.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

DECIDED_S = 600.0
CANCELS, AT_TIMES, FAINT, ALL = 0.25, 0.1, 0.01, 0.9  # shares of energy
_EQUAL = 1 - 1e-6  # share of the largest energy from which two are equal: sums are not rounded alike on all processors
Rule = Literal["mean", "centre", "loudest"]


@dataclass(frozen=True)
class Mixing:
    """How channels become one.

    Attributes:
        rule: which of the module's rules applied
        channel: index of the one that is taken, None for the mean
    """

    rule: Rule = "mean"
    channel: int | None = None

    def mixed(self, block: np.ndarray) -> np.ndarray:
        """Return one channel, shape ``(n_frames,)``, of a block of shape ``(n_frames, channels)``."""
        if block.shape[1] == 1:
            return block[:, 0]
        return block.mean(axis=1) if self.channel is None else block[:, self.channel].copy()


@dataclass
class Energies:
    """Sums of squares over the part of a recording that decides, gathered while it is decoded.

    Attributes:
        channels: number of channels
        limit: frames that decide
        centre: index of the centre, where there is one
    """

    channels: int
    limit: int
    centre: int | None = None
    read: int = 0
    of_sum: float = 0.0
    cancelled: float = 0.0  # sum of all channels' energies in the seconds in which they cancel
    of_each: np.ndarray = field(init=False)
    _rest: np.ndarray = field(init=False)  # frames of a second that has not ended

    def __post_init__(self) -> None:
        self.of_each = np.zeros(self.channels)
        self._rest = np.zeros((0, self.channels))

    def add(self, block: np.ndarray) -> None:
        """Add a block, shape ``(n_frames, channels)``."""
        if self.channels == 1 or self.read >= self.limit:
            return
        block = block[: self.limit - self.read].astype(np.float64)
        self.read += len(block)
        products = block.T @ block
        self.of_each += products.diagonal()
        self.of_sum += float(products.sum())
        second = max(1, int(self.limit // DECIDED_S))
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // second * second
        self._rest = joined[whole:]
        if whole:
            seconds = joined[:whole].reshape(-1, second, self.channels)
            totals, sums = (seconds**2).sum(axis=(1, 2)), (seconds.sum(axis=2) ** 2).sum(axis=1)
            self.cancelled += float(totals[sums < CANCELS * totals].sum())

    def mixing(self) -> Mixing:
        """Return the mixing that the sums decide on."""
        if self.channels == 1 or not self.of_each.any():
            return Mixing()
        if self.centre is not None and self.of_each[self.centre] >= FAINT * self.of_each.max():
            return Mixing("centre", self.centre)
        total, largest = self.of_each.sum(), self.of_each.max()
        cancel = self.of_sum < CANCELS * total or self.cancelled > AT_TIMES * total
        if cancel or (self.channels > 2 and largest >= ALL * total):
            return Mixing("loudest", int((self.of_each >= _EQUAL * largest).argmax()))
        return Mixing()
