from __future__ import annotations

from pathlib import Path

import pytest

from appliance.containers.cgroup import MemoryUse
from appliance.containers.kernel_log import kills_of, seen_by_kernel

pytestmark = pytest.mark.unit

ID, OTHER = "3f1c" * 16, "ab09" * 16
MIB = 1024**2


def killed(group: str, constraint: str = "CONSTRAINT_MEMCG", limit: str = "65536") -> list[str]:
    """Return what Linux 6.18 logs of a kill in a group."""
    own = constraint == "CONSTRAINT_MEMCG"
    usage = [f"memory: usage {limit}kB, limit {limit}kB, failcnt 12"] if own else []
    victim = (
        f"nodemask=(null),cpuset={OTHER},mems_allowed=0,oom_memcg={group},task_memcg={group},task=python3"
    )
    return [
        "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        *usage,
        f"Memory cgroup stats for {group}:",
        "[   7767] 1900000001  7767    68974    16244    15008     1236         0   184320  0  0 python3",
        f"oom-kill:constraint={constraint},{victim},pid=7767,uid=1900000001",
        "Memory cgroup out of memory: Killed process 7767 (python3) total-vm:275896kB, anon-rss:60032kB",
    ]


@pytest.mark.parametrize("group", [f"/docker/{ID}", f"/system.slice/docker-{ID}.scope"])
def test_a_kill_is_found_by_the_containers_id(group: str) -> None:
    assert kills_of(ID, killed(group)) == MemoryUse(1, 64 * MIB, 64 * MIB)


def test_every_kill_of_the_container_counts_and_no_other(tmp_path: Path) -> None:
    messages = [
        *killed(f"/docker/{ID}"),
        *killed(f"/docker/{OTHER}", limit="4096"),
        *killed(f"/docker/{ID}"),
    ]
    assert kills_of(ID, messages) == MemoryUse(2, 64 * MIB, 64 * MIB)
    assert kills_of("0" * 64, messages) is None


def test_a_kill_for_lack_of_the_boxs_memory_has_no_limit() -> None:
    cut_off = killed(f"/docker/{OTHER}")[:2]
    messages = [*cut_off, *killed(f"/docker/{ID}", "CONSTRAINT_NONE")]
    assert kills_of(ID, messages) == MemoryUse(1)


def test_what_was_counted_stays_where_the_log_cannot_be_read(tmp_path: Path) -> None:
    counted = MemoryUse(0, 1000, 4096, 200)
    assert seen_by_kernel(counted, ID, tmp_path / "kmsg") == counted
    assert seen_by_kernel(None, ID, tmp_path / "kmsg") is None
