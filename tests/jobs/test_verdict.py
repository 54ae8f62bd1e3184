from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.containers.cgroup import MemoryUse
from appliance.jobs.advice import ADVICE
from appliance.jobs.reason import NEVER_RETRIED, RETRIED, Outcome, Reason
from appliance.jobs.verdict import (
    Ending,
    box_restarted,
    container_removed,
    disk_full,
    engine_died,
    image_failed,
    image_missing,
    judge,
    launch_refused,
    told_to_stop,
)

pytestmark = pytest.mark.unit

RECORDED = Path(__file__).parent / "recorded"
MIB, GIB = 1024**2, 1024**3
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/workspace/train.py", line 3, in <module>',
    "    fit()",
    "ValueError: bad shape",
]


def recorded(name: str) -> list[str]:
    return (RECORDED / f"{name}.log").read_bytes().decode().split("\n")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("torch-oom", Reason.GPU_OUT_OF_MEMORY),
        ("torch-1-oom", Reason.GPU_OUT_OF_MEMORY),
        ("torch-cuda-error-oom", Reason.GPU_OUT_OF_MEMORY),
        ("torch-cublas-oom", Reason.GPU_OUT_OF_MEMORY),
        ("torchrun-oom", Reason.GPU_OUT_OF_MEMORY),
        ("launcher-oom", Reason.GPU_OUT_OF_MEMORY),
        ("rich-oom", Reason.GPU_OUT_OF_MEMORY),
        ("libtorch-oom", Reason.GPU_OUT_OF_MEMORY),
        ("tensorflow-gpu-oom", Reason.GPU_OUT_OF_MEMORY),
        ("tensorflow-gpu-root-errors", Reason.GPU_OUT_OF_MEMORY),
        ("tensorflow-gpu-eager-oom", Reason.GPU_OUT_OF_MEMORY),
        ("tensorflow-gpu-dst-tensor", Reason.GPU_OUT_OF_MEMORY),
        ("jax-gpu-oom", Reason.GPU_OUT_OF_MEMORY),
        ("cupy-oom", Reason.GPU_OUT_OF_MEMORY),
        ("tensorflow-gpu-survived", Reason.USER_ERROR),
        ("tensorflow-gpu-oom-survived", Reason.USER_ERROR),
        ("survived-then-launcher", Reason.USER_ERROR),
        ("tensorflow-cpu-oom", Reason.OUT_OF_MEMORY),
        ("numpy-memory-error", Reason.OUT_OF_MEMORY),
        ("fork-no-memory", Reason.OUT_OF_MEMORY),
        ("bad-alloc", Reason.OUT_OF_MEMORY),
        ("torch-dataloader-killed", Reason.OUT_OF_MEMORY),
        ("torch-dataloader-bus-error", Reason.SHARED_MEMORY_EXHAUSTED),
        ("torch-dataloader-shm", Reason.SHARED_MEMORY_EXHAUSTED),
        ("tensorflow-disk-full", Reason.DISK_FULL),
        ("keras-disk-full", Reason.DISK_FULL),
        ("python-disk-full", Reason.DISK_FULL),
        ("cp-disk-full", Reason.DISK_FULL),
        ("torch-ecc", Reason.GPU_LOST),
        ("torch-no-gpu", Reason.GPU_LOST),
        ("nvml-unknown-error", Reason.GPU_LOST),
        ("torch-device-assert", Reason.USER_ERROR),
        ("passing-mention", Reason.USER_ERROR),
        ("passing-help", Reason.USER_ERROR),
        ("numpy-survived", Reason.USER_ERROR),
        ("keras-fit-error", Reason.USER_ERROR),
        ("missing-module", Reason.USER_ERROR),
        ("syntax-error", Reason.USER_ERROR),
        ("broken-process-pool", Reason.USER_ERROR),
        ("sys-exit", Reason.USER_ERROR),
        ("progress", Reason.USER_ERROR),
    ],
)
def test_a_log_is_judged_by_the_error_that_ended_the_job(log: str, reason: Reason) -> None:
    verdict = judge(Ending(1, tail=recorded(log), gpus=1))
    assert verdict.reason is reason
    assert verdict.evidence
    assert verdict.advice.endswith(".")


@pytest.mark.parametrize("log", sorted(path.stem for path in RECORDED.glob("*.log")))
def test_whoever_survives_an_error_and_ends_with_0_succeeded(log: str) -> None:
    verdict = judge(Ending(0, tail=recorded(log), memory=MemoryUse(1), gpu_faults=["Xid 79"]))
    assert (verdict.outcome, verdict.message, verdict.advice) == (Outcome.SUCCEEDED, "succeeded", "")


