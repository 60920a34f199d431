"""What becomes of a workload that somebody wants, from what the loop knows at this moment.

Pure, and cheap enough to be asked for every second by everybody who waits: nothing is planned for it. What stands in
the way is what the last pass of its Spark left alone, with the reason that it gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.demand import Outlook, State
from reconciler.draining import DRAINING
from reconciler.model import Container, Failure, Held, Instance, ProbeResult, Sight, Wish
from reconciler.on_demand import MAKING_ROOM, ON_DEMAND
from reconciler.progress import Account, remaining

# What ends by itself, without anybody's doing.
PASSING: Final = frozenset(
    {
        *(
            "Pulling",
            "Building",
            "CheckingFlags",
            "LookFirst",
            "Removing",
            "Restarting",
            "MemoryReturning",
            MAKING_ROOM,
        ),
        *(
            DRAINING,
            "GroupWaits",
            "GroupReplaced",
            "WaitingForWorkers",
            "WeightsUnknown",
            "WeightsWaiting",
            "WeightsFetching",
        ),
    }
)
# What a person has to change first.
FOR_PEOPLE: Final = frozenset(
    {
        *("Suspended", "Cordoned", "Drained", "RunNever", "NotDeclared", "NotLaunchable", "MemoryUnknown"),
        *("ImageMissing", "ImageDiffers", "RevisionDiffers", "NameTaken", "FabricMissing", "FlagRefused"),
    }
)
BEST: Final = (State.READY, State.STARTING, State.BLOCKED, State.FAILED, State.REFUSED, State.STOPPED)
WORST: Final = (State.REFUSED, State.FAILED, State.BLOCKED, State.STARTING, State.STOPPED, State.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One instance as the loop knows it. `total` is its Spark's memory without the reserve, None if not known."""

    instance: Instance
    sight: Sight
    container: Container | None = None
    probe: ProbeResult | None = None
    failure: Failure | None = None
    held: Held | None = None
    accounts: Mapping[str, Account] = field(default_factory=dict)  # by workload: what loads on its Spark
    past: Sequence[float] = ()
    stopping: bool = False
    draining: bool = False
    total: int | None = None


def outlook(standings: Sequence[Standing], wish: Wish, refused: Held | None, *, suspended: bool) -> Outlook:
    """Of a declared workload. `refused` says why it has no instances, where it has none."""
    if not standings:
        return _placeless(refused, wish)
    found = [_of(standing, wish, suspended=suspended) for standing in standings]
    if standings[0].instance.ranks == 1:
        return min(found, key=lambda each: BEST.index(each.state))
    if found[0].state is State.READY:  # a group answers by its head
        return found[0]
    return min((each for each in found if each.state is not State.READY), key=lambda each: WORST.index(each.state))


def _placeless(refused: Held | None, wish: Wish) -> Outlook:
    if refused is None:
        return Outlook(state=State.REFUSED, reason="RunNever", message="it is declared with run: never")
    if refused.reason in FOR_PEOPLE or refused.terminal:
        return _told(State.REFUSED, refused)
    return _told(State.BLOCKED if wish.wanted or refused.reason != ON_DEMAND else State.STOPPED, refused)


def _of(standing: Standing, wish: Wish, *, suspended: bool) -> Outlook:
    """One instance. What runs is judged by its answers, the rest by what keeps it from starting."""
    instance, sight = standing.instance, standing.sight
    wanted = wish.wanted or not instance.on_demand
    if sight.unknown:
        text = f"{instance.spark}: {sight.message}"
        return Outlook(state=State.BLOCKED, reason=sight.unknown, message=text)
    if standing.container is not None and standing.container.running:
        return _running(standing, standing.container, wanted=wanted)
    if suspended:
        text = f"{instance.workload} is suspended: nothing about it is changed"
        return Outlook(state=State.REFUSED, reason="Suspended", message=text)
    failure = standing.failure
    if failure is not None and failure.terminal:
        return Outlook(state=State.REFUSED, reason=failure.reason, message=failure.message)
    return _coming(standing) if wanted else _stopped(standing, wish)


def _running(standing: Standing, container: Container, *, wanted: bool) -> Outlook:
    instance, probe = standing.instance, standing.probe
    if standing.stopping:
        state = State.STARTING if wanted else State.STOPPED
        return Outlook(state=state, reason="Stopping", message=f"{instance.workload} is being stopped")
    if standing.draining:
        state = State.STARTING if wanted else State.STOPPED
        text = f"{instance.workload} is stopped as soon as its last requests are done"
        return Outlook(state=state, reason=DRAINING, message=text, eta=remaining(0.0, standing.past))
    if instance.probe.kind == "none":
        return Outlook(state=State.READY, reason="Running", message="its container runs (it declares no probe)")
    if probe is not None and probe.container != container.id and instance.ranks == 1:
        probe = None
    if probe is not None and probe.ready:
        return Outlook(state=State.READY, reason="Serving", message=probe.message)
    if probe is not None and probe.ready_at:
        return Outlook(state=State.STARTING, reason="NotAnswering", message=f"it does not answer: {probe.message}")
    account = standing.accounts.get(instance.workload)
    text = f"{instance.workload} {account.stage}" if account is not None else f"{instance.workload} starts"
    eta = account.remaining if account is not None else remaining(0.0, standing.past)
    return Outlook(state=State.STARTING, reason="Loading", message=text, eta=eta)


def _stopped(standing: Standing, wish: Wish) -> Outlook:
    reason = "GivesWay" if wish.turn else ON_DEMAND
    when = "when it is its turn" if wish.turn else "when it is asked for"
    text = f"{standing.instance.workload} starts {when}"
    return Outlook(state=State.STOPPED, reason=reason, message=text, eta=remaining(0.0, standing.past))


def _coming(standing: Standing) -> Outlook:
    """It is wanted and does not run: what the last look at its Spark left it alone for."""
    held, eta = standing.held, remaining(0.0, standing.past)
    if held is None or held.reason == ON_DEMAND:
        text = f"{standing.instance.workload} is asked for and about to start"
        return Outlook(state=State.STARTING, reason="Asked", message=text, eta=eta)
    if held.reason in PASSING and not held.terminal:
        return _told(State.STARTING, held, eta=eta)
    if held.terminal or held.approvable or held.reason in FOR_PEOPLE or _never_fits(standing, held):
        return _told(State.REFUSED, held)
    if held.until is not None:
        return _told(State.FAILED, held, eta=eta)
    return _told(State.BLOCKED, held, eta=_after(standing, held, eta))


def _never_fits(standing: Standing, held: Held) -> bool:
    room = standing.total
    return held.reason == "InsufficientMemory" and room is not None and standing.instance.memory > room


def _after(standing: Standing, held: Held, own: float | None) -> float | None:
    """Seconds for one that waits for another's start: until that is done, and then its own."""
    first = standing.accounts.get(held.blockers[0]) if held.reason == "WaitingTurn" and held.blockers else None
    if first is None or first.remaining is None or own is None:
        return None
    return first.remaining + own


def _told(state: State, held: Held, *, eta: float | None = None) -> Outlook:
    return Outlook(
        state=state, reason=held.reason, message=held.message, eta=eta, blockers=held.blockers, retry_at=held.until
    )
