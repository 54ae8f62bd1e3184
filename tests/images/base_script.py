"""The base image's script as a module; it lies outside of any package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "images/base/build.py"


def load_base_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("base_build", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
