"""What the words of an error prove: the patterns of the frameworks. Pure.

A pattern counts only in the message of an error of a class that the framework raises, or in a line that a
crashing program prints; never in what a program merely writes about it. The sources:

- PyTorch: c10/cuda/CUDACachingAllocator.cpp ("CUDA out of memory. Tried to allocate"), c10/core/impl/
  alloc_cpu.cpp ("DefaultCPUAllocator: "), aten/src/ATen/MapAllocator.cpp ("unable to allocate shared
  memory(shm) for file"), torch/csrc/DataLoader.cpp ("is killed by signal: "), caffe2/serialize/
  inline_container.cc ("PytorchStreamWriter failed writing file"), torch/cuda/__init__.py ("No CUDA GPUs")
- TensorFlow: core/framework/op_kernel.cc ("OOM when allocating tensor with shape"), core/common_runtime/
  bfc_allocator.cc ("ran out of memory trying to allocate"; with "not a failure" it goes on), issue 7025
  ("Dst tensor is not initialized"), tsl/platform/default/posix_file_system.cc (a full disk is
  RESOURCE_EXHAUSTED too)
- XLA: RESOURCE_EXHAUSTED: Out of memory while trying to allocate / Out of memory allocating
- CUDA: cudaGetErrorString and the names of CUresult, cublasStatus_t and cudnnStatus_t; NVML: nvmlErrorString
- CuPy: cupy/cuda/memory.pyx ("Out of memory allocating"); NumPy: numpy/_core/_exceptions.py ("Unable to
  allocate"); NCCL: src/misc/shmutils.cc ("Error while creating shared memory segment")
- Linux: errno 12, 28 and 122, and strsignal(3)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.jobs.logged_error import LoggedError
from appliance.jobs.reason import Reason

_LAST_LINES = 15
_NOT_A_FAILURE = "not a failure"


@dataclass(frozen=True, slots=True)
class Symptom:
    """A reason, and the line that shows it."""

    reason: Reason
    line: str


_FRAMEWORK = re.compile(
    r"\w*RuntimeError|OutOfMemoryError|AcceleratorError|ResourceExhaustedError|InternalError|UnknownError"
    r"|AbortedError|FailedPreconditionError|NotFoundError|\w*MemoryError|\w*OSError|IOError|SystemError"
    r"|XGBoostError|LightGBMError|MXNetError|Cu\w+Error|CUDA\w*Error|cuda\w*Error|NVMLError\w*|DistBackendError"
    r"|SafetensorError|OperationalError|ArrowMemoryError|HDF5ExtError"
)
_MEMORY_ERROR = re.compile(r"MemoryError|_ArrayMemoryError|ArrayMemoryError|ArrowMemoryError")

_NO_SPACE = r"No space left on device|\[Errno 28\]|os error 28|errno = 28|database or disk is full"
_QUOTA = r"(?i:disk quota exceeded)|\[Errno 122\]|os error 122"
_SHM = r"/dev/shm|shared memory|</torch_\d|nccl-\w+"  # noqa: S108  the words of an error

# The first that matches wins.
_MESSAGES: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (
        Reason.SHARED_MEMORY_EXHAUSTED,
        re.compile(
            r"is killed by signal: Bus error|unable to allocate shared memory"
            rf"|\A(?=.*(?:{_SHM}))(?:.*(?:{_NO_SPACE}))|Error while creating shared memory segment",
            re.DOTALL,
        ),
    ),
    (Reason.DISK_FULL, re.compile(rf"{_NO_SPACE}|{_QUOTA}")),
    (
        Reason.GPU_LOST,
        re.compile(
            r"uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorECCUncorrectable"
            r"|GPU is lost|has fallen off the bus|Unable to determine the device handle"
            r"|Failed to initialize NVML: (?:Unknown Error|Driver/library version mismatch)"
        ),
    ),
    (
        Reason.GPU_OUT_OF_MEMORY,
        re.compile(
            r"^CUDA out of memory(?:\.|$)|^CUDA error: out of memory"
            r"|cuda runtime error \(2\) ?: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
            r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
            r"|(?:cuMemAlloc|cudaMalloc)\w* failed: out of memory"
            r"|OOM when allocating tensor.{0,400}?(?:device:GPU:\d|by allocator GPU_)"
            r"|Dst tensor is not initialized|NCCL .{0,400}?Cuda failure '?out of memory",
            re.DOTALL,
        ),
    ),
    (
        Reason.OUT_OF_MEMORY,
        re.compile(
            r"OOM when allocating tensor.{0,400}?device:CPU:\d|DefaultCPUAllocator: |Cannot allocate memory"
            r"|\[Errno 12\]|is killed by signal: Killed|std::bad_alloc",
            re.DOTALL,
        ),
    ),
)

# Out of memory of whatever device the job computes on.
_OF_THE_DEVICE = re.compile(
    r"OOM when allocating tensor|^failed to allocate memory|\}\} failed to allocate memory"
    r"|R(?:ESOURCE_EXHAUSTED|esource exhausted): (?:.{0,200}?)Out of memory"
    r"|^Out of memory (?:while|allocating)",
    re.DOTALL,
)
_NO_DEVICE = re.compile(
    r"no CUDA-capable device|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice|No CUDA GPUs are available"
    r"|Found no NVIDIA driver|Torch not compiled with CUDA enabled"
)

# Without a Python error: what a program prints that dies of it, as `cp: error writing 'a': No space left on
# device`, `what():  CUDA out of memory. Tried to allocate` or `Bus error (core dumped)`.
_LAST_WORDS: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (
        Reason.SHARED_MEMORY_EXHAUSTED,
        re.compile(
            r"^(?:.*[:\s])?Bus error(?:\s+\(core dumped\))?(?:\s{2,}.*)?$"
            r"|Unexpected bus error encountered in worker"
            r"|/dev/shm.*: No space left on device$|NCCL WARN Error while creating shared memory segment"
        ),
    ),
    (Reason.DISK_FULL, re.compile(r": (?:No space left on device|Disk quota exceeded)\.?$")),
    (
        Reason.GPU_LOST,
        re.compile(
            r"^\s*(?:\S.*[Ee]rror|what\(\)|\S.*failed)[^a-z].*"
            r"(?:uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE)"
            r"|^Unable to determine the device handle for GPU|^Failed to initialize NVML: (?:Unknown|Driver)"
            r"|GPU is lost\.  Reboot the system"
        ),
    ),
    (
        Reason.GPU_OUT_OF_MEMORY,
        re.compile(
            r"(?:^(?:[\w.]+Error: )?|what\(\): +)CUDA out of memory\. Tried to allocate"
            r"|(?:^(?:[\w.]+Error: )?|what\(\): +)(?:CUDA|cuda)\w* ?(?:error|failure)[^a-z]{0,8}out of memory"
            r"|^(?:\S+: )*cudaMalloc\w* failed: out of memory"
            r"|what\(\): .*(?:cudaErrorMemoryAllocation|out of memory)"
            r"|^\S.*(?:Allocator \(GPU_\d+_bfc\) ran out of memory trying to allocate)"
            r"|^\S.*(?:[Ee]rror|failed).*CUDA_ERROR_OUT_OF_MEMORY"
        ),
    ),
    (
        Reason.OUT_OF_MEMORY,
        re.compile(
            r": Cannot allocate memory$|terminate called after throwing an instance of 'std::bad_alloc'"
            r"|what\(\): +std::bad_alloc|^(?:Java|java)\S* heap space$"
        ),
    ),
)


def symptom_of(error: LoggedError, *, has_gpu: bool | None) -> Symptom | None:
    """Return what an uncaught error proves, by itself or by what it was raised from.

    `has_gpu` is whether the job was given a GPU, None when that is not known.
    """
    for one in (error, *error.causes):
        if _FRAMEWORK.fullmatch(one.kind) and (reason := _reason(one, has_gpu=has_gpu)):
            return Symptom(reason, one.line)
    return None


def symptom_of_lines(lines: Sequence[str]) -> Symptom | None:
    """Return what the last lines of a log prove that shows no Python error; the last such line counts."""
    last = [line for line in lines if line][-_LAST_LINES:]
    for line in reversed(last):
        if _NOT_A_FAILURE not in line and (reason := _first(_LAST_WORDS, line)):
            return Symptom(reason, line[:500])
    return None


def lacks_gpu(error: LoggedError) -> bool:
    """Return whether the error says that there is no GPU."""
    return any(_NO_DEVICE.search(one.message) for one in (error, *error.causes))


def _reason(error: LoggedError, *, has_gpu: bool | None) -> Reason | None:
    if found := _first(_MESSAGES, error.message):
        return found
    if _OF_THE_DEVICE.search(error.message):
        return Reason.OUT_OF_MEMORY if has_gpu is False else Reason.GPU_OUT_OF_MEMORY
    if _MEMORY_ERROR.fullmatch(error.kind):
        return Reason.OUT_OF_MEMORY
    if _NO_DEVICE.search(error.message) and has_gpu:
        return Reason.GPU_LOST
    return None


def _first(patterns: Iterable[tuple[Reason, re.Pattern[str]]], text: str) -> Reason | None:
    return next((reason for reason, pattern in patterns if pattern.search(text)), None)
