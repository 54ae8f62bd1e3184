"""The jobs of the store as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from appliance.database import Database
from appliance.jobs.store import JobStore


class JobCollector:
    """Metrics of the jobs in a database, which need not be there yet."""

    def __init__(self, database: Path) -> None:
        self._path = database

    def collect(self) -> Iterator[Metric]:
        """Yield the jobs by state and who holds which GPU. Raises Unavailable when there is no database."""
        jobs = GaugeMetricFamily("spud_jobs", "Jobs in each state.", labels=["state"])
        for state, count in self._store.count_by_state().items():
            jobs.add_metric([state], count)
        yield jobs
        gpu_job = GaugeMetricFamily(
            "spud_gpu_job", "The job that holds the GPU; always 1.", labels=["uuid", "job_id"]
        )
        for reservation in self._store.reservations():
            gpu_job.add_metric([reservation.gpu_uuid, str(reservation.job_id)], 1)
        yield gpu_job

    @cached_property
    def _store(self) -> JobStore:
        return JobStore(Database(self._path))
