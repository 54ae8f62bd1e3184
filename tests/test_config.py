from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import Settings, load_settings
from appliance.errors import ConfigError

pytestmark = pytest.mark.unit


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[web]\nlisten = "127.0.0.1:1"')
    assert load_settings(path, {"SPUD_WEB_LISTEN": "127.0.0.1:2"}).web.listen == "127.0.0.1:2"


def test_a_missing_default_file_means_defaults(tmp_path: Path) -> None:
    assert load_settings(None, {}) == Settings()


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(None, {"SPUD_CONFIG": str(tmp_path / "absent.toml")})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[web]\nlisen = "x"', 'Unknown key "lisen" in .web. of .*Did you mean "listen"'),
        ("[wep]", r'Unknown section \[wep\] in .*Did you mean "web"'),
        ("web = 1", "must be a section with keys"),
        ("[web", "is not valid TOML"),
        ('[web]\nlisten = "8600"', r"\[web\] listen in .* must be HOST:PORT"),
        ("[jobs]\npids = 0", r"\[jobs\] pids in .* is 0, but should be more than 0"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_settings(write(tmp_path, text), {})


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SPUD_JOBS_PIDS is 'many'"):
        load_settings(write(tmp_path, ""), {"SPUD_JOBS_PIDS": "many"})


def test_every_setting_and_its_variable_is_documented() -> None:
    text = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    for section, field in Settings.model_fields.items():
        for key, setting in type(field.default).model_fields.items():
            row = f"| `[{section}] {key}` | `SPUD_{section.upper()}_{key.upper()}` |"
            assert row in text
            assert str(setting.description) in text
