from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from appliance.config import Settings

pytestmark = pytest.mark.unit

CONFIG = Path(__file__).parents[2] / "monitoring" / "prometheus" / "prometheus.yml"


def test_prometheus_takes_the_configuration() -> None:
    subprocess.run(["promtool", "check", "config", str(CONFIG)], check=True, capture_output=True)


def test_it_reads_the_exporter_where_it_listens() -> None:
    (job,) = yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [Settings().exporter.listen]
