"""Runs the collectors at each scrape and tells how each of them fared."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from appliance.errors import SpudError

logger = logging.getLogger(__name__)


class Collection(Collector):
    """Several collectors as one; a failing one loses its own metrics and no others."""

    def __init__(self, collectors: Mapping[str, Collector]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        """Yield what every collector yields, then success and duration of each."""
        success = GaugeMetricFamily(
            "spud_collector_success", "Whether the collector succeeded.", labels=["collector"]
        )
        duration = GaugeMetricFamily(
            "spud_collector_duration_seconds", "Time that the collector took.", labels=["collector"]
        )
        for name, collector in self._collectors.items():
            started_at = time.perf_counter()
            metrics = _collect(name, collector)
            success.add_metric([name], metrics is not None)
            duration.add_metric([name], time.perf_counter() - started_at)
            yield from metrics or ()
        yield success
        yield duration


def _collect(name: str, collector: Collector) -> list[Metric] | None:
    try:
        return list(collector.collect())
    except SpudError as error:
        logger.warning("Collector %s failed: %s", name, error)
    except Exception:
        logger.exception("Collector %s failed", name)
    return None
