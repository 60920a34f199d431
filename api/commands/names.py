"""Names that people type: what they stand for, or which ones they may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from api.output import fail


def one_of(status: dict[str, Any], name: str) -> str:
    """`workloads` or `sparks`: where this name stands. Ends the program if nowhere."""
    kind = next((kind for kind in ("workloads", "sparks") if name in status[kind]), None)
    if kind is not None:
        return kind
    names = sorted([*status["workloads"], *status["sparks"]])
    close = get_close_matches(name, names, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return fail(f"no workload or spark is named {name}{hint}\nthere are: {', '.join(names) or 'none yet'}")
