"""The texts that Docker and model servers are known to print when they fail, and their table for people.

Where two of them match at the same place, the earlier in this order is told.
"""

from __future__ import annotations

from typing import Final

from reconciler.signatures.docker import DOCKER
from reconciler.signatures.engine import ENGINE
from reconciler.signatures.group import GROUP
from reconciler.signatures.known import Signature, Weight
from reconciler.signatures.weights import WEIGHTS

__all__ = ["SIGNATURES", "Signature", "Weight", "table"]

CHAPTERS: Final = {
    "Docker, registries, the GPU": DOCKER,
    "The model's files": WEIGHTS,
    "The engine": ENGINE,
    "Groups": GROUP,
}
SIGNATURES: Final = tuple(signature for chapter in CHAPTERS.values() for signature in chapter)


def table() -> str:
    """The known failures as Markdown: what docs/FAILURES.md holds."""
    parts: list[str] = []
    for title, chapter in CHAPTERS.items():
        rows = [f"| `{s.reason}` | {s.message} | {s.advice} | {'no' if s.terminal else 'yes'} |" for s in chapter]
        head = ["| reason | what it means | what to do | tried again by itself |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {title}", "", *head, *rows]))
    return "\n\n".join(parts) + "\n"
