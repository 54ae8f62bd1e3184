"""What is taken of one thing over time, by those who have it and those to whom it is promised. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

_ROUNDING = 1e-9
"""Sums of cores such as 0.1 are not exact."""


class Timeline:
    """A thing of a given capacity: the memory of a card, or the cores of the box.

    Whoever takes the whole capacity has it alone. Times are Unix seconds; `inf` is an end that nobody knows.
    """

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self._spans: list[tuple[float, float, float]] = []

    def take(self, amount: float, start: float, end: float) -> None:
        """Give away an amount from `start` until just before `end`."""
        self._spans.append((start, end, amount))

    def used(self, at: float) -> float:
        """Return what is taken at a time."""
        return sum(amount for start, end, amount in self._spans if start <= at < end)

    def fits(self, amount: float, start: float, end: float) -> bool:
        """Return whether that much is left all the time from `start` until just before `end`."""
        left = self.capacity - amount + _ROUNDING
        if left < 0 or self.used(start) > left:
            return False
        return all(self.used(begin) <= left for begin, _, _ in self._spans if start < begin < end)

    def ends(self) -> Iterable[float]:
        """Return the known times at which something is given back."""
        return (end for _, end, _ in self._spans if end < inf)

    def free_from(self, amount: float, now: float) -> float:
        """Return from when on that much is left for ever; `inf` when nobody knows."""
        times = (now, *(end for end in self.ends() if end > now))
        return min((time for time in times if self.fits(amount, time, inf)), default=inf)
