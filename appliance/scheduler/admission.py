"""Which jobs can never start on this box. Pure."""

from __future__ import annotations

from appliance.jobs.box import Box
from appliance.jobs.spec import JobSpec

_GIB = 1024**3


def refusal(spec: JobSpec, box: Box | None) -> str | None:
    """Return why the box can never run this job, or None when it can.

    A box that no scheduler has looked at yet refuses nothing.
    """
    if box is None:
        return None
    if spec.gpus > len(box.gpus):
        return _too_many_gpus(spec.gpus, box)
    if spec.cpus and spec.cpus > box.cpus:
        return f"The job asks for {spec.cpus:g} cores; this box has {box.cpus:g}. Ask for fewer with --cpus."
    if spec.memory and spec.memory > box.memory_bytes:
        return (
            f"The job asks for {spec.memory / _GIB:.1f} GiB of memory; this box has"
            f" {box.memory_bytes / _GIB:.1f} GiB. Ask for less with --memory."
        )
    return None


def _too_many_gpus(wanted: int, box: Box) -> str:
    if box.gpus:
        return f"The job asks for {wanted} GPUs; this box has {len(box.gpus)}. Ask for fewer with --gpus."
    why = f" ({box.gpu_error.rstrip('.')})" if box.gpu_error else ""
    return f"The job asks for a GPU and this box has none{why}. Leave --gpus out to train on the CPU."
