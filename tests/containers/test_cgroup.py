from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.containers.cgroup import (
    MemoryGroup,
    MemoryPoller,
    MemoryUse,
    MemoryWatch,
    container_id,
    container_of,
    memory_group,
    sampling_pause_s,
)

pytestmark = pytest.mark.unit

ID = "3f1c" * 16
OTHER = "ab09" * 16


@pytest.mark.parametrize(
    "text",
    [
        f"9:name=systemd:/docker/{ID}\n4:memory:/docker/{ID}\n0::/\n",
        f"4:memory:/system.slice/docker-{ID}.scope\n1:name=systemd:/system.slice/docker-{ID}.scope\n",
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/system.slice/docker-{ID}.scope/init.scope\n",
        f"0::/docker/{ID}\n",
        f"0::/../{ID}\n",
        f"4:memory:/docker/{OTHER}/docker/{ID}\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope\n",
        f"0::/machine.slice/libpod-{ID}.scope/container\n",
    ],
)
def test_the_container_is_read_from_every_layout_of_control_groups(text: str) -> None:
    assert container_id(text) == ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0::/user.slice/user-1000.slice/session-3.scope\n",
        "4:memory:/process_api/e010b31b8d1ccd74fef4beaf8405d4a4\n0::/\n",
        f"0::/system.slice/backup-of-{ID}ff.scope\n",
    ],
)
def test_processes_of_the_box_are_in_no_container(text: str) -> None:
    assert container_id(text) is None


def test_an_ended_process_is_in_no_container(tmp_path: Path) -> None:
    assert container_of(4242, proc=tmp_path) is None


def test_a_process_is_looked_up_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "4242").mkdir()
    (tmp_path / "4242" / "cgroup").write_text(f"0::/docker/{ID}\n")
    assert container_of(4242, proc=tmp_path) == ID


# Where the memory is counted

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2_MOUNTS = (
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
)


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "expected"),
    [
        (
            f"4:memory:/docker/{ID}\n0::/docker/{ID}\n",
            V1_MOUNTS,
            MemoryGroup(Path(f"/sys/fs/cgroup/memory/docker/{ID}"), is_v2=False),
        ),
        (
            f"9:cpuset,memory:/system.slice/docker-{ID}.scope\n",
            V1_MOUNTS.replace("rw,memory", "rw,cpuset,memory"),
            MemoryGroup(Path(f"/sys/fs/cgroup/memory/system.slice/docker-{ID}.scope"), is_v2=False),
        ),
        (
            f"0::/system.slice/docker-{ID}.scope\n",
            V2_MOUNTS,
            MemoryGroup(Path(f"/sys/fs/cgroup/system.slice/docker-{ID}.scope"), is_v2=True),
        ),
        (
            f"0::/docker/{OTHER}/docker/{ID}\n",
            V2_MOUNTS.replace(" / /sys", f" /docker/{OTHER} /sys"),
            MemoryGroup(Path(f"/sys/fs/cgroup/docker/{ID}"), is_v2=True),
        ),
        (
            f"0::/docker/{ID}\n",
            V2_MOUNTS.replace("/sys/fs/cgroup", "/mnt/c\\040groups"),
            MemoryGroup(Path(f"/mnt/c groups/docker/{ID}"), is_v2=True),
        ),
        (f"0::/../{ID}\n", V2_MOUNTS, None),
        (f"0::/docker/{ID}\n", V2_MOUNTS.replace(" / /sys", " /machine /sys"), None),
        (f"4:memory:/docker/{ID}\n", V2_MOUNTS, None),
        ("", V1_MOUNTS, None),
    ],
)
def test_the_memory_group_is_found_below_its_mount(
    cgroup: str, mountinfo: str, expected: MemoryGroup | None
) -> None:
    assert memory_group(cgroup, mountinfo) == expected


# The counters, in files such as the kernel shows. Those of v2 are after admin-guide/cgroup-v2.rst.


def write_group(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def write_v2(folder: Path, *, oom_kills: int = 0, current: int = 1000, shmem: int = 0) -> None:
    write_group(
        folder,
        memory__events=f"low 0\nhigh 0\nmax 7\noom 1\noom_kill {oom_kills}\noom_group_kill 0\n",
        memory__current=f"{current}\n",
        memory__max="4096\n",
        memory__stat=f"anon 300\nfile 40\nshmem {shmem}\n",
    )


def test_the_highest_counters_of_v2_are_kept(tmp_path: Path) -> None:
    write_v2(tmp_path, current=3000, shmem=2000)
    watch = MemoryWatch(MemoryGroup(tmp_path, is_v2=True))
    write_v2(tmp_path, oom_kills=1, current=200, shmem=0)
    watch.close()
    assert watch.use == MemoryUse(oom_kills=1, peak_bytes=3000, limit_bytes=4096, shmem_bytes=2000)


def test_the_kernels_own_peak_counts_where_it_keeps_one(tmp_path: Path) -> None:
    write_v2(tmp_path, current=200)
    write_group(tmp_path, memory__peak="4096\n", memory__max="max\n")
    watch = MemoryWatch(MemoryGroup(tmp_path, is_v2=True))
    assert watch.use == MemoryUse(oom_kills=0, peak_bytes=4096, limit_bytes=None, shmem_bytes=0)
    watch.close()


def test_counters_that_cannot_be_found_are_not_taken_for_zero(tmp_path: Path) -> None:
    for group in (None, MemoryGroup(tmp_path / "gone", is_v2=True), MemoryGroup(tmp_path, is_v2=False)):
        watch = MemoryWatch(group)
        watch.close()
        assert (watch.use, watch.is_over) == (None, True)


def test_samples_come_before_a_job_can_reach_its_limit() -> None:
    gib = 1024**3
    assert sampling_pause_s(0, 16 * gib, is_told=False) == 0.05
    assert sampling_pause_s(16 * gib - 200 * 1024**2, 16 * gib, is_told=False) < 0.03
    assert sampling_pause_s(16 * gib, 16 * gib, is_told=False) == 0.01
    assert sampling_pause_s(16 * gib, 16 * gib, is_told=True) == 0.05


def test_the_poller_samples_by_itself_until_the_watch_is_left(tmp_path: Path) -> None:
    write_v2(tmp_path / "cgroup" / "docker" / ID)
    write_group(tmp_path / "4242", cgroup=f"0::/docker/{ID}\n")
    write_group(tmp_path / "self", mountinfo=V2_MOUNTS.replace("/sys/fs", str(tmp_path)))
    with MemoryPoller(tmp_path).watch(4242) as watch:
        write_v2(tmp_path / "cgroup" / "docker" / ID, oom_kills=1)
        deadline = time.monotonic() + 5
        while not (watch.use and watch.use.oom_kills) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert watch.use == MemoryUse(1, 1000, 4096, 0)
    assert watch.is_over


def test_a_process_of_the_box_is_not_watched(tmp_path: Path) -> None:
    write_group(tmp_path / "4242", cgroup="0::/user.slice\n")
    write_group(tmp_path / "self", mountinfo=V2_MOUNTS.replace("/sys/fs", str(tmp_path)))
    write_v2(tmp_path / "cgroup" / "user.slice")
    for pid in (4242, 1, None):
        with MemoryPoller(tmp_path).watch(pid) as watch:
            assert watch.use is None