@pytest.mark.parametrize(
    ("log", "message", "evidence"),
    [
        (
            "torch-oom",
            "ran out of GPU memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB",
            'File "/workspace/train.py", line 33, in main',
        ),
        (
            "torchrun-oom",
            "ran out of GPU memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB",
            'File "/workspace/train.py", line 33, in main',
        ),
        (
            "tensorflow-cpu-oom",
            "ran out of memory: tensorflow.python.framework.errors_impl.ResourceExhaustedError: ",
            'File "/workspace/train.py", line 3, in <module>',
        ),
        (
            "missing-module",
            "ended with exit code 1: ModuleNotFoundError: No module named 'albumentations'",
            'File "/workspace/train.py", line 1, in <module>',
        ),
        (
            "syntax-error",
            "ended with exit code 1: SyntaxError: invalid syntax",
            'File "/workspace/train.py", line 1',
        ),
        (
            "argparse",
            "ended with exit code 1: train.py: error: unrecognized arguments: --epohs 3",
            "usage: train.py [-h] [--epochs EPOCHS]",
        ),
        (
            "survived-then-launcher",
            "ended with exit code 1: subprocess.CalledProcessError: Command '['ffmpeg'",
            'File "/workspace/train.py", line 12, in <module>',
        ),
        ("sys-exit", "ended with exit code 1", "loading"),
        ("progress", "ended with exit code 1", "Epoch 1: 100%|####| 10/10"),
        (
            "passing-mention",
            "ended with exit code 1: ValueError: CUDA_ERROR_OUT_OF_MEMORY was seen with batch size 48",
            'File "/workspace/train.py", line 22, in fit',
        ),
    ],
)
def test_message_and_evidence_say_what_a_user_would_look_for(log: str, message: str, evidence: str) -> None:
    verdict = judge(Ending(1, tail=recorded(log)))
    assert verdict.message.startswith(message)
    assert verdict.evidence[0] == evidence


def test_the_cause_of_a_dead_worker_is_quoted() -> None:
    verdict = judge(Ending(1, tail=recorded("torch-dataloader-bus-error"), shm_bytes=GIB))
    assert verdict.message.startswith(
        "ran out of shared memory (/dev/shm has 1 GiB): RuntimeError: DataLoader worker (pid 57)"
    )
    assert "RuntimeError: DataLoader worker (pid(s) 57) exited unexpectedly" in verdict.evidence


def test_out_of_memory_on_the_device_is_host_memory_for_a_job_without_gpu() -> None:
    for log in ("jax-gpu-oom", "tensorflow-gpu-eager-oom"):
        assert judge(Ending(1, tail=recorded(log), gpus=0)).reason is Reason.OUT_OF_MEMORY


def test_a_job_that_asked_for_no_gpu_has_not_lost_it() -> None:
    verdict = judge(Ending(1, tail=recorded("torch-no-gpu"), gpus=0))
    assert (verdict.reason, verdict.advice) == (
        Reason.USER_ERROR,
        "The job has no GPU: ask for one with --gpus 1.",
    )


def test_who_shares_a_gpu_is_told_to_ask_for_more_of_it() -> None:
    verdict = judge(Ending(1, tail=recorded("torch-oom"), gpu_memory_bytes=2 * GIB))
    assert "asked for 2 GiB of a shared GPU: ask for more with --gpu-memory" in verdict.advice


# Counters


def test_the_kernels_count_of_kills_comes_before_the_log() -> None:
    memory = MemoryUse(oom_kills=2, peak_bytes=64 * MIB, limit_bytes=64 * MIB, shmem_bytes=3 * MIB)
    verdict = judge(Ending(1, tail=recorded("broken-process-pool"), memory=memory))
    assert verdict.reason is Reason.OUT_OF_MEMORY
    assert verdict.message == "ran out of memory: the kernel killed a process of it at the limit of 64 MiB"
    assert verdict.evidence[0] == (
        "memory cgroup: 2 of its processes killed for lack of memory; used at most 64 MiB of 64 MiB,"
        " 3 MiB of it in shared memory"
    )
    assert "--memory" in verdict.advice


