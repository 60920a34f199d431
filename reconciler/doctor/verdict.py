"""All findings on one Spark, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reconciler.doctor import clock, docker, gpu, neighbours, network, room, session, way
from reconciler.doctor.case import Case
from reconciler.doctor.checks import CHECKS, unknown
from reconciler.doctor.finding import Finding, Verdict

FAMILIES: Final = (session.judge, docker.judge, gpu.judge, room.judge, clock.judge, network.judge, neighbours.judge)


def judge(case: Case) -> tuple[Finding, ...]:
    """Every check once, in the order of `CHECKS`."""
    found = {each.check: each for each in _all(case)}
    return tuple(found[name] for name in CHECKS)


def _all(case: Case) -> Iterator[Finding]:
    yield from way.judge(case)
    if case.told is not None:
        for family in FAMILIES:
            yield from family(case)
        return
    told = {each.check: each for each in session.judge(case)} if case.broken and case.broken.stage == "shell" else {}
    for name in CHECKS:
        if name not in way.STEPS:
            shell = told.get(name) if name == "shell" else None
            yield shell or unknown(name, "was not reached: see above")


def healthy(findings: tuple[Finding, ...]) -> bool:
    """Nothing fails."""
    return all(each.verdict is not Verdict.FAIL for each in findings)


def reachable(findings: tuple[Finding, ...]) -> bool:
    """It can be logged in to, and runs commands."""
    return all(each.verdict is Verdict.OK for each in findings if each.check in way.STEPS) and not any(
        each.check == "shell" and each.verdict is Verdict.FAIL for each in findings
    )
