"""docs/DESIRED.md says what the schema says."""

from __future__ import annotations

from state.field_guide import FILE, PARTS, text
from state.json_schema import schema


def test_the_committed_page_is_the_generated_one() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run `make schema`"


def test_every_part_of_the_schema_has_its_place_and_every_field_its_sentence() -> None:
    found = schema()["$defs"]
    assert set(found) - set(PARTS) == {"JsonValue", "SecretRef"}
    silent = [
        f"{part}.{name}"
        for part in PARTS
        for name, spec in found[part]["properties"].items()
        if not spec.get("description")
    ]
    assert silent == []
