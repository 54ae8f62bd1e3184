"""Why an attempt ended: from all that is known of its end to an outcome with evidence and advice. Pure.

The order of proof: what Spud itself asked for, what counters of the box say, what the log says, and the exit
code last, since it alone proves little: SIGKILL may come from the kernel, the engine or a user.
docs/verdicts.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.containers.cgroup import MemoryUse
from appliance.jobs.advice import (
    ADVICE,
    ADVICE_ON_PROGRAM,
    advice_on,
    advice_on_error,
    advice_on_refusal,
    advice_on_sigkill,
)
from appliance.jobs.evidence import disk_free, exit_of, first_sentence, memory_used, shared_memory_used
from appliance.jobs.job import Verdict
from appliance.jobs.logged_error import LoggedError, last_error, plain
from appliance.jobs.quantity import duration, size
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.symptom import Symptom, symptom_of, symptom_of_lines

_EXEC_FAILED = re.compile(r"^\[FATAL tini \(\d+\)\] exec (?P<program>.+) failed: (?P<why>.+)")
_USAGE = re.compile(r"^[\w./-]+: (?:error: .+|(?:line \d+: )?.+: command not found)$")
_CRASH = re.compile(r"^Fatal Python error: |^terminate called |^\s*what\(\): ")
_XID = re.compile(r"\bXid (\d+)")

_KILLED, _TERMINATED, _BUS_ERROR, _LOST_POWER = 137, 143, 135, 255
_ENDED_WITH_THE_BOX = {_LOST_POWER, _KILLED, _TERMINATED}
_ALMOST_NOTHING_FREE = 16 * 1024**2
_ALMOST = 0.95
# NVIDIA's Xid catalogue has these for faults of the program as well: 13 graphics engine exception, 31 memory
# page fault, 43 stopped processing; 45 comes with every kill.
_XIDS_OF_PROGRAMS = {"13", "31", "43", "45"}


@dataclass(frozen=True, slots=True)
class Ending:
    """All that is known of a container's end.

    `tail` are the last lines of the log, secrets masked. `gpu_faults` are sentences on Xid events and lost
    GPUs of this attempt's cards. `disk_free_bytes` is of the disk with the job's folders. `box_restarted`
    says that the boot id changed while the attempt was open, `engine_restarted` that the engine was started
    anew while it ran. `gpus` is the number of cards it was given, None when that is not known.
    """

    exit_code: int
    stop_reason: Reason | None = None
    stopped_by: str | None = None
    tail: Sequence[str] = ()
    memory: MemoryUse | None = None
    shm_bytes: int | None = None
    gpu_faults: Sequence[str] = ()
    disk_free_bytes: int | None = None
    box_restarted: bool = False
    engine_restarted: bool = False
    time_limit_s: int | None = None
    gpu_memory_bytes: int | None = None
    gpus: int | None = None


def judge(ending: Ending) -> Verdict:
    """Return the verdict on a container that ran and ended."""
    if ending.stop_reason:
        return _stopped(ending, ending.stop_reason)
    if ending.exit_code == 0:
        return Verdict(Outcome.SUCCEEDED, Reason.OK, "succeeded", exit_code=0)
    lines = plain(ending.tail)
    error = last_error(lines)
    return _by_counters(ending, error) or _by_log(ending, lines, error) or _by_exit_code(ending, lines, error)


def cancelled_before_start(by: str) -> Verdict:
    """Return the verdict on a job that was cancelled while it waited."""
    return Verdict(Outcome.CANCELLED, Reason.CANCELLED, f"cancelled by {by} before it started")


def image_failed(message: str, evidence: Sequence[str] = (), advice: str = "") -> Verdict:
    """Return the verdict on a job whose image is missing or could not be made or fetched."""
    return Verdict(
        Outcome.FAILED,
        Reason.IMAGE_ERROR,
        message,
        tuple(evidence) or (message,),
        advice=advice or ADVICE[Reason.IMAGE_ERROR],
    )


def image_missing(name: str, known: Sequence[str]) -> Verdict:
    """Return the verdict on a job whose image is not on the box."""
    there = f"There are: {', '.join(known)}." if known else "Build one with: spud image build tensorflow"
    return image_failed(f"no image {name} on this box. {there}", (f"no image {name}",))


def image_gone(image_id: str, *, ran_before: bool) -> Verdict:
    """Return the verdict on a job whose very image, by the engine's id, is no longer on the box."""
    message = (
        f"the image {image_id[:19]}, in which it {'ran before' if ran_before else 'was to run'}, is gone"
    )
    advice = "Submit it again with spud submit, which takes the image that is on the box now."
    return image_failed(message, (f"no image {image_id}",), advice)


def launch_refused(message: str) -> Verdict:
    """Return the verdict on a container that the engine would not start."""
    return Verdict(
        Outcome.FAILED, Reason.LAUNCH_ERROR, message, (message,), advice=advice_on_refusal(message)
    )


