"""A real image registry (Debian's docker-registry) on a loopback port: engines ask no certificate there."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

import yaml

from tests.system.running_box import free_port, until


class Registry:
    """A registry in a folder; the engine must be on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"localhost:{free_port()}"
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.address.replace("localhost", "127.0.0.1")},
        }
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        self._log = folder / "registry.log"
        with self._log.open("wb") as log:
            command = ["docker-registry", "serve", str(folder / "config.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "the registry answers")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def push(self, image: str, name: str) -> str:
        """Push a local image under a name, forget it locally, return the digest that the registry gave it."""
        reference = f"{self.address}/{name}"
        for words in (("tag", image, reference), ("push", "--quiet", reference)):
            subprocess.run(["docker", *words], check=True, capture_output=True)
        found = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", reference]
        digest = subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(["docker", "rmi", reference, image], check=True, capture_output=True)
        return digest.partition("@")[2]

    def pulls(self, path: str) -> int:
        """Return how often a manifest has been fetched."""
        lines = self._log.read_text().splitlines()
        return sum(f'"GET /v2/{path}/manifests/' in line and '" 200 ' in line for line in lines)

    def newest_layer(self) -> Path:
        """Return where the layer is kept that was pushed last, by its content."""
        layers = self._folder.rglob("blobs/sha256/*/*/data")
        return max((path for path in layers if is_large(path)), key=lambda path: path.stat().st_mtime)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.address}/v2/", timeout=2).close()
        except OSError:
            return False
        return True


def is_large(path: Path) -> bool:
    return path.stat().st_size > 1024**2
