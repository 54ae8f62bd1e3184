"""Metrics in the form that assertions want."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


def samples_of(text: str) -> dict[str, list[dict[str, str]]]:
    """Return the label sets of every sample, by the sample's name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


class Samples:
    """What a collector exports at one scrape."""

    def __init__(self, collector: Collector) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self.text = generate_latest(registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the one sample with these labels among its own; None when there is none."""
        found = list(self._values(name, labels.items()))
        assert len(found) <= 1, f"{name}{labels} is exported {len(found)} times"
        return found[0] if found else None

    def _values(self, name: str, labels: Iterable[tuple[str, str]]) -> Iterable[float]:
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                if sample.name == name and set(labels) <= set(sample.labels.items()):
                    yield sample.value
