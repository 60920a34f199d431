"""What deep health finds: one line for each question, and the report that they make. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from reconciler.model import Held, Instance
from reconciler.verdict import HEALTHY, MISSING, PROGRESSING, SUSPENDED, UNKNOWN, Verdict

Kind = Literal["workload", "spark", "sparkkeep"]
Outcome = Literal["ok", "warning", "failed", "skipped"]
SHOWN: Final = 3  # findings that an event names


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question and what came of it. `milliseconds`: how long the answer took, where one was waited for."""

    kind: Kind
    name: str
    check: str
    outcome: Outcome
    message: str
    spark: str = ""
    milliseconds: float | None = None

    def __str__(self) -> str:
        where = f" on {self.spark}" if self.spark and self.spark != self.name else ""
        return f"{self.name}{where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run. `healthy`: nothing failed."""

    at: float
    seconds: float
    by: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What failed."""
        return tuple(finding for finding in self.findings if finding.outcome == "failed")

    @property
    def healthy(self) -> bool:
        """Nothing failed."""
        return not self.failed

    def __str__(self) -> str:
        count = len(self.findings)
        asked = sum(finding.outcome != "skipped" for finding in self.findings)
        if self.healthy:
            return f"all is well: {asked} of {count} checks were made in {self.seconds:.1f} s, and none failed"
        told = "; ".join(map(str, self.failed[:SHOWN]))
        more = len(self.failed) - SHOWN
        return f"{len(self.failed)} of {asked} checks failed: {told}{f'; and {more} more' if more > 0 else ''}"


def unasked(instance: Instance, verdict: Verdict) -> Finding | None:
    """The finding on an instance that is not asked anything; None for one that is to be asked."""
    found = _unasked(instance, verdict)
    if found is None:
        return None
    return Finding(
        kind="workload",
        name=instance.workload,
        spark=instance.spark,
        check="canary",
        outcome=found[0],
        message=found[1],
    )


def _unasked(instance: Instance, verdict: Verdict) -> tuple[Outcome, str] | None:
    running = verdict.container is not None and verdict.container.state == "running"
    if verdict.health == SUSPENDED:
        return "skipped", verdict.health_message
    if verdict.health == UNKNOWN:
        return "failed", verdict.health_message
    if instance.on_demand and not running:
        return "skipped", "it starts on demand, and is not started for this"
    if not running:
        on_its_way = verdict.health == PROGRESSING
        return ("warning" if on_its_way else "failed"), verdict.health_message
    if instance.probe.kind == "none":
        return "ok", "its container runs; it declares nothing to ask it"
    return None


def answered(instance: Instance, verdict: Verdict, *, ready: bool, busy: bool, message: str, took: float) -> Finding:
    """The finding on one that was asked. Busy is no failure of what served a moment ago, nor of what still loads."""
    passing = (busy and verdict.health == HEALTHY) or verdict.health == PROGRESSING
    return Finding(
        kind="workload",
        name=instance.workload,
        spark=instance.spark,
        check="canary",
        outcome="ok" if ready else "warning" if passing else "failed",
        message=message,
        milliseconds=round(1000 * took, 1),
    )


def unplaced(name: str, held: Iterable[Held]) -> Finding:
    """The finding on a workload that should run and has no place."""
    why = next((each for each in held if each.workload == name), None)
    message = why.message if why else f"it has no place yet ({MISSING})"
    drained = why is not None and why.reason == "Drained"
    return Finding(
        kind="workload", name=name, check="canary", outcome="skipped" if drained else "failed", message=message
    )