def disk_full(where: str, free_bytes: int | None = None) -> Verdict:
    """Return the verdict on a job that found no room for its workspace."""
    message = f"the disk that holds {where} is full"
    return Verdict(
        Outcome.FAILED,
        Reason.DISK_FULL,
        message,
        (message, *disk_free(free_bytes)),
        advice=ADVICE[Reason.DISK_FULL],
    )


def container_removed() -> Verdict:
    """Return the verdict on a container that somebody removed behind Spud's back."""
    message = "its container was removed by hand; how it ended is not known"
    return Verdict(
        Outcome.LOST,
        Reason.CONTAINER_REMOVED,
        message,
        ("the engine has no such container",),
        advice=ADVICE[Reason.CONTAINER_REMOVED],
    )


def box_restarted(exit_code: int | None = None) -> Verdict:
    """Return the verdict on a container that ended with the box."""
    return Verdict(
        Outcome.LOST,
        Reason.BOX_RESTARTED,
        "the box restarted while it ran",
        ("the box has another boot id than when the job was started",),
        exit_code,
        ADVICE[Reason.BOX_RESTARTED],
    )


def engine_died() -> Verdict:
    """Return the verdict on a container that the engine was starting when it died: nobody watched it."""
    message = "the Docker engine died while it started the job"
    return Verdict(
        Outcome.LOST,
        Reason.BOX_RESTARTED,
        message,
        ("the engine has forgotten that it started the container; what ran in it was killed",),
        advice=ADVICE[Reason.BOX_RESTARTED],
    )


def forgotten() -> Verdict:
    """Return the verdict on an attempt that was open in a backup, and of which nothing else is left."""
    message = "it was under way when the backup was made that the store was restored from"
    return Verdict(
        Outcome.LOST,
        Reason.CONTAINER_REMOVED,
        message,
        ("the engine has no container of it",),
        advice=ADVICE[Reason.CONTAINER_REMOVED],
    )


def told_to_stop(lost: Verdict, reason: Reason, by: str | None) -> Verdict:
    """Return the verdict on a job that was lost while it was being stopped: it ended as was wished."""
    stopped = _stopped(Ending(lost.exit_code or _KILLED, stop_reason=reason, stopped_by=by), reason)
    return replace(stopped, evidence=lost.evidence, exit_code=lost.exit_code)


# What Spud asked for


def _stopped(ending: Ending, reason: Reason) -> Verdict:
    evidence = (_how_it_stopped(ending.exit_code),)
    if reason is Reason.CANCELLED:
        message = f"cancelled by {ending.stopped_by}"
        return Verdict(Outcome.CANCELLED, reason, message, evidence, ending.exit_code)
    if reason is Reason.TIME_LIMIT:
        limit = f" of {duration(ending.time_limit_s)}" if ending.time_limit_s else ""
        message = f"reached its time limit{limit} and {_how_it_stopped(ending.exit_code)}"
        return Verdict(Outcome.TIMED_OUT, reason, message, evidence, ending.exit_code, ADVICE[reason])
    message = f"stopped by Spud: {reason.replace('_', ' ')}"
    return Verdict(
        Outcome.FAILED,
        reason,
        message,
        (*ending.gpu_faults, *evidence),
        ending.exit_code,
        ADVICE.get(reason, ""),
    )


def _how_it_stopped(exit_code: int) -> str:
    if exit_code == _TERMINATED:
        return "ended by SIGTERM within the grace"
    if exit_code == _KILLED:
        return "was killed, since it did not end within the grace after SIGTERM"
    return f"ended with exit code {exit_code} within the grace after SIGTERM"


# What counters prove


def _by_counters(ending: Ending, error: LoggedError | None) -> Verdict | None:
    if ending.box_restarted and ending.exit_code in _ENDED_WITH_THE_BOX:
        return box_restarted(ending.exit_code)
    if ending.memory and ending.memory.oom_kills:
        return _out_of_memory(ending, ending.memory, error)
    if faults := _faults_of_the_card(ending.gpu_faults):
        message = f"lost its GPU: {faults[0].rstrip('.')}"
        return _failed(ending, Reason.GPU_LOST, message, (*faults, *(error.evidence if error else ())))
    if ending.engine_restarted and ending.exit_code in _ENDED_WITH_THE_BOX:
        message = "the container engine restarted while it ran"
        evidence = (message, exit_of(ending.exit_code))
        return Verdict(
            Outcome.LOST,
            Reason.BOX_RESTARTED,
            message,
            evidence,
            ending.exit_code,
            ADVICE[Reason.BOX_RESTARTED],
        )
    return None


def _out_of_memory(ending: Ending, memory: MemoryUse, error: LoggedError | None) -> Verdict:
    whom = "it" if ending.exit_code == _KILLED else "a process of it"
    message = f"ran out of memory: the kernel killed {whom} at the limit of {size(memory.limit_bytes)}"
    if memory.limit_bytes is None or (memory.peak_bytes or memory.limit_bytes) < _ALMOST * memory.limit_bytes:
        message = f"the box ran out of memory: the kernel killed {whom}"
    return _failed(
        ending,
        Reason.OUT_OF_MEMORY,
        message,
        (*memory_used(memory), *(error.evidence if error else ())),
        advice_on(Reason.OUT_OF_MEMORY, ending.gpu_memory_bytes),
    )


