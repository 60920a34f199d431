"""YAML as people read it: no anchors, nothing that some reader would take for something else."""

from __future__ import annotations

import json
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Quotes words that some reader of YAML would take for something else; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text.lower() in {"on", "off", "yes", "no", "y", "n"} else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(data: Any) -> str:
    """The data, without the line end at its end."""
    plain = json.loads(json.dumps(data))  # numbers and words only, whatever class they had
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
