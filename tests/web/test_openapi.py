"""The description of the API is complete, and docs/api.md tells of nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.box import bearer

pytestmark = pytest.mark.unit

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
def document(client: FlaskClient, bob: str) -> Any:
    return client.get("/api/v1/openapi.json", headers=bearer(bob)).json


def test_it_names_every_route_of_the_api(app: Flask, document: Any) -> None:
    routes = {
        (re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert told == routes


def test_every_answer_has_a_model_and_every_model_is_there(document: Any) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            success = next(code for code in operation["responses"] if code.startswith("2"))
            assert "content" in operation["responses"][success] or path.endswith("openapi.json")
            assert "4XX" in operation["responses"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert references <= set(document["components"]["schemas"])


def test_it_tells_how_to_submit(document: Any) -> None:
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "command" in body["application/json"]["schema"]["properties"]


def test_it_demands_a_token(document: Any) -> None:
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{"token": []}]


def test_the_guide_names_every_path_and_no_other(document: Any) -> None:
    named = {
        re.sub(r"\b(ID|PATH|NAME|UUID)\b", "{}", path)
        for path in re.findall(r"`\w+ (/api/v1/[^`? ]*)", GUIDE.read_text())
    }
    assert named == {re.sub(r"\{\w+\}", "{}", path) for path in document["paths"]}


def test_the_curl_examples_of_the_guide_meet_a_route(app: Flask) -> None:
    adapter = app.url_map.bind("localhost")
    examples = re.findall(r"^curl (.*)\$SPUD_URL(/\S*?)[\"'\s]", GUIDE.read_text(), re.MULTILINE)
    assert len(examples) >= 5
    for options, path in examples:
        method = re.search(r"-X (\w+)", options)
        adapter.match(path.split("?")[0], method[1] if method else "POST" if "-F" in options else "GET")
