"""One stream's times made fit for a new file: one origin, no jumps back, no absurd jumps ahead. Pure.

A recorder whose clock was set in mid-file, or files glued together, leave times that jump. Real pauses stay.
"""

from __future__ import annotations

from fractions import Fraction

BACK_MAX_S = Fraction(2)  # B-pictures step back less than this; a clock that was set back steps more
AHEAD_MAX_S = Fraction(3600)  # a pause of an hour is believed, a jump of years is not


class Clock:
    """Maps the stream's ticks to ticks from the origin. `jumps` counts what had to be taken out."""

    def __init__(self, time_base: Fraction, origin_s: Fraction) -> None:
        self.time_base = time_base
        self.jumps = 0
        self._shift = -round(origin_s / time_base)
        self._last: int | None = None
        self._back = round(BACK_MAX_S / time_base)
        self._ahead = round(AHEAD_MAX_S / time_base)

    def shift(self, ticks: int, duration: int) -> int:
        """Return what to add to the times of the packet or frame at `ticks` that lasts `duration`."""
        at = ticks + self._shift
        if self._last is not None and not self._last - self._back <= at <= self._last + self._ahead:
            self._shift += self._last + max(duration, 1) - at
            self.jumps += 1
            at = ticks + self._shift
        self._last = at if self._last is None else max(self._last, at)
        return self._shift
