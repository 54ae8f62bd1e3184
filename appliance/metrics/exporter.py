"""The exporter process: `/metrics` for Prometheus, `/api/gpus` for the page, `/healthz`."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import waitress
from prometheus_client import CollectorRegistry, Info, ProcessCollector, make_wsgi_app
from prometheus_client.registry import Collector

from appliance import __version__
from appliance.config import Settings, split_address
from appliance.errors import SpudError, Unavailable
from appliance.gpus.gpu import Gpu, GpuReading
from appliance.gpus.inventory import Inventory, Snapshot
from appliance.gpus.nvml import NvmlDriver
from appliance.metrics.collection import Collection
from appliance.metrics.gpu_collector import GpuCollector
from appliance.metrics.job_collector import JobCollector

logger = logging.getLogger(__name__)

_THREADS = 8


def create_exporter(settings: Settings) -> WSGIApplication:
    """Return the exporter as a WSGI application. It answers whether or not there is a driver or a store."""
    inventory = Inventory(NvmlDriver(settings.gpus.library))
    metrics = make_wsgi_app(_registry(settings, inventory))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            case "/api/gpus":
                body = json.dumps(describe(inventory.snapshot()))
                return _respond(start_response, "200 OK", "application/json", body)
            case "/healthz":
                return _respond(start_response, "200 OK", "text/plain", "ok\n")
        return _respond(start_response, "404 Not Found", "text/plain", "Metrics are at /metrics.\n")

    return application


def run(settings: Settings) -> None:
    """Serve until the process is ended. Raises Unavailable when the address cannot be used."""
    address = settings.exporter.listen
    host, port = split_address(address)
    try:
        server = waitress.create_server(create_exporter(settings), host=host, port=port, threads=_THREADS)
    except (OSError, ValueError) as error:
        raise _cannot_listen(address, error) from None
    logger.info("Served metrics at http://%s/metrics", address)
    server.run()


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot as the page reads it; null where a value is not reported."""
    driver = snapshot.driver
    return {
        "driver": {"version": driver.version, "error": driver.error, "simulated": driver.simulated},
        "gpus": [
            _describe_gpu(gpu, reading) for gpu, reading in zip(snapshot.gpus, snapshot.readings, strict=True)
        ],
        "collected_at": datetime.fromtimestamp(snapshot.collected_at, UTC).isoformat(timespec="milliseconds"),
    }


def _describe_gpu(gpu: Gpu, reading: GpuReading) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "simulated": gpu.simulated,
        "up": reading.up,
        "utilization_ratio": reading.utilization_ratio,
        "memory_used_bytes": reading.memory_used_bytes,
        "memory_total_bytes": reading.memory_total_bytes,
        "temperature_celsius": reading.temperature_celsius,
        "power_watts": reading.power_watts,
        "power_limit_watts": reading.power_limit_watts,
        "error": reading.error,
    }


def _registry(settings: Settings, inventory: Inventory) -> CollectorRegistry:
    registry = CollectorRegistry()
    collectors: dict[str, Collector] = {
        "gpu": GpuCollector(inventory),
        "job": JobCollector(settings.store.directory / "spud.db"),
    }
    registry.register(Collection(collectors))
    ProcessCollector(registry=registry)
    Info("spud_build", "The version of Spud; always 1.", registry=registry).info({"version": __version__})
    return registry


def _respond(start_response: StartResponse, status: str, kind: str, body: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), ("Cache-Control", "no-store")])
    return [body.encode()]


def _cannot_listen(address: str, error: OSError | ValueError) -> SpudError:
    taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    reason = "another program uses this port" if taken else str(error)
    return Unavailable(
        f"Cannot serve metrics on {address}: {reason}. "
        "Set another address as [exporter] listen in the settings or as SPUD_EXPORTER_LISTEN."
    )
