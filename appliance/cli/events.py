"""Server-sent events, as the API streams logs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is where the stream can be resumed, "" when the event does not say."""

    kind: str
    data: str
    id: str = ""


class EventParser:
    """Turns the bytes of a stream into events (WHATWG HTML standard, section 9.2.6)."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._fields: dict[str, list[str]] = {}

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that the piece completes."""
        self._rest.append(piece)
        if b"\n" not in piece:
            return []
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        events = [self._line(line.removesuffix(b"\r").decode("utf-8", "replace")) for line in lines]
        return [event for event in events if event]

    def _line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:  # a comment that keeps the connection open
            return None
        return Event(
            fields.get("event", ["message"])[-1], "\n".join(fields["data"]), fields.get("id", [""])[-1]
        )
