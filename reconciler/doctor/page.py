"""Writes the table of checks into docs/DOCTOR.md: `python -m reconciler.doctor.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reconciler.doctor.checks import CHECKS

PAGE: Final = Path(__file__).parents[2] / "docs" / "DOCTOR.md"
LAST: Final = "## Every check\n"  # the table ends the page; what stands above it is written by hand


def table() -> str:
    """Every check in its order: what it asks, and why it matters."""
    rows = (f"| `{name}` | {check.asks} | {check.why} |" for name, check in CHECKS.items())
    return "\n".join((LAST, "| check | what it asks | why |", "|---|---|---|", *rows, ""))


if __name__ == "__main__":
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(LAST)
    PAGE.write_text(f"{above}{table()}", encoding="utf-8")