def _faults_of_the_card(faults: Sequence[str]) -> list[str]:
    return [fault for fault in faults if not (xid := _XID.search(fault)) or xid[1] not in _XIDS_OF_PROGRAMS]


# What the log proves


def _by_log(ending: Ending, lines: Sequence[str], error: LoggedError | None) -> Verdict | None:
    has_gpu = True if ending.gpu_memory_bytes else None if ending.gpus is None else ending.gpus > 0
    if missing := _missing_program(lines):
        return _failed(ending, Reason.LAUNCH_ERROR, missing, (lines[-1],), ADVICE_ON_PROGRAM)
    if error and not error.is_last:
        return None
    symptom = symptom_of(error, has_gpu=has_gpu) if error else symptom_of_lines(lines)
    if symptom is None and error is None and ending.exit_code == _BUS_ERROR:
        symptom = Symptom(Reason.SHARED_MEMORY_EXHAUSTED, exit_of(_BUS_ERROR))
    if symptom is None:
        return None
    return _by_symptom(ending, symptom, error)


def _by_symptom(ending: Ending, symptom: Symptom, error: LoggedError | None) -> Verdict:
    reason = _corrected(ending, symptom.reason)
    evidence: tuple[str, ...] = (*(error.evidence if error else ()), symptom.line)
    if reason is Reason.SHARED_MEMORY_EXHAUSTED:
        evidence += shared_memory_used(ending.memory, ending.shm_bytes)
    elif reason is Reason.DISK_FULL:
        evidence += disk_free(ending.disk_free_bytes)
    elif reason is Reason.OUT_OF_MEMORY:
        evidence += memory_used(ending.memory)
    message = f"{_TITLES[reason].format(shm=size(ending.shm_bytes))}: {first_sentence(symptom.line)}"
    return _failed(
        ending, reason, message, tuple(dict.fromkeys(evidence)), advice_on(reason, ending.gpu_memory_bytes)
    )


_TITLES = {
    Reason.GPU_OUT_OF_MEMORY: "ran out of GPU memory",
    Reason.OUT_OF_MEMORY: "ran out of memory",
    Reason.SHARED_MEMORY_EXHAUSTED: "ran out of shared memory (/dev/shm has {shm})",
    Reason.GPU_LOST: "lost its GPU",
    Reason.DISK_FULL: "found a disk full",
}


def _corrected(ending: Ending, reason: Reason) -> Reason:
    """Tell a full /dev/shm from a full disk where the words are the same, by what the counters say."""
    is_disk_full = ending.disk_free_bytes is not None and ending.disk_free_bytes < _ALMOST_NOTHING_FREE
    is_shm_full = bool(
        ending.memory and ending.shm_bytes and (ending.memory.shmem_bytes or 0) >= _ALMOST * ending.shm_bytes
    )
    if reason is Reason.DISK_FULL and is_shm_full and not is_disk_full:
        return Reason.SHARED_MEMORY_EXHAUSTED
    if reason is Reason.SHARED_MEMORY_EXHAUSTED and is_disk_full and not is_shm_full:
        return Reason.DISK_FULL
    return reason


def _missing_program(lines: Sequence[str]) -> str | None:
    """Return a sentence when the container's init (tini, by --init) could not execute the command."""
    match = _EXEC_FAILED.search(lines[-1]) if lines else None
    return f"the program {match['program']} cannot be run in the image: {match['why']}" if match else None


# What is left


def _by_exit_code(ending: Ending, lines: Sequence[str], error: LoggedError | None) -> Verdict:
    how = exit_of(ending.exit_code)
    if error is None and ending.exit_code == _KILLED:
        evidence = (how, *memory_used(ending.memory), *ending.gpu_faults)
        message = "killed by SIGKILL; by whom is not known"
        return _failed(ending, Reason.USER_ERROR, message, evidence, advice_on_sigkill(ending.memory))
    evidence = error.evidence if error else _last_words(lines)
    said = error.line if error else next((line for line in evidence if _USAGE.match(line)), "")
    message = f"{how}: {said}" if said else how
    advice = advice_on_error(error, ending.exit_code, has_gpu=ending.gpus != 0)
    return _failed(ending, Reason.USER_ERROR, message, (*evidence, *ending.gpu_faults) or (how,), advice)


def _last_words(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines that are worth reading, and where a crash was, when Python told."""
    written = [line for line in lines if line.strip()]
    crashes = [index for index, line in enumerate(written) if _CRASH.match(line)]
    if crashes:
        rest = written[crashes[0] + 1 :]
        places = [line.strip() for line in rest if line.startswith('  File "')]
        return (written[crashes[0]].strip()[:500], *places[:1])
    return tuple(line.strip()[:500] for line in written[-3:])


def _failed(
    ending: Ending, reason: Reason, message: str, evidence: Sequence[str], advice: str | None = None
) -> Verdict:
    return Verdict(
        Outcome.FAILED,
        reason,
        message,
        tuple(evidence),
        ending.exit_code,
        ADVICE[reason] if advice is None else advice,
    )
