"""What doctor finds: for each check what is wrong, why that matters, and the command that mends it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Verdict(StrEnum):
    """What came of a check. Unknown: it could not be asked, which says nothing of the Spark."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one Spark. `fix`: commands, to be typed on the Spark or `here`, where doctor runs."""

    check: str
    verdict: Verdict
    message: str
    why: str = ""
    fix: tuple[str, ...] = ()
    where: Literal["spark", "here"] = "spark"

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "check": self.check,
            "verdict": self.verdict.value,
            "message": self.message,
            "why": self.why,
            "fix": {"where": self.where, "commands": list(self.fix)} if self.fix else None,
        }
