"""The data sets that Spud knows: their files, hashes and where they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class DataFile:
    """A published file; `bytes` and `sha256` are of its unpacked content, whoever compressed it."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that can be recognised by its hashes; every mirror holds `<file>.gz` for all files."""

    name: str
    title: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it lies in the library; `bytes` and `sha256` are of the file itself, .gz or not."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredDataSet:
    """A data set in the library, as its manifest.json describes it."""

    name: str
    title: str
    files: tuple[StoredFile, ...]
    source: str
    """The folder or the mirror it came from."""
    imported_at: str
    """RFC 3339, UTC."""
    path: Path = field(compare=False)

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the content of manifest.json."""
        return {
            "name": self.name,
            "title": self.title,
            "files": [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in self.files],
            "source": self.source,
            "imported_at": self.imported_at,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path) -> StoredDataSet:
        """Read the content of manifest.json; raises KeyError or TypeError when something is missing."""
        files = tuple(StoredFile(f["name"], f["bytes"], f["sha256"]) for f in values["files"])
        return cls(values["name"], values["title"], files, values["source"], values["imported_at"], path)


def _idx_files(hashes: tuple[str, str, str, str]) -> tuple[DataFile, ...]:
    # IDX: a header of 16 bytes for images and 8 for labels, then one byte per pixel or label.
    named = (
        ("train-images-idx3-ubyte", 16 + 60_000 * 28 * 28),
        ("train-labels-idx1-ubyte", 8 + 60_000),
        ("t10k-images-idx3-ubyte", 16 + 10_000 * 28 * 28),
        ("t10k-labels-idx1-ubyte", 8 + 10_000),
    )
    return tuple(DataFile(name, size, sha) for (name, size), sha in zip(named, hashes, strict=True))


MNIST = DataSet(
    "mnist",
    "MNIST",
    # Unpacked files. Published so by several projects that also give the SHA-256 of the compressed files
    # (440fcabf... for train-images), which is the one in TensorFlow Datasets' url_checksums/mnist.txt.
    _idx_files(
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        )
    ),
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)

FASHION_MNIST = DataSet(
    "fashion-mnist",
    "Fashion-MNIST",
    # Unpacked files of Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9.
    _idx_files(
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        )
    ),
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
)

KNOWN: Mapping[str, DataSet] = MappingProxyType({known.name: known for known in (MNIST, FASHION_MNIST)})