def test_a_job_killed_far_below_its_limit_lacked_the_boxs_memory() -> None:
    verdict = judge(Ending(137, memory=MemoryUse(1, 2 * GIB, 16 * GIB)))
    assert verdict.message == "the box ran out of memory: the kernel killed it"


@pytest.mark.parametrize("memory", [None, MemoryUse(0, 64 * MIB, 64 * MIB)])
def test_exit_code_137_alone_proves_nothing(memory: MemoryUse | None) -> None:
    verdict = judge(Ending(137, memory=memory, tail=["epoch 1"]))
    assert (verdict.reason, verdict.message) == (
        Reason.USER_ERROR,
        "killed by SIGKILL; by whom is not known",
    )
    assert verdict.evidence[0] == "ended by SIGKILL (exit code 137)"


def test_an_xid_of_the_card_means_a_lost_gpu() -> None:
    fault = "GPU 0 has fallen off the bus (Xid 79)."
    verdict = judge(Ending(1, tail=TRACEBACK, gpu_faults=[fault]))
    assert (verdict.reason, verdict.message) == (
        Reason.GPU_LOST,
        "lost its GPU: GPU 0 has fallen off the bus (Xid 79)",
    )
    assert verdict.evidence == (
        fault,
        'File "/workspace/train.py", line 3, in <module>',
        "ValueError: bad shape",
    )


def test_an_xid_that_programs_cause_is_evidence_of_their_own_error() -> None:
    verdict = judge(Ending(1, tail=TRACEBACK, gpu_faults=["GPU 0: memory page fault (Xid 31)."]))
    assert verdict.reason is Reason.USER_ERROR
    assert "GPU 0: memory page fault (Xid 31)." in verdict.evidence


@pytest.mark.parametrize("exit_code", [255, 137, 143])
def test_what_ended_with_the_box_or_the_engine_is_lost(exit_code: int) -> None:
    for ending in (Ending(exit_code, box_restarted=True), Ending(exit_code, engine_restarted=True)):
        verdict = judge(ending)
        assert (verdict.outcome, verdict.reason) == (Outcome.LOST, Reason.BOX_RESTARTED)


def test_a_job_that_failed_by_itself_before_the_restart_failed() -> None:
    verdict = judge(Ending(1, tail=TRACEBACK, box_restarted=True))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILED, Reason.USER_ERROR)


def test_a_bus_error_is_shared_memory_with_the_counter_as_evidence() -> None:
    verdict = judge(Ending(135, shm_bytes=GIB, memory=MemoryUse(0, 2 * GIB, 8 * GIB, GIB)))
    assert verdict.reason is Reason.SHARED_MEMORY_EXHAUSTED
    assert verdict.evidence == (
        "ended by SIGBUS (exit code 135)",
        "shared memory held at most 1 GiB of 1 GiB",
    )


def test_no_space_left_in_shared_memory_is_told_from_a_full_disk_by_the_counters() -> None:
    log = recorded("shm-errno")
    full_shm = MemoryUse(0, shmem_bytes=MIB)
    assert judge(Ending(1, tail=log, disk_free_bytes=GIB)).reason is Reason.DISK_FULL
    assert (
        judge(Ending(1, tail=log, disk_free_bytes=GIB, memory=full_shm, shm_bytes=MIB)).reason
        is Reason.SHARED_MEMORY_EXHAUSTED
    )


def test_a_bus_error_on_a_full_disk_is_the_disks() -> None:
    verdict = judge(Ending(135, shm_bytes=GIB, disk_free_bytes=0, memory=MemoryUse(0, shmem_bytes=0)))
    assert verdict.reason is Reason.DISK_FULL


def test_a_full_disk_is_shown_by_its_free_bytes() -> None:
    verdict = judge(Ending(1, tail=recorded("python-disk-full"), disk_free_bytes=0))
    assert verdict.evidence[-1] == "the disk with the job's folders has 0 B free"


# What Spud stopped


def test_what_spud_stopped_did_not_fail() -> None:
    verdict = judge(Ending(143, Reason.CANCELLED, "ada", tail=TRACEBACK, memory=MemoryUse(1)))
    assert (verdict.outcome, verdict.message) == (Outcome.CANCELLED, "cancelled by ada")


