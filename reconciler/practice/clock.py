"""Time and identity for a practice Spark: both come from outside, so that a run can be repeated exactly."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

BILLION: Final = 1_000_000_000
NEVER: Final = "0001-01-01T00:00:00Z"  # how Docker writes "not yet"


class Clock:
    """The wall clock a Spark shows, and the loop's own for everything that waits.

    `wall` gives Unix seconds; a simulation passes one that follows its virtual loop.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._last = 0

    def wall(self) -> float:
        """Unix seconds."""
        return self._wall()

    def nanos(self) -> int:
        """Unix nanoseconds, never the same twice: two events of one instant keep their order."""
        self._last = max(self._last + 1, round(self._wall() * BILLION))
        return self._last

    @staticmethod
    def monotonic() -> float:
        """The loop's clock, for intervals."""
        return asyncio.get_running_loop().time()


class Ids:
    """Hex ids that look like Docker's and are the same in every run with the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def hex(self) -> str:
        """64 hex digits, a new one each time."""
        self._count += 1
        return digest(f"{self._seed}/{self._count}")

    def uuid(self) -> str:
        """A boot id."""
        text = self.hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def digest(text: str) -> str:
    """64 hex digits for a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4096)  # every look at a container shows the same moments again
def rfc3339(nanos: int) -> str:
    """Go's RFC3339Nano: UTC, as many decimals as it takes; 0 is Docker's zero time."""
    if nanos == 0:
        return NEVER
    seconds, rest = divmod(nanos, BILLION)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{decimals}Z"


def since_to_nanos(text: str, now: float) -> int | None:
    """A `since`/`until`: Unix seconds with a fraction, RFC 3339, or a duration before now. None if it is neither."""
    if match := re.fullmatch(r"(\d+)(?:\.(\d{1,9}))?", text):
        return int(match[1]) * BILLION + int((match[2] or "0").ljust(9, "0"))
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text):
        scale = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]
        return round((now - float(match[1]) * scale) * BILLION)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * BILLION)


def ago(seconds: float) -> str:
    """go-units' HumanDuration: what `docker ps` says after `Up`."""
    if seconds < 1:
        return "Less than a second"
    steps = (("second", 1, 60), ("minute", 60, 60), ("hour", 3600, 48), ("day", 86400, 14), ("week", 604800, 8))
    for word, size, most in steps:
        count = int(seconds // size)
        if count < most:
            return _counted(count, word)
    return f"{int(seconds // 2592000)} months"


def _counted(count: int, word: str) -> str:
    if count == 1:
        return {"second": "1 second", "minute": "About a minute", "hour": "About an hour"}.get(word, f"1 {word}")
    return f"{count} {word}s"
