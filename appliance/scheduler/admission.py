"""Which jobs can never start on this box. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.gpus.gpu import Gpu
from appliance.jobs.box import Box
from appliance.jobs.spec import JobSpec

_GIB = 1024**3


def refusal(spec: JobSpec, box: Box | None) -> str | None:
    """Return why the box can never run this job, or None when it can.

    A box that no scheduler has looked at yet refuses nothing. Cards that are lost or not given away at
    present count, since they may come back.
    """
    if box is None:
        return None
    if spec.gpus and (why := _gpu_refusal(spec, box)):
        return why
    if spec.cpus and spec.cpus > box.cpus:
        return f"The job asks for {spec.cpus:g} cores; this box has {box.cpus:g}. Ask for fewer with --cpus."
    if spec.memory and spec.memory > box.memory_bytes:
        return (
            f"The job asks for {spec.memory / _GIB:.1f} GiB of memory; this box has"
            f" {box.memory_bytes / _GIB:.1f} GiB. Ask for less with --memory."
        )
    return None


def _gpu_refusal(spec: JobSpec, box: Box) -> str | None:
    if not box.gpus:
        why = f" ({box.gpu_error.rstrip('.')})" if box.gpu_error else ""
        return f"The job asks for a GPU and this box has none{why}. Leave --gpus out to train on the CPU."
    if spec.gpus > len(box.gpus):
        return (
            f"The job asks for {_gpus(spec.gpus)}; this box has {len(box.gpus)}. Ask for fewer with --gpus."
        )
    of_model = [gpu for gpu in box.gpus if not spec.gpu_model or gpu.is_model(spec.gpu_model)]
    if spec.gpus > len(of_model):
        return (
            f"The job asks for {_gpus(spec.gpus)} of model {spec.gpu_model}; this box has {_names(box.gpus)}."
            " Ask for one of these with --gpu-model."
        )
    large = [gpu for gpu in of_model if (spec.gpu_memory or 0) <= gpu.memory_usable_bytes]
    if spec.gpu_memory and spec.gpus > len(large):
        most = sorted((gpu.memory_usable_bytes for gpu in of_model), reverse=True)[spec.gpus - 1]
        on = "a GPU" if spec.gpus == 1 else f"each of {spec.gpus} GPUs"
        return (
            f"The job asks for {spec.gpu_memory / _GIB:.1f} GiB of the memory of {on}; this box has"
            f" {_floor(most)} GiB there. Ask for less with --gpu-memory."
        )
    return None


def _gpus(count: int) -> str:
    return "a GPU" if count == 1 else f"{count} GPUs"


def _names(gpus: Sequence[Gpu]) -> str:
    names = [gpu.name for gpu in gpus]
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))


def _floor(size_bytes: int) -> str:
    """Return GiB with one decimal, never more than there are: who asks for as much must get it."""
    return f"{int(size_bytes * 10 / _GIB) / 10:.1f}"
