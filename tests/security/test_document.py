"""docs/SECURITY.md names tests that are there, and every file of them."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "SECURITY.md"


def test_every_test_that_is_named_is_there() -> None:
    text = DOCUMENT.read_text()
    files = {path.name: path.read_text() for path in HERE.glob("test_*.py")}
    there = {name for source in files.values() for name in re.findall(r"def (test_\w+)", source)}
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", text))
    assert named <= there | set(files)
    for name in set(files) - {Path(__file__).name}:
        assert name in named or there & named & set(re.findall(r"def (test_\w+)", files[name])), name
