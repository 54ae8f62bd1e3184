"""What the queue lets happen, on a real store; what is planned is asserted in test_placement.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.jobs.box import Box, Image
from appliance.jobs.job import Request, Share
from appliance.scheduler.queue import Queue
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.factories import make_gpu, make_spec

pytestmark = pytest.mark.unit


class NoImages:
    """A box on which every image is still to be made."""

    def resolve(self, request: Request, local: Mapping[str, Image]) -> str | None:
        return None


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(load_settings(None, {"SPUD_STORE_DIRECTORY": str(tmp_path)}))


def test_jobs_that_have_their_image_and_wait_for_a_card_keep_no_other_from_its_image(
    storage: Storage,
) -> None:
    ada = storage.users.add("ada", Role.USER)
    box = Box(gpus=(make_gpu(0),), cpus=4.0)
    queue = Queue(storage, NoImages(), depth=100)
    jobs = [storage.jobs.add(make_spec(gpus=1), ada, None, None) for _ in range(12)]
    busy = storage.jobs.add(make_spec(gpus=1), ada, None, None)
    assert storage.lifecycle.start(busy.id, [Share("GPU-0")], "boot", "sha256:1")
    begun = []
    for most in (8, 4, 0):
        requests = queue.next(storage.jobs.active(), box).without_image
        assert len(requests) == most
        for request in requests:
            begun.append(request.job_id)
            attempt = storage.lifecycle.begin_image(request.job_id, "boot", "its image is made")
            assert attempt
            storage.lifecycle.record_image(attempt, "sha256:2")
    assert begun == [job.id for job in jobs]
