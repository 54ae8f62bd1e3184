from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import InvalidRequest
from appliance.jobs.requirements import Requirements, find_requirements, lines_of, read_requirements
from tests.factories import make_archive

pytestmark = pytest.mark.unit

Code = dict[str, str | bytes]


def find(code: Code, named: str | None = None) -> Requirements | None:
    def read(path: str) -> bytes | None:
        content = code.get(path)
        return content.encode() if isinstance(content, str) else content

    return find_requirements(read, named)


def found(code: Code, named: str | None = None) -> Requirements:
    requirements = find(code, named)
    assert requirements is not None
    return requirements


def hash_of(code: Code, snapshot: str = "a") -> str:
    return found(code).hash(snapshot)


def test_requirements_are_found_by_themselves() -> None:
    assert found({"requirements.txt": "numpy\n", "train.py": ""}).files == {"requirements.txt": "numpy\n"}


def test_requirements_file_wins_over_the_project() -> None:
    code: Code = {"requirements.txt": "numpy", "pyproject.toml": '[project]\ndependencies = ["scipy"]'}
    assert found(code).file == "requirements.txt"


def test_dependencies_of_the_project_are_taken() -> None:
    code: Code = {"pyproject.toml": '[project]\ndependencies = ["scipy>1", "attrs"]'}
    assert found(code).files == {"pyproject.dependencies.txt": "scipy>1\nattrs"}


@pytest.mark.parametrize(
    "code",
    [
        {},
        {"requirements.txt": "# nothing\n\n"},
        {"pyproject.toml": "[tool.ruff]\nline-length = 110"},
        {"lib/requirements.txt": "numpy"},
    ],
)
def test_code_that_asks_for_nothing_gets_nothing(code: Code) -> None:
    assert find(code) is None


def test_nothing_is_installed_when_so_asked() -> None:
    assert read_requirements(Path("never-read"), "") is None


def test_named_file_is_taken() -> None:
    assert found({"requirements.txt": "a", "gpu.txt": "b"}, "./gpu.txt").files == {"gpu.txt": "b"}


def test_included_files_belong_to_it() -> None:
    code: Code = {
        "requirements.txt": "-r lib/base.txt\n--constraint=pins.txt\n-r https://example.org/more.txt",
        "lib/base.txt": "-r ../extra.txt\nnumpy",
        "pins.txt": "numpy<3",
        "extra.txt": "-r requirements.txt\nattrs",
    }
    assert set(found(code).files) == {"requirements.txt", "lib/base.txt", "pins.txt", "extra.txt"}


def test_comments_and_blanks_change_nothing() -> None:
    assert hash_of({"requirements.txt": "numpy  # fast\n\n\nattrs\n"}) == hash_of(
        {"requirements.txt": "# mine\nnumpy\nattrs"}
    )


def test_an_included_file_changes_the_hash() -> None:
    one, other = (
        hash_of({"requirements.txt": "-r base.txt", "base.txt": text}) for text in ("numpy", "numpy<2")
    )
    assert one != other


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--editable=./lib",
        ".",
        "./lib[gpu]",
        "lib/thing",
        "wheels/a-1.0-py3-none-any.whl",
        "a-1.0.tar.gz ; python_version > '3'",
        "--find-links wheels",
    ],
)
def test_a_line_that_names_the_code_makes_it_a_part(line: str) -> None:
    code: Code = {"requirements.txt": f"numpy\n{line}\n"}
    assert found(code).needs_code
    assert hash_of(code, "a") != hash_of(code, "b")


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=1.2,<3 ; sys_platform == 'linux' and extra == 'a/b'",
        "-e git+https://example.org/a/b.git#egg=b",
        "b @ git+https://example.org/a/b.git@main",
        "b[x] @ https://example.org/b-1.0.tar.gz",
        "https://example.org/b-1.0.tar.gz",
        "--find-links https://example.org/wheels",
        "--index-url https://example.org/simple",
        "/opt/wheels/a-1.0-py3-none-any.whl",
        "name-in_the.way[a,b]==1.0 --hash=sha256:ab/cd",
    ],
)
def test_other_lines_leave_the_code_alone(line: str) -> None:
    code: Code = {"requirements.txt": line}
    assert not found(code).needs_code
    assert hash_of(code, "a") == hash_of(code, "b")


def test_continued_lines_are_joined() -> None:
    assert lines_of("numpy \\\n  --hash=sha256:ab \\\n  --hash=sha256:cd\n") == [
        "numpy --hash=sha256:ab --hash=sha256:cd"
    ]


def test_a_byte_order_mark_is_understood() -> None:
    assert lines_of(found({"requirements.txt": "numpy\n".encode("utf-16")}).files["requirements.txt"]) == [
        "numpy"
    ]


@pytest.mark.parametrize(
    ("code", "named", "sentence"),
    [
        ({}, "gpu.txt", r"the code has no file gpu\.txt"),
        ({"requirements.txt": "-r base.txt"}, None, r"includes base\.txt, which is not in the code"),
        ({"requirements.txt": "-r ../base.txt"}, None, "which is outside the code"),
        ({"requirements.txt": b"\xff\xfa\x80"}, None, "is not UTF-8"),
        ({"pyproject.toml": "[project"}, None, "pyproject.toml is not valid TOML"),
        ({"pyproject.toml": "[project]\ndependencies = 3"}, None, "must be a list of texts"),
        ({"pyproject.toml": '[project]\ndependencies = ["a\\n-e ."]'}, None, "more than one line"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(code: Code, named: str | None, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        find(code, named)


def test_an_endless_chain_of_files_is_refused() -> None:
    code: Code = {f"{number}.txt": f"-r {number + 1}.txt" for number in range(200)}
    with pytest.raises(InvalidRequest, match="more than 100 files"):
        find(code, "0.txt")


def test_the_archive_is_read(tmp_path: Path) -> None:
    archive = tmp_path / "code.tar.gz"
    archive.write_bytes(make_archive({"./requirements.txt": "numpy", "train.py": ""}).getvalue())
    requirements = read_requirements(archive, None)
    assert requirements is not None
    assert requirements.files == {"requirements.txt": "numpy"}


def test_a_large_file_is_no_list_of_packages(tmp_path: Path) -> None:
    archive = tmp_path / "code.tar.gz"
    archive.write_bytes(make_archive({"requirements.txt": b"#" * (1024**2 + 1)}).getvalue())
    with pytest.raises(InvalidRequest, match="larger than 1 MiB"):
        read_requirements(archive, None)
