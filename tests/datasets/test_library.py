"""Data sets arrive complete and checked, or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from appliance.datasets.library import MANIFEST, MirrorsUnreachable
from appliance.errors import AccessDenied, Conflict, InvalidRequest, NotFound, Unavailable
from tests.datasets.conftest import CONTENTS, Published

pytestmark = pytest.mark.unit


def ignore(name: str, done_bytes: int, total_bytes: int | None) -> None:
    pass


def leftovers(published: Published) -> list[str]:
    return [path.name for path in published.library.directory.iterdir() if path.name != ".lock"]


def test_an_imported_data_set_is_listed_with_its_source(published: Published) -> None:
    published.library.import_folder("digits", published.folder, ignore)

    (stored,) = published.library.list()
    assert (stored.name, stored.title, stored.source) == ("digits", "Digits", str(published.folder))
    assert {file.name for file in stored.files} == {"images.gz", "labels.gz"}


def test_the_manifest_describes_the_files_as_they_lie(published: Published) -> None:
    stored = published.library.import_folder("digits", published.folder, ignore).dataset

    manifest = json.loads((stored.path / MANIFEST).read_text())
    assert manifest == stored.to_json()
    assert manifest["files"][0]["bytes"] == (stored.path / "images.gz").stat().st_size


def test_a_second_import_changes_nothing(published: Published) -> None:
    first = published.library.import_folder("digits", published.folder, ignore)
    second = published.library.import_folder("digits", published.folder, ignore)

    assert (first.is_new, second.is_new) == (True, False)
    assert first.dataset == second.dataset


def test_plain_files_are_as_good_as_compressed_ones(published: Published, tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)

    assert published.library.import_folder("digits", tmp_path, ignore).is_new


def test_every_user_can_read_what_was_imported(published: Published) -> None:
    stored = published.library.import_folder("digits", published.folder, ignore).dataset

    assert stored.path.stat().st_mode & 0o777 == 0o755
    assert (stored.path / "images.gz").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "content", [gzip.compress(b"9876543210"), gzip.compress(b"0123456789")[:-9], b"no gzip"]
)
def test_a_file_with_other_content_is_refused_and_nothing_remains(
    published: Published, content: bytes
) -> None:
    (published.folder / "labels.gz").write_bytes(content)

    with pytest.raises(InvalidRequest, match=r"labels\.gz is damaged or not the published file of Digits"):
        published.library.import_folder("digits", published.folder, ignore)
    assert leftovers(published) == []


def test_a_file_that_unpacks_without_end_is_read_only_so_far(published: Published) -> None:
    (published.folder / "labels.gz").write_bytes(gzip.compress(bytes(5_000_000)))

    with pytest.raises(InvalidRequest, match="not the published file"):
        published.library.import_folder("digits", published.folder, ignore)


def test_a_missing_file_is_named(published: Published) -> None:
    (published.folder / "labels.gz").unlink()

    with pytest.raises(InvalidRequest, match=r"holds no labels\.gz"):
        published.library.import_folder("digits", published.folder, ignore)


def test_an_unknown_name_is_refused_with_those_known(published: Published) -> None:
    with pytest.raises(InvalidRequest, match="Known are: digits"):
        published.library.fetch("cifar", ignore)


def test_a_folder_without_manifest_is_not_overwritten(published: Published) -> None:
    (published.library.directory / "digits").mkdir(parents=True)

    with pytest.raises(Conflict, match="Move it away"):
        published.library.import_folder("digits", published.folder, ignore)


def test_what_a_killed_import_left_behind_is_removed(published: Published) -> None:
    (published.library.directory / ".incoming-digits-1").mkdir(parents=True)

    published.library.import_folder("digits", published.folder, ignore)
    assert leftovers(published) == ["digits"]


def test_fetch_takes_the_next_mirror_when_one_is_out_of_reach(published: Published, mirror: str) -> None:
    addition = published.library.fetch("digits", ignore)

    assert addition.dataset.source == mirror
    assert gzip.decompress((addition.dataset.path / "labels.gz").read_bytes()) == CONTENTS["labels"]


def test_fetch_reports_bytes(published: Published) -> None:
    seen: list[tuple[str, int, int | None]] = []
    published.library.fetch("digits", lambda *state: seen.append(state))

    size = (published.folder / "labels.gz").stat().st_size
    assert ("labels.gz", size, size) in seen


def test_fetch_says_why_no_mirror_delivers(published: Published) -> None:
    (published.folder / "labels.gz").write_bytes(b"<html>Please log in</html>")

    with pytest.raises(
        MirrorsUnreachable, match=r"Connection refused.*labels\.gz is damaged.*spud data import"
    ):
        published.library.fetch("digits", ignore)
    assert leftovers(published) == []


@pytest.mark.parametrize("name", ["digits", "", ".", "..", "../library", "/etc", ".lock"])
def test_what_is_not_in_the_library_is_not_found(published: Published, name: str) -> None:
    with pytest.raises(NotFound, match="spud data list"):
        published.library.get(name)


def test_a_damaged_manifest_is_named_by_get_and_left_out_of_the_list(published: Published) -> None:
    stored = published.library.import_folder("digits", published.folder, ignore).dataset
    (stored.path / MANIFEST).write_text("{}")

    assert published.library.list() == ()
    with pytest.raises(Unavailable, match=r"manifest\.json is damaged"):
        published.library.get("digits")


def test_a_library_that_cannot_be_written_is_one_sentence(published: Published) -> None:
    published.library.directory.write_text("a file where the library should be")

    with pytest.raises(Unavailable, match="Run this as root"):
        published.library.import_folder("digits", published.folder, ignore)


def test_a_link_may_lead_to_the_folders_that_are_allowed_alone(published: Published, tmp_path: Path) -> None:
    library, disk = published.library, tmp_path / "disk"
    (disk / "faces").mkdir(parents=True)
    library.directory.mkdir(exist_ok=True)
    (library.directory / "faces").symlink_to(disk / "faces")
    (library.directory / "own").mkdir()
    assert library.folder("own", [library.directory]) == (library.directory / "own").resolve()
    assert library.folder("faces", [library.directory, disk]) == disk / "faces"
    with pytest.raises(AccessDenied, match="link_targets"):
        library.folder("faces", [library.directory])


@pytest.mark.parametrize("target", ["/etc", "/", ".", "..", "../.."])
def test_a_link_to_elsewhere_is_refused(published: Published, target: str) -> None:
    library = published.library
    library.directory.mkdir(exist_ok=True)
    (library.directory / "trap").symlink_to(target)
    with pytest.raises(AccessDenied):
        library.folder("trap", [library.directory])
