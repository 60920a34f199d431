"""Writes the table of known failures into docs/FAILURES.md: `python -m reconciler.signatures.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reconciler.signatures import table

PAGE: Final = Path(__file__).parents[2] / "docs" / "FAILURES.md"
FIRST: Final = "## "  # the table begins at the first chapter; what stands above it is written by hand

if __name__ == "__main__":
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(f"\n{FIRST}")
    PAGE.write_text(f"{above}\n{table()}", encoding="utf-8")
