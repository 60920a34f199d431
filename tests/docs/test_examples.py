"""The examples of the OpenAPI document: a person who pastes one is understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.call_guide import document
from tests.docs.conftest import Stage

pytestmark = pytest.mark.xdist_group("docs")

NOT_UNDERSTOOD = {400, 405, 406, 415, 422}
DRY = {"params": {"dryRun": "true"}}  # calls without a dry run take no notice of it
DOCUMENT = document()
BODIES = [
    (method.upper(), path, kind, content["schema"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for kind, content in operation.get("requestBody", {}).get("content", {}).items()
]


def filled(path: str, method: str) -> str:
    for parameter in DOCUMENT["paths"][path][method.lower()].get("parameters", ()):
        if parameter["in"] == "path":
            schema = parameter["schema"]
            example = [*schema.get("examples", ()), *schema.get("enum", ())][0]
            path = path.replace(f"{{{parameter['name']}}}", str(example))
    return path


def given(schema: dict[str, Any]) -> list[Any]:
    """The examples of a body, or one made of those of its fields."""
    if "$ref" in schema and "examples" not in schema:
        return given(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    required = schema.get("required", ())
    own = {name: field["examples"][0] for name, field in schema.get("properties", {}).items() if name in required}
    return list(schema.get("examples", ())) or ([own] if own else [])


@pytest.mark.parametrize(("method", "path", "kind", "schema"), BODIES, ids=[f"{m} {p} {k}" for m, p, k, _ in BODIES])
def test_the_example_of_a_body_is_understood(
    method: str, path: str, kind: str, schema: dict[str, Any], stage: Stage
) -> None:
    stage.put_right()
    examples = given(schema)
    assert examples, "it has none"
    for example in examples:
        content = example if isinstance(example, str) else json.dumps(example)
        answer = stage.http.request(
            method, filled(path, method), content=content, headers={"content-type": kind}, timeout=60, **DRY
        )
        assert answer.status_code not in NOT_UNDERSTOOD, answer.text
        assert answer.status_code < 500, answer.text
    stage.put_right()
