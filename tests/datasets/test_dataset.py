"""What Spud knows of the published data sets."""

from __future__ import annotations

import pytest

from appliance.benchmarks import rnn
from appliance.datasets.dataset import KNOWN

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", KNOWN)
def test_the_benchmark_recognises_what_the_library_holds(name: str) -> None:
    assert tuple(file.name for file in KNOWN[name].files) == rnn.FILES
    assert tuple(file.sha256 for file in KNOWN[name].files) == rnn.SHA256[name]
    assert KNOWN[name].title == rnn.TITLES[name]


@pytest.mark.parametrize("name", KNOWN)
def test_every_hash_is_a_sha256(name: str) -> None:
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in KNOWN[name].files)
