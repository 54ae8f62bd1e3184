from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from appliance.metrics.collection import Collection
from tests.metrics.samples import Samples

pytestmark = pytest.mark.unit


class Working:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("spud_potatoes", "In the cellar.", 3)


class Failing:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("spud_carrots", "In the cellar.", 3)
        raise OSError("the cellar is flooded")


def test_a_failing_collector_spoils_no_other() -> None:
    samples = Samples(Collection({"failing": Failing(), "working": Working()}))
    assert samples.value("spud_potatoes") == 3
    assert samples.value("spud_carrots") is None
    assert samples.value("spud_collector_success", collector="failing") == 0
    assert samples.value("spud_collector_success", collector="working") == 1


def test_the_time_of_each_collector_is_told() -> None:
    duration_s = Samples(Collection({"working": Working()})).value("spud_collector_duration_seconds")
    assert duration_s is not None
    assert 0 <= duration_s < 1
