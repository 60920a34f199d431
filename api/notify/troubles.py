"""What is wrong now, as people should hear of it: read off the status. Pure.

Of each subject (a workload, a Spark, the plan, ...) a look says that it is in trouble and why, or that nobody can tell,
or else that it is well. Nobody can tell of a workload that is loading, or whose Spark does not answer: what was told of
it stays open meanwhile, and nothing new is told. So a model that fails, loads and fails again is one trouble and not
many, and Sparks that are gone do not take a message for each of their workloads along.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.settle import ON_THE_WAY
from reconciler.findings import Report
from reconciler.verdict import HEALTHY, OUT_OF_SYNC, PROGRESSING, SUSPENDED, UNKNOWN
from state.follow import Checkout
from state.notifications import Topic

Json = Mapping[str, Any]
Key = tuple[str, str]  # subject, reason
NOT_YET: Final = "NotYetSeen"
OTHERS_KEEP_IT: Final = frozenset({"LeaseHeld", "LeaseUnavailable"})
AT_LEAST: Final = 2  # Sparks that are gone at once, to be one message
PASSING: Final = frozenset({"Busy", "PushRaced"})  # what ends by itself between a repository and its remote

_TOPICS: Final[dict[str, Topic]] = {
    "NotServing": "workload",
    "Stalled": "workload",
    "SparkUnknown": "spark",
    "MostSparksUnknown": "spark",
    "LeaseNotOurs": "lease",
    "WaitsForApproval": "approval",
    "Invalid": "desired",
    "DeepHealthFailed": "health",
}


def topic_of(reason: str) -> Topic:
    """What a trouble with this reason is about; what is not named here is git's own word."""
    return _TOPICS.get(reason, "git")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong: in a few words, in a sentence, and what a person could do."""

    subject: str
    reason: str
    title: str
    message: str
    advice: str

    @property
    def key(self) -> Key:
        """What there is one episode of at a time."""
        return self.subject, self.reason

    @property
    def topic(self) -> Topic:
        """What it is about."""
        return topic_of(self.reason)


@dataclass(frozen=True, slots=True)
class Look:
    """All that is wrong now, and the subjects of which nobody can tell."""

    troubles: Mapping[Key, Trouble]
    unsure: frozenset[str] = frozenset()

    def is_well(self, subject: str) -> bool:
        """Nothing is wrong with it, and that is known."""
        return subject not in self.unsure and all(subject != troubled for troubled, _ in self.troubles)


Told = Iterator[Trouble | str]  # a trouble, or a subject of which nobody can tell


def look(
    status: Json, *, withheld: Collection[str], checkout: Checkout | None, remote: bool, report: Report | None
) -> Look:
    """One look. `withheld`: the workloads of which something waits for approval; `remote`: whether there is one."""
    found: list[Trouble | str] = []
    for part in (
        _sparks(status["sparks"]),
        _workloads(status["workloads"], withheld),
        _plan(status),
        _desired(status),
        _git(checkout, remote=remote),
        _health(report),
    ):
        found += part
    troubles = {each.key: each for each in found if isinstance(each, Trouble)}
    return Look(troubles, frozenset(each for each in found if isinstance(each, str)))


def _workloads(workloads: Json, withheld: Collection[str]) -> Told:
    for name, each in workloads.items():
        if each["kind"] == "removed":
            continue
        conditions = {condition["type"]: condition for condition in each["conditions"]}
        reason, subject = conditions["Ready"]["reason"], f"workload/{name}"
        advice = f"sparkkeep why {name}"
        if each["health"] in {HEALTHY, SUSPENDED} or reason == "OnDemand":
            stalled = conditions["Stalled"]["status"] == "True" and each["sync"] == OUT_OF_SYNC
            if stalled and name not in withheld:
                message = conditions["Synced"]["message"]
                yield Trouble(
                    subject=subject,
                    reason="Stalled",
                    title=f"{name} can't become as declared",
                    message=f"What runs is not what is declared, and it waits for you: {message}",
                    advice=advice,
                )
        elif each["health"] in {PROGRESSING, UNKNOWN} or reason in ON_THE_WAY or reason.startswith("Lease"):
            yield subject
        else:
            yield Trouble(
                subject=subject,
                reason="NotServing",
                title=f"{name} does not serve",
                message=each["message"],
                advice=advice,
            )


def _sparks(sparks: Json) -> Told:
    gone = [name for name, each in sparks.items() if not each["reachable"] and each["reason"] != NOT_YET]
    most = len(gone) >= AT_LEAST and 2 * len(gone) > len(sparks)
    if most:
        yield Trouble(
            subject="fleet",
            reason="MostSparksUnknown",
            title=f"{len(gone)} of {len(sparks)} Sparks do not answer",
            message=f"Gone are {', '.join(gone[:8])}{', ...' if len(gone) > 8 else ''}. "  # noqa: PLR2004
            f"Of {gone[0]}: {sparks[gone[0]]['message']}. Nothing on them is touched",
            advice="so many at once are rarely broken: look at this machine's network and theirs; sparkkeep get sparks",
        )
    for name, each in sparks.items():
        subject = f"spark/{name}"
        if not each["reachable"]:
            if most or each["reason"] == NOT_YET:
                yield subject
            else:
                yield Trouble(
                    subject=subject,
                    reason="SparkUnknown",
                    title=f"{name} does not answer",
                    message=f"{each['message']}. Nothing on it is touched until it is back",
                    advice=f"sparkkeep describe {name}",
                )
        elif (lease := each["lease"]) is not None and not lease["ours"]:
            if lease["reason"] not in OTHERS_KEEP_IT:
                yield subject
                continue
            yield Trouble(
                subject=subject,
                reason="LeaseNotOurs",
                title=f"{name} is not ours to keep",
                message=f"{lease['message']}. This sparkkeep only looks at it",
                advice=f"sparkkeep describe {name}",
            )


def _plan(status: Json) -> Told:
    if count := status["plan"]["withheld"]:
        yield Trouble(
            subject="plan",
            reason="WaitsForApproval",
            title="A plan waits for your approval",
            message=f"A guard keeps back {count} step{'s' if count > 1 else ''} that would stop or remove containers",
            advice="sparkkeep plan shows them, sparkkeep apply approves them",
        )
    elif any(each["reason"] == NOT_YET for each in status["sparks"].values()):
        yield "plan"


def _desired(status: Json) -> Told:
    if problems := status["problems"]:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        yield Trouble(
            subject="desired",
            reason="Invalid",
            title="The desired state is invalid",
            message=f"{problems[0]['text']}{more}. {status['revision']} stays in force",
            advice="put it right and save it; sparkkeep validate names every problem",
        )


def _git(checkout: Checkout | None, *, remote: bool) -> Told:
    if checkout is None:
        return
    if checkout.problem:
        yield Trouble(
            subject="git",
            reason="GitFailed",
            title="git can't be asked about the desired state",
            message=checkout.problem,
            advice="changes by the API are refused until that is mended; sparkkeep history",
        )
    elif checkout.remote is None:
        if remote:
            yield "git"
    elif checkout.remote.reason in PASSING:
        yield "git"
    elif not checkout.remote.good:
        yield Trouble(
            subject="git",
            reason=checkout.remote.reason,
            title=f"The desired state and its remote: {checkout.remote.reason}",
            message=checkout.remote.message,
            advice="sparkkeep history shows what is here; docs/GITOPS.md says how each case is solved",
        )


def _health(report: Report | None) -> Told:
    if report is None:
        yield "sparkkeep"
    elif not report.healthy:
        yield Trouble(
            subject="sparkkeep",
            reason="DeepHealthFailed",
            title="Deep health found faults",
            message=str(report),
            advice="sparkkeep health --deep looks again and shows all of it",
        )
