"""A small data set, published on a web server of its own."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.datasets.dataset import DataFile, DataSet
from appliance.datasets.library import DatasetLibrary

CONTENTS = {"images": bytes(range(256)) * 8, "labels": b"0123456789"}


@dataclass(frozen=True)
class Published:
    """The folder with the files, and the library that knows them."""

    folder: Path
    library: DatasetLibrary


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    handler = partial(QuietHandler, directory=str(tmp_path / "published"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def published(tmp_path: Path, mirror: str) -> Published:
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    files = tuple(DataFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENTS.items())
    unreachable = "http://127.0.0.1:9/"  # nothing listens on the port of `discard`
    known = {"digits": DataSet("digits", "Digits", files, (unreachable, mirror))}
    return Published(folder, DatasetLibrary(tmp_path / "library", known))
