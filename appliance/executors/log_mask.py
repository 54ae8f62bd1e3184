"""Secrets in a log: masked before anything is written, also where the parts of a long line cut one in two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from appliance.jobs.log import Kind, LogRecord

Mask = Callable[[bytes], bytes]
"""Returns a text with every secret in it replaced."""


@dataclass(slots=True)
class MaskedLines:
    """Masks records. As many come out as went in, in an order that the input alone decides.

    The parts of one line bear the same time, and those of another stream may stand between them. Where a
    secret reaches over parts, the first of these gets their whole text and the others stay empty.

    So much of an unfinished line as `longest_bytes`, the longest text that `mask` replaces, is held back.
    """

    mask: Mask
    longest_bytes: int
    _held: dict[bytes, list[LogRecord]] = field(default_factory=dict)

    def feed(self, records: Iterable[LogRecord]) -> list[LogRecord]:
        """Return those records that nothing after them can change any more."""
        masked: list[LogRecord] = []
        for record in records:
            if record.kind is Kind.FULL and record.timestamp not in self._held:
                masked.append(replace(record, text=self.mask(record.text)))
            else:
                masked += self._feed_part(record)
        return masked

    def flush(self) -> list[LogRecord]:
        """Return what is held back still, at the end of the output."""
        masked = [record for parts in self._held.values() for record in self._joined(parts)]
        self._held.clear()
        return masked

    def _feed_part(self, record: LogRecord) -> list[LogRecord]:
        parts = [*self._held.pop(record.timestamp, []), record]
        if record.kind is Kind.FULL:
            return self._joined(parts)
        ready = self._ready(parts)
        self._held[record.timestamp] = parts[ready:]
        return self._joined(parts[:ready])

    def _ready(self, parts: list[LogRecord]) -> int:
        """Return how many of the parts have enough behind them and end where no secret does not."""
        count, behind = len(parts), 0
        while count and behind < self.longest_bytes:
            count -= 1
            behind += len(parts[count].text)
        while count and self._is_cut(parts, count):
            count -= 1
        return count

    def _is_cut(self, parts: list[LogRecord], at: int) -> bool:
        before, after = (b"".join(part.text for part in side) for side in (parts[:at], parts[at:]))
        return self.mask(before) + self.mask(after) != self.mask(before + after)

    def _joined(self, parts: list[LogRecord]) -> list[LogRecord]:
        """Return the parts masked: each by itself where that is enough, else all in the first of them."""
        masked = [replace(part, text=self.mask(part.text)) for part in parts]
        whole = self.mask(b"".join(part.text for part in parts))
        if b"".join(part.text for part in masked) == whole:
            return masked
        empty = [replace(part, text=b"") for part in parts[1:]]
        return [replace(parts[0], text=whole), *empty]
