"""The Spark's clock against ours. Its answer came between our question and its end: that span is no error. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.finding import Finding

SMALL: Final = 5.0  # seconds
LARGE: Final = 300.0  # signed links of hubs last minutes
SYNC: Final = ("sudo timedatectl set-ntp true", "timedatectl timesync-status")


def judge(case: Case) -> Iterator[Finding]:
    """One."""
    text = (case.text("clock") or "").strip()
    if not text.isdecimal():
        yield unknown("clock", f"could not be asked: {case.said('clock') or 'no answer'}")
        return
    off = skew(int(text), case.sent_at, case.answered_at)
    if abs(off) < SMALL:
        yield ok("clock", "it agrees with ours")
        return
    told = f"its clock is {span(abs(off))} {'ahead of' if off > 0 else 'behind'} ours"
    word = fail if abs(off) >= LARGE else warn
    yield word("clock", f"{told} (or ours is wrong: `date` here tells)", *SYNC)


def skew(there: int, sent: float, answered: float) -> float:
    """Seconds that its clock is ahead, at least; 0 if it may be right. It tells whole seconds, cut off."""
    if there + 1 < sent:
        return there + 1 - sent
    return there - answered if there > answered else 0.0


def span(seconds: float) -> str:
    """For people."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
