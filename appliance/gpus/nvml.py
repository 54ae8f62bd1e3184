"""The NVIDIA driver through its management library: the only module that imports pynvml.

Every call may block for as long as the driver does; callers who cannot wait use `appliance.gpus.inventory`.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pynvml

from appliance.errors import SpudError
from appliance.gpus.gpu import Gpu, GpuProcess, GpuReading

logger = logging.getLogger(__name__)

_LIBRARY = "libnvidia-ml.so.1"
_SIMULATION_MARK = "spud_simulated"

T = TypeVar("T")


class GpuError(SpudError):
    """A GPU or its driver does not answer as it should."""

    status = 503
    code = "gpu_error"


class DriverMissing(GpuError):
    """There is no driver, or it is not loaded."""

    code = "driver_missing"


class DriverMismatch(GpuError):
    """Library and kernel module are of different versions."""

    code = "driver_mismatch"


class GpuLost(GpuError):
    """The driver cannot reach the GPU any more."""

    code = "gpu_lost"


class NvmlDriver:
    """A session with the driver, opened at the first call, and anew after the driver failed.

    A process has one driver library: the first one loaded stays. May be shared between threads.
    """

    def __init__(self, library: str = "") -> None:
        self._library = library
        self._lock = threading.Lock()
        self._is_open = False
        self._session = 0

    @property
    def driver_version(self) -> str:
        """Version of the loaded driver, such as 580.95.05. Raises GpuError."""
        self._open()
        version: str = _ask_driver(pynvml.nvmlSystemGetDriverVersion)
        return version

    @property
    def simulated(self) -> bool:
        """True when the library is a test's simulation. Raises GpuError."""
        self._open()
        return hasattr(pynvml.nvmlLib, _SIMULATION_MARK)

    def count(self) -> int:
        """Return how many GPUs the driver lists, lost ones often included. Raises GpuError.

        A session that fails here is closed and opened once more, since a driver that was loaded anew does not
        know the old one.
        """
        self._open()
        try:
            return _count()
        except GpuError as error:
            logger.warning("Opened a new session with the driver, since the old one failed: %s", error)
            self.close()
        self._open()
        return _count()

    def gpu(self, index: int) -> Gpu:
        """Return the GPU that the driver lists at this index. Raises GpuLost, GpuError."""
        self._open()
        subject = f"GPU {index}"
        handle = _ask(subject, pynvml.nvmlDeviceGetHandleByIndex, index)
        memory = _ask(subject, _memory, handle)
        return Gpu(
            index=index,
            uuid=_ask(subject, pynvml.nvmlDeviceGetUUID, handle),
            name=_ask(subject, pynvml.nvmlDeviceGetName, handle),
            memory_total_bytes=memory.total,
            pci_bus_id=_ask(subject, pynvml.nvmlDeviceGetPciInfo_v3, handle).busId,
            compute_capability=_compute_capability(subject, handle),
            simulated=self.simulated,
            memory_reserved_bytes=getattr(memory, "reserved", 0),
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """Return every GPU that can be used, in the driver's order; lost ones are logged. Raises GpuError."""
        found = []
        for index in range(self.count()):
            try:
                found.append(self.gpu(index))
            except GpuLost as error:
                logger.warning("Left out a GPU: %s", error)
        return tuple(found)

    def read(self, gpu: Gpu) -> GpuReading:
        """Read the GPU now; a lost one is not up, and says why. Raises GpuError when the driver fails."""
        self._open()
        try:
            return _read(gpu)
        except GpuLost as error:
            return GpuReading(gpu.uuid, time.time(), up=False, error=error.message)

    def xid_events(self) -> XidEvents:
        """Return a source of the Xid events of all GPUs that report them from now on. Raises GpuError."""
        self.count()
        events = XidEvents(_ask_driver(pynvml.nvmlEventSetCreate), self._session, self)
        events.add_gpus()
        return events

    def is_session(self, session: int) -> bool:
        """Return whether what was made in a session still means something to the driver."""
        return self._is_open and self._session == session

    def close(self) -> None:
        """End the session; the next call opens another."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                with contextlib.suppress(pynvml.NVMLError):  # it is over either way
                    pynvml.nvmlShutdown()

    def _open(self) -> None:
        with self._lock:
            if self._is_open:
                return
            if self._library:
                _load(self._library)
            _ask_driver(pynvml.nvmlInit)
            self._is_open = True
            self._session += 1


class XidEvents:
    """Xid events of the GPUs that report them; for one thread, in the session in which it was made."""

    def __init__(self, event_set: Any, session: int, driver: NvmlDriver) -> None:
        self._set = event_set
        self._session = session
        self._driver = driver
        self._uuids: dict[int, str] = {}

    @property
    def gpu_uuids(self) -> frozenset[str]:
        """The GPUs that report events."""
        return frozenset(self._uuids.values())

    def add_gpus(self) -> None:
        """Listen to GPUs that came, or came back, as well. Raises GpuError when the driver fails."""
        for index in range(_count()):
            with contextlib.suppress(pynvml.NVMLError):  # it is lost, or reports no events
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if _address(handle) not in self._uuids:
                    uuid = pynvml.nvmlDeviceGetUUID(handle)
                    pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
                    self._uuids[_address(handle)] = uuid

    def wait(self, timeout_s: float) -> tuple[str, int] | None:
        """Return UUID and code of the next event; None when there is none in time. Raises GpuError."""
        if not self._driver.is_session(self._session):
            raise GpuError("The session with the driver is over.")
        try:
            event = pynvml.nvmlEventSetWait_v2(self._set, round(timeout_s * 1000))
        except pynvml.NVMLError_Timeout:
            return None
        except pynvml.NVMLError as error:
            raise _driver_error(error) from None
        # By the handle, since a card that fell off the bus no longer tells its UUID.
        uuid = self._uuids.get(_address(event.device))
        return (uuid, int(event.eventData)) if uuid else None

    def close(self) -> None:
        """Listen no longer. A set of an earlier session is gone already."""
        if self._driver.is_session(self._session):
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _load(library: str) -> None:
    """Load the named library, so that whoever asks for libnvidia-ml.so.1 gets this one.

    The dynamic loader takes a library that is loaded already for every later request of its SONAME.
    """
    try:
        loaded = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        answering = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise DriverMissing(
            f"Cannot load the driver library {library} ({error}); correct [gpus] library in the settings."
        ) from None
    if loaded._handle != answering._handle:  # noqa: SLF001 - ctypes has no public name for it
        raise DriverMissing(
            f"{library} is not a {_LIBRARY}, or another one is loaded already; "
            "correct [gpus] library in the settings and restart."
        )


def _count() -> int:
    count: int = _ask_driver(pynvml.nvmlDeviceGetCount)
    return count


def _read(gpu: Gpu) -> GpuReading:
    subject = f"GPU {gpu.index} ({gpu.uuid})"
    # By bus id: a look-up by UUID would wake every other GPU too ("nvmlDeviceGetHandleByUUID").
    handle = _ask(subject, pynvml.nvmlDeviceGetHandleByPciBusId, gpu.pci_bus_id)
    utilization = _optional(subject, pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _optional(subject, _memory, handle)
    power_mw = _optional(subject, pynvml.nvmlDeviceGetPowerUsage, handle)
    power_limit_mw = _optional(subject, pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return GpuReading(
        gpu_uuid=gpu.uuid,
        read_at=time.time(),
        up=True,
        utilization_ratio=None if utilization is None else utilization.gpu / 100,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        temperature_celsius=_optional(subject, _temperature, handle),
        power_watts=None if power_mw is None else power_mw / 1000,
        power_limit_watts=None if power_limit_mw is None else power_limit_mw / 1000,
        processes=_processes(subject, handle),
    )


def _processes(subject: str, handle: Any) -> tuple[GpuProcess, ...] | None:
    """Return who computes and who draws; None when the card tells neither."""
    computing = _optional(subject, _computing, handle)
    drawing = _optional(subject, _drawing, handle)
    if computing is None and drawing is None:
        return None
    return (*_named(computing, "compute"), *_named(drawing, "graphics"))


def _computing(handle: Any) -> Any:
    """Ask for the third version; drivers before 510 have the second alone."""
    try:
        return pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError_FunctionNotFound:
        return pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)


def _drawing(handle: Any) -> Any:
    try:
        return pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle)
    except pynvml.NVMLError_FunctionNotFound:
        return pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2(handle)


def _named(found: Any, kind: Literal["compute", "graphics"]) -> tuple[GpuProcess, ...]:
    return tuple(GpuProcess(process.pid, kind, process.usedGpuMemory) for process in found or ())


def _memory(handle: Any) -> Any:
    """Ask for the second version, which counts the driver's own share apart; drivers before 510 lack it."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported):
        return pynvml.nvmlDeviceGetMemoryInfo(handle)


def _temperature(handle: Any) -> int:
    """Ask the new way first, since the old one goes with CUDA 14; drivers before 570 lack the new one."""
    try:
        celsius: int = pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
    except pynvml.NVMLError_FunctionNotFound:
        celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return celsius


def _compute_capability(subject: str, handle: Any) -> str | None:
    version = _optional(subject, pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    return None if version is None else "{}.{}".format(*version)


def _ask_driver(call: Callable[[], T]) -> T:
    try:
        return call()
    except pynvml.NVMLError as error:
        raise _driver_error(error) from None


def _ask(subject: str, call: Callable[..., T], *arguments: object) -> T:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise _gpu_error(subject, error) from None


def _optional(subject: str, call: Callable[..., T], handle: Any) -> T | None:
    """Ask for what not every card has, nor every driver can tell."""
    try:
        return call(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
    except pynvml.NVMLError as error:
        raise _gpu_error(subject, error) from None


def _driver_error(error: pynvml.NVMLError) -> GpuError:
    match error.value:
        case pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return DriverMissing(
                f"No NVIDIA driver is installed ({_LIBRARY} was not found); install one to use GPUs."
            )
        case pynvml.NVML_ERROR_DRIVER_NOT_LOADED | pynvml.NVML_ERROR_UNINITIALIZED:
            return DriverMissing("The NVIDIA driver is not loaded; load it with: modprobe nvidia")
        case pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return DriverMismatch(
                "The NVIDIA driver library and the loaded kernel module have different versions; "
                "reboot the box to load the installed one."
            )
    return GpuError(f"The NVIDIA driver failed ({error}); look for NVRM in: journalctl -k")


def _gpu_error(subject: str, error: pynvml.NVMLError) -> GpuError:
    """Tell what is wrong with one GPU, or with the driver where the fault is not the GPU's.

    A card that fell off the bus answers GPU_IS_LOST or, as often, UNKNOWN.
    """
    match error.value:
        case pynvml.NVML_ERROR_GPU_IS_LOST | pynvml.NVML_ERROR_UNKNOWN | pynvml.NVML_ERROR_NOT_FOUND:
            return GpuLost(
                f"{subject} is lost ({error}); look for Xid messages in journalctl -k and reboot the box."
            )
        case (
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED
            | pynvml.NVML_ERROR_UNINITIALIZED
            | pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
        ):
            return _driver_error(error)
    return GpuError(f"{subject} cannot be read ({error}); look for NVRM in: journalctl -k")
