"""Short ways to the values that many tests arrange."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Attempt, Job, JobState, Request
from appliance.jobs.spec import JobSpec, parse_spec


def make_spec(**values: object) -> JobSpec:
    return parse_spec({"command": ["python3", "train.py"], **values})


def make_job(job_id: int = 1, **values: object) -> Job:
    """Return a pending job; the values are those of its spec."""
    return Job(
        id=job_id,
        owner="ada",
        owner_id=1,
        spec=make_spec(**values),
        snapshot=None,
        git_commit=None,
        git_diff=None,
        requirements_hash=None,
        state=JobState.PENDING,
        waiting_for=None,
        stop_reason=None,
        verdict=None,
        image_digest=None,
        submitted_at=0.0,
        started_at=None,
        finished_at=None,
        cancel_requested_by=None,
        retry_requested_by=None,
        not_before=0.0,
    )


def make_request(job_id: int = 1, priority: int = 0, **values: object) -> Request:
    """Return what waits for a place; the values are those of the job's spec."""
    spec = make_spec(**values)
    return Request(
        job_id=job_id,
        priority=priority,
        gpus=spec.gpus,
        gpu_memory_bytes=spec.gpu_memory,
        gpu_model=spec.gpu_model,
        cpus=spec.cpus,
        time_s=spec.time,
        image=spec.image,
        image_digest=None,
        requirements_hash=None,
        waiting_for=None,
        attempt_id=None,
    )


def make_attempt(job_id: int = 1, number: int = 1, **values: object) -> Attempt:
    """Return an open attempt that has its place."""
    facts: dict[str, object] = {
        "id": number,
        "job_id": job_id,
        "number": number,
        "token": f"token-{job_id}-{number}",
        "gpu_uuids": (),
        "boot_id": "boot",
        "created_at": 0.0,
        "placed_at": 0.0,
        "start_asked_at": None,
        "released_at": None,
        "started_at": None,
        "finished_at": None,
        "image_digest": "sha256:1",
        "verdict": None,
    }
    return Attempt(**{**facts, **values})  # type: ignore[arg-type]


def make_gpu(index: int) -> Gpu:
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA GeForce GTX 1070 Ti",
        memory_total_bytes=8 * 1024**3,
        pci_bus_id=f"00000000:0{index}:00.0",
        compute_capability="6.1",
        simulated=True,
    )


def make_archive(files: Mapping[str, str | bytes] | None = None, *members: tarfile.TarInfo) -> io.BytesIO:
    """Return a .tar.gz with files of these contents, then with bare members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in (files or {}).items():
            content = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    buffer.seek(0)
    return buffer


def make_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member
