"""Valid desired states to spoil: the example that ships, the one of the README, and two with what those leave out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ODDS: Final = """\
# Everything that the others leave out.
apiVersion: sparkkeep/v1
sparks:
  spark-1: {host: h, reserve: 8GiB}
  spark-2: &two
    host: h
models:
  big:
    across: [spark-1, spark-2]
    recipe: {engine: vllm, model: acme/tiny, image: 'vllm/vllm-openai:v0.32.0', memory: 3GiB, port: 8123, probe: none}
    run: never
services: {
  "quoted": {recipe: {image: "python:3.13-slim", port: 18080, memory: 64MiB, probe: none, env: {A: "1", B: 1.10}},
             on: [spark-1, spark-2], description: two of them},
  folded: {
    recipe: {image: python:3.13-slim, port: 18081, memory: 64MiB, command: [python, -c, 'import time; time.sleep(9)'],
             stopTimeout: 5s, probe: {kind: http, path: /}},
    on: spark-2, suspend: false},
}
guards: {maxDestructive: 3}
"""
ANCHORS: Final = """\
sparks: {spark-1: {host: h}, spark-2: {host: h}}
services:
  one: &one
    recipe: &image
      image: python:3.13-slim
      port: 18080
      memory: 64MiB
      probe: none
    on: spark-1
  two: {<<: *one, on: spark-2}
  three:
    recipe: {<<: *image, port: 18082}
    on: [spark-1, spark-2]
    description: >-
      folded over
      two lines
"""


def corpus() -> dict[str, str]:
    """By name."""
    readme = re.search(r"```yaml\n(apiVersion.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert readme is not None
    return {
        "example": (ROOT / "examples" / "desired.yaml").read_text(),
        "readme": readme[1],
        "odds": ODDS,
        "anchors": ANCHORS,
    }
