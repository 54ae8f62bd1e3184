from __future__ import annotations

import pytest

from appliance.config import EngineSettings, GpusSettings
from appliance.containers.docker_engine import DockerEngine

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("name", ["spud/missing:latest", "spud/a/b:1:latest", "A B", "a@sha256:1"])
def test_a_name_that_names_no_image_is_not_the_engine_s_failure(name: str) -> None:
    """An engine that failed is asked again for ever; a job with such a name must end instead."""
    assert DockerEngine(EngineSettings(), GpusSettings(), "store").find_image(name) is None
