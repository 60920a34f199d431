"""`examples/desired.schema.json`: help for editors, generated from the one schema.

`python -m state.json_schema` writes it; a test fails while the committed file is not what this generates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from state.desired import Desired

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FILE: Final = Path(__file__).resolve().parent.parent / "examples" / "desired.schema.json"


def schema() -> dict[str, Any]:
    """The schema of desired.yaml."""
    generated = Desired.model_json_schema(by_alias=True, mode="validation")
    _tidy(generated)
    generated["title"] = "desired.yaml: the desired state of a fleet of Sparks"
    return {"$schema": DIALECT, **generated}


def _tidy(node: Any, *, named: bool = False) -> None:
    """Drop the titles made from field names, and refuse keys that fit no pattern, as the loader does.

    `named` marks a map of properties, whose keys are names and not words of JSON Schema.
    """
    if isinstance(node, list):
        for item in node:
            _tidy(item)
        return
    if not isinstance(node, dict):
        return
    if not named:
        if "properties" not in node:
            node.pop("title", None)
        if "patternProperties" in node:
            node["additionalProperties"] = False
    for key, child in node.items():
        if key not in {"default", "enum"} or named:
            _tidy(child, named=not named and key in {"properties", "$defs", "patternProperties"})


def text() -> str:
    """As it is committed."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
