"""The schema that editors get, and that nothing in it is unbounded."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from state.declared import Declared
from state.desired import Desired
from state.fields import WORDS
from state.json_schema import FILE, schema, text
from state.yaml_read import read

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_file_is_the_generated_one():
    assert FILE == ROOT / "examples" / "desired.schema.json"
    assert FILE.read_text(encoding="utf-8") == text(), "run: python -m state.json_schema"


def validator():
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


SAMPLE = """
apiVersion: sparkkeep/v1
sparks:
  spark-1: {host: 192.168.1.11, user: nvidia, reserve: 4GiB}
  spark-2: {host: spark-2.local}
models:
  qwen3-coder:
    recipe: qwen3-coder-next-int4
    on: spark-1
    run: always
    aliases: [gpt-4o-mini]
    flags: {max-model-len: 65536, speculative-config: {method: mtp}}
  minimax: {recipe: minimax, across: [spark-1, spark-2], run: on-demand, idle: 20m, priority: 5}
services:
  echo:
    on: [spark-1, spark-2]
    recipe:
      image: example/echo:1
      command: [serve, --port, "8080"]
      env: {A: "1", B: 2, C: 0.5, T: {secret: hf}}
      mounts: [{source: $HOME/data, target: /data, readOnly: true}]
      port: 8080
      memory: 512MiB
      probe: {kind: http, path: /health}
settings: {scanInterval: 30s}
guards: {unreachableFreeze: 0.5}
"""


def test_a_sample_is_valid():
    validator().validate(read(SAMPLE, "f").plain())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("run: always", "run: sometimes"),
        ("priority: 5", "priority: 5000"),
        ("  spark-2:", "  Spark_2:"),
        ("reserve: 4GiB", "resrve: 4GiB"),
        ("recipe: minimax,", ""),
        ("idle: 20m", "idle: soon"),
        ("C: 0.5", "C: true"),
        ("B: 2", "B!: 2"),
    ],
)
def test_mistakes_are_seen_by_the_editor_too(old, new):
    assert old in SAMPLE
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(read(SAMPLE.replace(old, new), "f").plain())


def nodes(node, path=()):
    """Every schema inside a schema, with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            if key in {"properties", "$defs", "patternProperties"}:
                for name, inner in child.items():
                    yield from nodes(inner, (*path, key, name))
            elif key in {"items", "additionalProperties"}:
                yield from nodes(child, (*path, key))
            elif key in {"anyOf", "oneOf", "allOf"}:
                for index, inner in enumerate(child):
                    yield from nodes(inner, (*path, key, index))


def test_every_string_list_map_and_number_is_bounded():
    seen = 0
    for path, node in nodes(schema()):
        kind = node.get("type")
        seen += kind is not None
        if kind == "string":
            assert "maxLength" in node or "enum" in node or "const" in node, path
        elif kind == "array":
            assert "maxItems" in node, path
            assert "items" in node, path
        elif kind in {"integer", "number"}:
            assert "minimum" in node, path
            assert "maximum" in node, path
        elif kind == "object":
            assert node["additionalProperties"] is False, path
            assert "properties" in node or "maxProperties" in node, path
            if "patternProperties" in node:
                assert "maxLength" in node["propertyNames"], path
    assert seen > 100


def test_only_the_values_of_flags_are_free_and_they_are_bounded_by_hand():
    free = {path[-3] for path, node in nodes(schema()) if node.get("$ref") == "#/$defs/JsonValue"}
    assert free == {"flags"}


def test_every_pattern_has_words():
    inputs = {r"^\d{1,18}(\.\d{1,6})?\s*[A-Za-z]{0,3}$", r"^(\d{1,9}(\.\d{1,6})?(ms|s|m|h|d)?){1,8}$"}
    for path, node in nodes(schema()):
        for pattern in [node.get("pattern"), *node.get("patternProperties", {})]:
            if pattern is not None and pattern not in inputs:
                assert pattern in WORDS, path
            assert pattern is None or (pattern[0] == "^" and pattern[-1] == "$"), path
    assert all(re.compile(pattern) for pattern in WORDS)


def test_every_field_has_its_help_and_no_pydantic_titles():
    for path, node in nodes(schema()):
        for name, field in node.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, (*path, name)
            assert "title" not in field, (*path, name)
    for model in all_models(Declared):
        for name, field in model.model_fields.items():
            assert field.description, (model.__name__, name)


def all_models(model):
    for child in model.__subclasses__():
        if child.__module__.startswith("state."):
            yield child
            yield from all_models(child)


def test_the_loader_accepts_what_the_schema_gives_as_defaults():
    for _, node in nodes(schema()):
        assert node.get("default") is None or json.dumps(node["default"])
    assert Desired.model_validate({}).model_dump(exclude_defaults=True) == {}
