"""What all attempts on this box have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings
from appliance.containers.cgroup import MemoryPoller
from appliance.containers.engine import ContainerEngine
from appliance.gpus.inventory import Inventory
from appliance.gpus.xid import XidWatch
from appliance.storage import Storage


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that an attempt needs; `boot_id` names this boot of the box."""

    storage: Storage
    engine: ContainerEngine
    settings: Settings
    gpus: Inventory
    xids: XidWatch
    memory: MemoryPoller
    boot_id: str


def boot_id() -> str:
    """Return what names this boot of the box, from the kernel's random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
