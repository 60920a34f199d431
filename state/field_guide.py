"""`docs/DESIRED.md`: every field of desired.yaml for people to read, generated from the one schema.

`python -m state.field_guide` writes it; a test fails while the committed page is not what this generates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from state.json_schema import schema

FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "DESIRED.md"
PARTS: Final = {
    "Spark": "A Spark (`sparks: {NAME: …}`)",
    "Workload": "A workload (`models: {NAME: …}` and `services: {NAME: …}`)",
    "Recipe": "A recipe (`recipe: …`, or an entry of `models.yaml`)",
    "Build": "An image that is built (`build: …`)",
    "Mount": "A mount (`mounts: [ … ]`)",
    "PublishedPort": "A published port (`ports: [ … ]`)",
    "Probe": "A probe (`probe: …`)",
    "Pooling": "Vectors and rerank scores (`pooling: …`)",
    "Guards": "Guards (`guards: …`)",
    "Settings": "Settings (`settings: …`)",
    "RegistryLogin": "A login (`settings: {registries: {REGISTRY: …}}`)",
    "Notification": "A notification (`settings: {notifications: [ … ]}`)",
    "AppKey": "An app's key (`settings: {proxy: {keys: [ … ]}}`)",
    "Proxy": "The address for apps (`settings: {proxy: …}`)",
    "Queue": "Requests that wait (`settings: {queue: …}`)",
    "Redaction": "The redaction gateway (`settings: {redaction: …}`)",
    "CloudTarget": "A service outside (`settings: {redaction: {targets: [ … ]}}`)",
    "Detection": "What is private (`settings: {redaction: {detection: …}}`)",
    "Recognizer": "What only this house has (`settings: {redaction: {detection: {recognizers: [ … ]}}}`)",
}
INTRO: Final = """# desired.yaml

What should run where: one file, or a folder of them merged. `sparkkeep validate` checks it, `sparkkeep plan --file`
says what it would do. [examples/desired.yaml](../examples/desired.yaml) is one to start from, and
[examples/desired.schema.json](../examples/desired.schema.json) teaches your editor. Durations are written `30s`, `20m`
or `1h30m`, sizes `512MiB` or `92GiB`. Each setting with where it is used stands in [SETTINGS.md](SETTINGS.md), messages
to people in [NOTIFICATIONS.md](NOTIFICATIONS.md). This page is generated from the schema (`make schema`).
"""


def text() -> str:
    """The page."""
    found = schema()["$defs"]
    parts = [INTRO]
    for name, title in PARTS.items():
        about = found[name].get("description", "").strip()
        parts += [f"\n## {title}\n", about, "", "| field | default | what it says |", "|---|---|---|"]
        parts += [_row(field, spec) for field, spec in found[name]["properties"].items()]
    return "\n".join(parts) + "\n"


def _row(field: str, spec: dict[str, Any]) -> str:
    words = spec.get("enum") or next((option["enum"] for option in spec.get("anyOf", ()) if "enum" in option), ())
    choice = f" One of {', '.join(f'`{word}`' for word in words)}." if words else ""
    about = " ".join(spec.get("description", "").split())
    return f"| `{field}` | {_default(spec)} | {about}{choice} |".replace("||", "| |")


def _default(spec: dict[str, Any]) -> str:
    if "default" not in spec and "$ref" not in spec:
        return "(required)"
    value = spec.get("default")
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
