"""What of the finished jobs gives way, in which order and why. Pure.

A job leaves three things: its workspace (with $HOME), which its code can make again; its results (outputs,
checkpoints, code); its log. Each has its age in the settings. What is left above `max_bytes` then gives way
too: workspaces first, oldest job first, after them results and logs, again oldest job first. The row of a
job and its history stay for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.config import RetentionSettings

_DAY_S = 86_400.0


class Kind(StrEnum):
    """What a job leaves."""

    WORKSPACE = "workspace"
    RESULTS = "results"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Left:
    """A thing that a finished job has left; `finished_at` is Unix seconds."""

    job_id: int
    kind: Kind
    finished_at: float
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """The decision that a thing goes, with its reason."""

    left: Left
    why: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things are kept, in seconds, and how much of them; None is for ever, or without limit."""

    workspace_s: float | None
    results_s: float | None
    log_s: float | None
    image_s: float | None
    max_bytes: int | None

    @classmethod
    def of(cls, settings: RetentionSettings) -> Limits:
        """Return the limits of the settings, where 0 means for ever."""
        return cls(
            workspace_s=_seconds(settings.workspace_days),
            results_s=_seconds(settings.artifact_days),
            log_s=_seconds(settings.log_days),
            image_s=_seconds(settings.image_days),
            max_bytes=settings.max_bytes or None,
        )

    def shortened(self, older_than_s: float, *, with_results: bool) -> Limits:
        """Return the limits of a prune that was asked for: never longer than these, and by age alone."""
        return Limits(
            workspace_s=_shorter(self.workspace_s, older_than_s),
            results_s=_shorter(self.results_s, older_than_s) if with_results else self.results_s,
            log_s=_shorter(self.log_s, older_than_s) if with_results else self.log_s,
            image_s=_shorter(self.image_s, older_than_s),
            max_bytes=self.max_bytes,
        )

    def longest_s(self, kind: Kind) -> float | None:
        """Return how long a kind of thing is kept."""
        return {Kind.WORKSPACE: self.workspace_s, Kind.RESULTS: self.results_s, Kind.LOG: self.log_s}[kind]


def removals(left: Sequence[Left], limits: Limits, now: float) -> tuple[Removal, ...]:
    """Return what goes, in the order in which it goes: what is too old, then what is too much."""
    old = [thing for thing in left if _is_older(thing.finished_at, limits.longest_s(thing.kind), now)]
    expired = [Removal(thing, f"older than {_span(limits.longest_s(thing.kind))}") for thing in _by_age(old)]
    gone = set(old)
    return (*expired, *_too_much([thing for thing in left if thing not in gone], limits.max_bytes))


def unused_images(last_used: Mapping[str, float], limits: Limits, now: float) -> tuple[str, ...]:
    """Return the images that nobody has used for too long, by the time of their last use; longest first."""
    names = sorted(last_used, key=lambda name: (last_used[name], name))
    return tuple(name for name in names if _is_older(last_used[name], limits.image_s, now))


def _seconds(days: float) -> float | None:
    return days * _DAY_S if days else None


def _too_much(left: Sequence[Left], max_bytes: int | None) -> list[Removal]:
    excess = sum(thing.bytes for thing in left) - max_bytes if max_bytes is not None else 0
    removed = []
    for thing in sorted(left, key=lambda thing: (thing.kind is not Kind.WORKSPACE, *_age(thing))):
        if excess <= 0:
            break
        if thing.bytes:
            excess -= thing.bytes
            removed.append(Removal(thing, f"jobs keep more than {max_bytes:,} bytes"))
    return removed


def _is_older(since: float, longest_s: float | None, now: float) -> bool:
    return longest_s is not None and now - since > longest_s


def _by_age(left: Sequence[Left]) -> list[Left]:
    return sorted(left, key=_age)


def _age(thing: Left) -> tuple[float, int, str]:
    return thing.finished_at, thing.job_id, thing.kind


def _shorter(longest_s: float | None, wanted_s: float) -> float:
    return wanted_s if longest_s is None else min(longest_s, wanted_s)


def _span(seconds: float | None) -> str:
    whole = seconds or 0.0
    for unit, name in ((_DAY_S, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if whole >= unit:
            return f"{whole / unit:g} {name}"
    return f"{whole:g} seconds"
