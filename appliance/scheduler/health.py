"""Which GPUs are not to be used, and which are well again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.gpus.xid import Xid
from appliance.jobs.box import LEFT_OVER, LOST, XID, Quarantine

WELL_AFTER_S = 30.0
"""How long a card that was lost must answer before it is used again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a GPU is at one look.

    `up_for_s` is how long it has answered without a break, None when it does not; then `error` says why.
    `is_free` says that nobody holds it but jobs of this Spud; `xid` is the newest critical fault since the
    look before.
    """

    gpu_uuid: str
    index: int
    up_for_s: float | None
    error: str | None = None
    is_free: bool = True
    xid: Xid | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What changes: GPUs that come into quarantine, that leave it, and that are no longer known at all."""

    quarantined: list[Quarantine] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)


def examine(
    conditions: Iterable[Condition], quarantines: Iterable[Quarantine], boot_id: str, now: float
) -> Change:
    """Return what changes by the conditions of all known GPUs; `now` is Unix seconds."""
    known = {entry.gpu_uuid: entry for entry in quarantines}
    change = Change()
    for condition in conditions:
        _examine(condition, known, boot_id, now, change)
    return change


def _examine(
    condition: Condition, known: Mapping[str, Quarantine], boot_id: str, now: float, change: Change
) -> None:
    uuid, entry = condition.gpu_uuid, known.get(condition.gpu_uuid)
    if entry and entry.release_requested_by and condition.up_for_s is None:
        change.released.append(uuid)
        change.forgotten.append(uuid)
        return
    if entry and (entry.release_requested_by or _is_well(condition, entry, boot_id)):
        change.released.append(uuid)
        entry = None
    if condition.xid and (entry is None or entry.cause != XID):
        change.quarantined.append(Quarantine(uuid, XID, _after_xid(condition), boot_id, now))
    elif entry is None and condition.up_for_s is None:
        reason = condition.error or f"GPU {condition.index} ({uuid}) does not answer."
        change.quarantined.append(Quarantine(uuid, LOST, reason, boot_id, now))


def _is_well(condition: Condition, entry: Quarantine, boot_id: str) -> bool:
    """Return whether what put the GPU into quarantine is over."""
    if condition.up_for_s is None:
        return False
    if entry.cause == XID:
        return entry.boot_id != boot_id
    return condition.is_free if entry.cause == LEFT_OVER else condition.up_for_s >= WELL_AFTER_S


def _after_xid(condition: Condition) -> str:
    what = condition.xid.clause if condition.xid else "failed"
    return (
        f"it {what}. Reboot the box; or reset the card (nvidia-smi --gpu-reset -i {condition.index}), then:"
        f" spud gpus release {condition.index}"
    )