@pytest.mark.parametrize(
    ("exit_code", "how"),
    [
        (143, "ended by SIGTERM within the grace"),
        (137, "was killed, since it did not end within the grace after SIGTERM"),
        (0, "ended with exit code 0 within the grace after SIGTERM"),
    ],
)
def test_a_time_limit_says_how_the_job_took_it(exit_code: int, how: str) -> None:
    verdict = judge(Ending(exit_code, Reason.TIME_LIMIT, time_limit_s=5400))
    assert (verdict.outcome, verdict.message) == (
        Outcome.TIMED_OUT,
        f"reached its time limit of 1h30m and {how}",
    )
    assert "--time" in verdict.advice


# The job's own mistakes


@pytest.mark.parametrize(
    ("exit_code", "log", "advice"),
    [
        (1, "missing-module", "Add the package that has albumentations to requirements.txt"),
        (1, "file-not-found", "A job sees the folder of its script as /workspace"),
        (139, "segfault-faulthandler", "Run it with --env PYTHONFAULTHANDLER=1"),
        (1, "keras-fit-error", "Read the end of the log"),
    ],
)
def test_the_advice_fits_the_mistake(exit_code: int, log: str, advice: str) -> None:
    assert judge(Ending(exit_code, tail=recorded(log))).advice.startswith(advice)


def test_a_signal_is_called_by_its_name_and_its_place() -> None:
    verdict = judge(Ending(139, tail=recorded("segfault-faulthandler")))
    assert verdict.message == "ended by SIGSEGV (exit code 139)"
    assert verdict.evidence[0] == "Fatal Python error: Segmentation fault"
    assert verdict.evidence[1].startswith('File "')


def test_a_program_that_is_not_in_the_image_is_a_launch_error() -> None:
    line = "[FATAL tini (7)] exec trian failed: No such file or directory"
    verdict = judge(Ending(127, tail=[line]))
    assert verdict.reason is Reason.LAUNCH_ERROR
    assert "the program trian cannot be run" in verdict.message


def test_a_log_without_an_end_or_without_words_is_judged_too() -> None:
    for tail in ([], [""], TRACEBACK[:1], TRACEBACK[:3], ["\x00\x1b[", "\r\r"], ["Original Traceback"]):
        assert judge(Ending(1, tail=tail)).evidence


def test_every_verdict_without_a_container_has_evidence_and_advice() -> None:
    for verdict in (
        image_failed("no image x"),
        image_missing("x", ["base"]),
        launch_refused("no such device"),
        disk_full("/var/lib/spud"),
        container_removed(),
        box_restarted(),
    ):
        assert verdict.evidence
        assert verdict.advice.endswith(".")


# The documentation


def documented() -> dict[str, list[str]]:
    lines = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in rows}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_documented_with_proof_retry_and_advice(reason: Reason) -> None:
    _, outcome, proof, retried, advice = documented()[reason]
    assert outcome.strip("`") in set(Outcome)
    assert proof
    assert advice == ADVICE[reason]
    assert retried.startswith("yes") == (reason in RETRIED)
    assert (retried in {"never", "no"}) == (reason in NEVER_RETRIED)


def test_no_reason_is_documented_that_there_is_not() -> None:
    assert set(documented()) == set(Reason)


@pytest.mark.parametrize("piece", ["x", "/dev/shm ", "NCCL ", "error: ", "what(): ", "shared memory "])
def test_no_log_takes_long_to_judge(piece: str) -> None:
    # All threads wait for a pattern, so that a job's log could keep the scheduler from its work.
    text = piece * (64 * 1024 // len(piece))
    traceback = ["Traceback (most recent call last):", '  File "/workspace/a.py", line 1, in <module>']
    began = time.process_time()
    judge(Ending(exit_code=1, tail=[*traceback, f"RuntimeError: {text}"]))
    judge(Ending(exit_code=1, tail=[text]))
    assert time.process_time() - began < 2


def test_a_job_that_was_lost_while_it_was_stopped_ended_as_wished() -> None:
    verdict = told_to_stop(engine_died(), Reason.CANCELLED, "ada")
    assert (verdict.outcome, verdict.reason, verdict.message) == (
        Outcome.CANCELLED,
        Reason.CANCELLED,
        "cancelled by ada",
    )
    assert verdict.evidence == engine_died().evidence
    assert told_to_stop(box_restarted(255), Reason.TIME_LIMIT, None).outcome is Outcome.TIMED_OUT


def test_an_engine_without_gpu_support_is_told_as_such() -> None:
    refused = launch_refused('could not select device driver "" with capabilities: [[gpu]]')
    assert "install the NVIDIA Container Toolkit" in refused.advice
    assert "Correct what the engine refused" in launch_refused("no such device").advice
