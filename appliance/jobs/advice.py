"""What to do after an attempt failed: one sentence for each reason, and for the commonest mistakes. Pure."""

from __future__ import annotations

import re

from appliance.containers.cgroup import MemoryUse
from appliance.jobs.logged_error import LoggedError
from appliance.jobs.quantity import size
from appliance.jobs.reason import Reason
from appliance.jobs.symptom import lacks_gpu

ADVICE: dict[Reason, str] = {
    Reason.OK: "",
    Reason.CANCELLED: "",
    Reason.USER_ERROR: "Read the end of the log with spud logs, correct the script and submit it again.",
    Reason.GPU_OUT_OF_MEMORY: "Use a smaller batch or model, mixed precision, or a card with more memory by"
    " --gpu-model.",
    Reason.OUT_OF_MEMORY: "Give it more with --memory, or load less at once: fewer workers, smaller batches.",
    Reason.SHARED_MEMORY_EXHAUSTED: "Use fewer or smaller worker batches (num_workers), or let an"
    " administrator raise [jobs] shm_bytes.",
    Reason.TIME_LIMIT: "Give it more with --time, and let it save its state when it gets SIGTERM.",
    Reason.BOX_RESTARTED: "Run it again with spud retry; without --no-requeue Spud does so by itself.",
    Reason.GPU_LOST: "Run it again with spud retry, or let --retries do so; an administrator finds the card's"
    " state in spud gpus.",
    Reason.DISK_FULL: "Free some space, such as by old jobs and images, and run it again with spud retry.",
    Reason.IMAGE_ERROR: "Name an image that is there with --image, or let an administrator build or pull it.",
    Reason.LAUNCH_ERROR: "Correct what the engine refused, then run it again with spud retry.",
    Reason.CONTAINER_REMOVED: "Run it again with spud retry, and end jobs with spud cancel only.",
}

ADVICE_ON_GPU_RUNTIME = (
    "The engine cannot give GPUs to containers: let an administrator install the NVIDIA Container Toolkit and"
    " restart the engine, then run it again with spud retry."
)
ADVICE_ON_PROGRAM = "Check the command's spelling, or name an image that has the program with --image."


_NO_GPU_RUNTIME = re.compile(r"could not select device driver|unresolvable CDI devices")
_MODULE = re.compile(r"No module named '?(?P<name>[\w.]+)")
_NO_FILE = re.compile(r"\[Errno 2\]|No such file or directory")
_NOT_WRITABLE = re.compile(r"\[Errno (?:13|30)\]|Permission denied|Read-only file system")
_SEGFAULT, _ABORT, _INTERRUPT, _TERMINATED, _NOT_EXECUTABLE, _NOT_FOUND = 139, 134, 130, 143, 126, 127


def advice_on(reason: Reason, gpu_memory_bytes: int | None) -> str:
    """Return the advice for a reason, for a job that asked for so much of a GPU's memory."""
    if reason is Reason.GPU_OUT_OF_MEMORY and gpu_memory_bytes:
        return (
            f"It asked for {size(gpu_memory_bytes)} of a shared GPU: ask for more with --gpu-memory, or for"
            " the whole card with --gpus 1, or use a smaller batch."
        )
    return ADVICE[reason]


def advice_on_refusal(message: str) -> str:
    """Return the advice for a container that the engine would not start, by what the engine said."""
    return ADVICE_ON_GPU_RUNTIME if _NO_GPU_RUNTIME.search(message) else ADVICE[Reason.LAUNCH_ERROR]


def advice_on_sigkill(memory: MemoryUse | None) -> str:
    """Return the advice for a job that somebody killed, by what is known of its memory."""
    if memory is None:
        return "It may have lacked memory: give it more with --memory, and look for kill -9 in the job."
    return (
        "It did not lack memory: look for kill -9 in the job, and let an administrator look into the journal"
        " of the box."
    )


def advice_on_error(error: LoggedError | None, exit_code: int, *, has_gpu: bool) -> str:
    """Return the advice for a mistake of the job's own."""
    if error is None:
        return _advice_on_exit_code(exit_code)
    if error.kind in {"ModuleNotFoundError", "ImportError"} and (match := _MODULE.search(error.text)):
        package = match["name"].split(".")[0]
        return (
            f"Add the package that has {package} to requirements.txt beside the script; a module of your own"
            " must be in the script's folder."
        )
    if lacks_gpu(error) and not has_gpu:
        return "The job has no GPU: ask for one with --gpus 1."
    if error.kind.endswith("FileNotFoundError") or (error.kind == "OSError" and _NO_FILE.search(error.text)):
        return (
            "A job sees the folder of its script as /workspace, where it starts, and data sets as /data/NAME"
            " with --data NAME; other files of yours are not there."
        )
    if error.kind in {"PermissionError", "OSError"} and _NOT_WRITABLE.search(error.text):
        return "A job may write to /output, which is kept, /workspace, its home and /tmp; /data is read-only."
    return ADVICE[Reason.USER_ERROR]


def _advice_on_exit_code(exit_code: int) -> str:
    if exit_code == _SEGFAULT:
        return "Run it with --env PYTHONFAULTHANDLER=1 to see which call crashed: it is in native code."
    if exit_code == _ABORT:
        return "Look for the assertion or exception of a native library in the last lines of spud logs."
    if exit_code == _TERMINATED:
        return "Spud did not ask it to end: the job itself did, or somebody on the box with docker stop."
    if exit_code == _INTERRUPT:
        return "Spud sends no SIGINT: the job itself or somebody on the box did."
    if exit_code == _NOT_FOUND:
        return ADVICE_ON_PROGRAM
    if exit_code == _NOT_EXECUTABLE:
        return "Name the interpreter, as in spud run -- bash script.sh, or make the file executable."
    return ADVICE[Reason.USER_ERROR]
