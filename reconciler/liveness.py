"""What the answers of one container's server say about it: is it starting, serving, busy, or dead? Pure.

Two questions take turns. The health page is asked often; a ready server that leaves three of them unanswered is
dead. The canary, a real request, is asked seldom, and only while the page answers; the first one makes a starting
server ready. A canary that is refused counts like an unanswered page. One that is only left waiting does not: a
saturated server is not dead. It counts once several in a row were left waiting for their whole long time, and
none of the server's own counters rose meanwhile. Nothing here ends a start early: that is `start_timeout`'s matter,
and it counts anew while those counters rise, since a server that sparkkeep finds saturated has long started.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from reconciler.hosts import Answer
from reconciler.model import ProbeResult, ProbeSpec, Value
from reconciler.probe import has_canary

FIRST: Final = 0.1  # seconds after a start until the first question
SLOWEST: Final = 2.0  # seconds between questions to one that is still starting
GROWTH: Final = 1.5
RETRY: Final = 1.0  # seconds between pages to a ready one that just failed to answer
CANARY_RETRY: Final = 5.0  # seconds between canaries to a ready one whose last was refused or left waiting
CANARY_SLOWEST: Final = 10.0  # seconds between canaries to one that is still starting


@dataclass(frozen=True, slots=True, kw_only=True)
class Life(Value):
    """What is known of one start of one container. Pauses in seconds; times are Unix seconds."""

    result: ProbeResult
    answers: bool = False  # the last page did
    proven: bool = False  # the last canary was good; always so for kinds that have none
    hushed: int = 0  # canaries in a row that were left waiting
    hushed_since: float = 0.0
    done: float | None = None  # the server's own count of its work, when a canary was last left waiting
    pause: float = FIRST  # until the next page
    canary_pause: float = 0.0  # until the next canary


def begin(spec: ProbeSpec, known: ProbeResult) -> Life:
    """A container that is asked from now on. `known`: what is remembered of it, if it was asked before."""
    pause = 0.0 if known.ready_at else FIRST
    return Life(result=known, proven=known.ready or not has_canary(spec), pause=pause)


def page(life: Life, spec: ProbeSpec, answer: Answer, now: float) -> Life:
    """The health page was asked for."""
    before = life.result
    if not answer.ready:
        known = min(RETRY, spec.interval) if before.ready_at else min(max(life.pause, FIRST) * GROWTH, SLOWEST)
        result = _failed(before, answer.message, now)
        return replace(life, result=result, answers=False, pause=max(known, answer.retry_after))
    if life.proven:
        kept = before.message if before.ready and has_canary(spec) else answer.message
        return replace(life, result=_ready(before, kept, now), answers=True, pause=spec.interval)
    result = before
    if not life.answers and not before.ready_at:
        result = replace(
            before, failing_since=before.failing_since or now, message=f"{answer.message}; its canary comes next"
        )
    return replace(life, result=result, answers=True, pause=spec.interval)


def canary(life: Life, spec: ProbeSpec, answer: Answer, done: float | None, now: float) -> Life:
    """The canary was asked. `done`: the server's count of its work, asked for when the canary was left waiting."""
    if answer.ready:
        result = _ready(life.result, answer.message, now)
        return replace(life, result=result, proven=True, hushed=0, canary_pause=spec.canary_interval)
    if not life.result.ready_at:
        pause = min(max(life.canary_pause, RETRY) * GROWTH, CANARY_SLOWEST)
        result = _failed(life.result, answer.message, now)
        if answer.busy and _works(life, done):
            result = replace(result, failing_since=now, message=_busy(answer))
        count = life.done if done is None else done
        return replace(life, result=result, done=count, canary_pause=max(pause, answer.retry_after))
    if answer.busy:
        return _hushed(life, spec, answer, done, now)
    result = _failed(life.result, answer.message, now)
    return replace(life, result=result, proven=False, hushed=0, canary_pause=CANARY_RETRY)


def _hushed(life: Life, spec: ProbeSpec, answer: Answer, done: float | None, now: float) -> Life:
    if _works(life, done):
        result = replace(life.result, message=_busy(answer))
        return replace(life, result=result, hushed=0, done=done, canary_pause=spec.canary_interval)
    since = life.hushed_since if life.hushed else now
    hushed = life.hushed + 1
    result = replace(life.result, message=f"{answer.message} ({hushed} in a row; its health page answers)")
    patience = (spec.canary_failures - 1) * spec.canary_timeout
    dead = hushed >= spec.canary_failures and now - since >= patience
    if dead:
        result = replace(
            _failed(result, result.message, now), failing_since=since, failures=max(spec.failures, result.failures + 1)
        )
    return replace(
        life,
        result=result,
        proven=life.proven and not dead,
        hushed=hushed,
        hushed_since=since,
        done=life.done if done is None else done,
        canary_pause=max(CANARY_RETRY, answer.retry_after),
    )


def _works(life: Life, done: float | None) -> bool:
    return done is not None and life.done is not None and done > life.done


def _busy(answer: Answer) -> str:
    return f"busy: {answer.message}, but it works on other requests"


def _ready(before: ProbeResult, message: str, now: float) -> ProbeResult:
    return replace(
        before, ready=True, ready_at=before.ready_at or now, failing_since=0.0, failures=0, message=message
    )  # fmt: skip


def _failed(before: ProbeResult, message: str, now: float) -> ProbeResult:
    since = before.failing_since or now
    return replace(before, ready=False, failing_since=since, failures=before.failures + 1, message=message)
