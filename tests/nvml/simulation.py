"""A driver library that this folder compiles, and the state file that tells it what to answer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent

GTX_1070_TI = "gtx_1070_ti"
TESLA_P100 = "tesla_p100"
RTX_4090 = "rtx_4090"

GPU_IS_LOST = "gpu_is_lost"
UNKNOWN = "unknown"

Section = list[tuple[str, str]]


def build(directory: Path) -> Path:
    """Compile the library into the directory and return its path."""
    command = ["make", "--silent", "-C", str(_FOLDER), "library", f"BUILD={directory}"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return directory / "libnvidia-ml.so.1"


def uuid_of(index: int) -> str:
    """Return the UUID of the card that was written at this place; it stays the card's when others vanish."""
    return f"GPU-51ab0000-0000-4000-8000-{index + 1:012x}"


class SimulatedGpus:
    """The cards of one simulated box: every method rewrites its state file, whole or not at all.

    Processes that use the library with `SPUD_SIMULATED_GPUS` naming `path` see a change at their next call.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "gpus.state"
        self._driver = _read_section(_FOLDER / "profiles" / "driver.state")
        self._gpus: list[Section] = []

    def write(self, profiles: Sequence[str]) -> None:
        """Put one card of each profile into the box, at rest and whole, and load the driver."""
        self._gpus = [_card(index, profile) for index, profile in enumerate(profiles)]
        self._set_driver("state", "loaded")

    def set(self, index: int, key: str, value: object) -> None:
        """Let the card answer this value, given in the unit that the key names."""
        self._gpus[index] = [*_without(self._gpus[index], key), (key, str(value))]
        self._save()

    def unset(self, index: int, key: str) -> None:
        """Let the card answer that it does not support this, or end a failure."""
        self._gpus[index] = _without(self._gpus[index], key)
        self._save()

    def lose(self, uuid: str, *, at: str = "query", error: str = GPU_IS_LOST) -> None:
        """Take the card off the bus, so that its look-up or (`at="query"`) whatever is asked of it fails."""
        self.set(self._index(uuid), f"{at}_error", error)

    def hang(self, uuid: str, function: str = "all") -> None:
        """Let a call on the card (by its NVML name) never return, until `recover`."""
        self.set(self._index(uuid), "hang", function)

    def vanish(self, uuid: str) -> None:
        """Let the driver list one card less."""
        self.set(self._index(uuid), "vanished", "yes")

    def recover(self, uuid: str) -> None:
        """End every failure of the card."""
        for key in ("query_error", "lookup_error", "hang", "vanished"):
            self.unset(self._index(uuid), key)

    def hold_memory(self, uuid: str, pid: int, used_bytes: int, kind: str = "compute") -> None:
        """Let a process, which need not live, hold memory of the card."""
        self._gpus[self._index(uuid)].append(("process", f"{pid} {used_bytes} {kind}"))
        self.set(self._index(uuid), "memory_used_bytes", used_bytes)

    def raise_xid(self, uuid: str, code: int) -> None:
        """Send one Xid event to those who wait for events of the card."""
        self._gpus[self._index(uuid)].append(("xid", str(code)))
        self._save()

    def slow_down(self, latency_us: int) -> None:
        """Let every call take this long."""
        self._set_driver("latency_us", str(latency_us))

    def driver_not_loaded(self) -> None:
        """Unload the kernel module."""
        self._set_driver("state", "not_loaded")

    def driver_loaded(self) -> None:
        """Load the module anew; who used it before must start a new session."""
        generation = int(dict(self._driver)["generation"]) + 1
        self._driver = [*_without(self._driver, "generation"), ("generation", str(generation))]
        self._set_driver("state", "loaded")

    def mismatch(self) -> None:
        """Let library and kernel module be of different versions, as after an upgrade without a reboot."""
        self._set_driver("state", "mismatch")

    def _index(self, uuid: str) -> int:
        return next(index for index, gpu in enumerate(self._gpus) if ("uuid", uuid) in gpu)

    def _set_driver(self, key: str, value: str) -> None:
        self._driver = [*_without(self._driver, key), (key, value)]
        self._save()

    def _save(self) -> None:
        parts = [_text("driver", self._driver), *(_text("gpu", gpu) for gpu in self._gpus)]
        beside = self.path.with_suffix(".new")
        beside.write_text("\n".join(parts))
        beside.replace(self.path)


def _card(index: int, profile: str) -> Section:
    own = [
        ("uuid", uuid_of(index)),
        ("pci_bus_id", f"00000000:{index + 1:02X}:00.0"),
        ("minor_number", str(index)),
    ]
    return own + _read_section(_FOLDER / "profiles" / f"{profile}.state")


def _read_section(path: Path) -> Section:
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line[:1].isalpha())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _without(section: Section, key: str) -> Section:
    return [pair for pair in section if pair[0] != key]


def _text(title: str, section: Section) -> str:
    return f"[{title}]\n" + "".join(f"{key} = {value}\n" for key, value in section)
