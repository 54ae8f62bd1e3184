from __future__ import annotations

from pathlib import Path

import pytest

from appliance.containers.cgroup import container_id, container_of

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
