"""What the loop tells the journal: every change that a person may ask about, each with its reason.

Repeats are collapsed by the journal; here only changes are told, so that a quiet fleet writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from reconciler.access import waits_for
from reconciler.act import Report, Result
from reconciler.draining import DRAINING
from reconciler.lease import Lease
from reconciler.model import Failure, Held, Instance, Key, Plan, Sight, Step, Verb
from reconciler.rolling import ROLLING
from reconciler.target import Overrides
from state.desired import Settings
from state.journal import Event, Journal, Kind, Override
from state.problems import Problem
from state.store import Revision

# Reasons that are news to nobody: they come with every step of that kind, or a person has just asked for them.
QUIET_REASONS = frozenset(
    {
        *(
            "OnDemand",
            "WaitingTurn",
            "Pulling",
            "Building",
            "Removing",
            "Restarting",
            "Suspended",
            "Cordoned",
            "Drained",
        ),
        *("LeaseNotTaken", "LeaseBusy", "LeaseHeld", "LeaseUnavailable"),  # told once, of the Spark
        *("MemoryReturning", "MakingRoom", ROLLING),
        *("CheckingFlags", "LookFirst", "GroupWaits", "GroupReplaced", "WaitingForWorkers"),
        *("WeightsUnknown", "WeightsWaiting", "WeightsFetching", "WeightsCancelled"),
    }
)
PAST = {
    Verb.PULL: "Pulled",
    Verb.BUILD: "Built",
    Verb.ASK: "ImageAsked",
    Verb.MKDIR: "FoldersMade",
    Verb.DELIVER: "ModDelivered",
    Verb.FREE: "PageCacheDropped",
    Verb.CREATE: "Created",
    Verb.START: "Started",
    Verb.RESTART: "Restarted",
    Verb.UPDATE: "Updated",
    Verb.UNPAUSE: "Unpaused",
    Verb.STOP: "Stopped",
    Verb.REMOVE: "Removed",
}
OUTCOMES: Final[dict[Result, Literal["ok", "failed", "unknown"]]] = {
    Result.DONE: "ok",
    Result.FAILED: "failed",
    Result.NOT_DONE: "failed",
    Result.UNKNOWN: "unknown",
}
SAID: Final = {
    Override.SUSPEND: ("Suspended", "Resumed"),
    Override.CORDON: ("Cordoned", "Uncordoned"),
    Override.DRAIN: ("Draining", "DrainEnded"),
}


class History:
    """Writes events, actions and connectivity. Remembers only what it told last, to tell changes apart."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._told: dict[tuple[str, str], str] = {}  # workload, Spark -> reason
        self._revision = ""
        self._keep_events = Settings().keep_events
        self._problems: tuple[Problem, ...] = ()

    def started(self, instance: Instance, seconds: float, peak: int) -> None:
        """A model answers for the first time since its start."""
        self.journal.record_start(
            workload=instance.workload, spark=instance.spark, spec_hash=instance.spec_hash, seconds=seconds, peak=peak
        )

    def past(self, key: Key) -> tuple[float, ...]:
        """How long earlier starts of a workload on a Spark took, in seconds, oldest first."""
        return tuple(start.seconds for start in self.journal.starts(*key))

    def peaks(self) -> dict[Key, tuple[str, int]]:
        """The most memory that starts of each workload on each Spark took: the spec's hash, and bytes."""
        return self.journal.peaks()

    def declared(self, current: Revision, problems: tuple[Problem, ...]) -> None:
        """A new desired state is in force, or what lies in its files can't be."""
        kept = current.loaded.desired.settings.keep_events
        if kept != self._keep_events:
            self.journal.keep_events(kept)
            self._keep_events = kept
        if current.revision != self._revision:
            self._revision = current.revision
            text = f"{current.revision}, generation {current.generation}, is in force"
            self._about_desired("Normal", "DesiredChanged", text)
        if problems and problems != self._problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            self._about_desired("Warning", "DesiredInvalid", f"{problems[0]}{more}; {current.revision} stays in force")
        elif self._problems and not problems:
            self._about_desired("Normal", "DesiredValid", "the desired state is valid again")
        self._problems = problems

    def _about_desired(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.journal.record(Event(kind=Kind.DESIRED, name="desired", type=kind, reason=reason, message=message))

    def _about_spark(self, kind: Literal["Normal", "Warning"], spark: str, reason: str, message: str) -> None:
        self.journal.record(Event(kind=Kind.SPARK, name=spark, spark=spark, type=kind, reason=reason, message=message))

    def _about(self, kind: Literal["Normal", "Warning"], workload: str, spark: str, reason: str, message: str) -> None:
        self.journal.record(
            Event(kind=Kind.WORKLOAD, name=workload, spark=spark, type=kind, reason=reason, message=message)
        )

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark answers, or does not, or has booted."""
        if after.unknown:
            if before.unknown != after.unknown:
                self._about_spark("Warning", spark, after.unknown, after.message)
                self.journal.note_connectivity(spark, "unknown", after.unknown, after.message)
            return
        if before.unknown:
            self._about_spark("Normal", spark, "SparkReachable", f"{spark} answers")
            self.journal.note_connectivity(spark, "reachable", message=f"{spark} answers")
        if before.scan and after.scan and before.scan.facts.boot_id != after.scan.facts.boot_id:
            self._about_spark("Warning", spark, "SparkRebooted", f"{spark} has booted since it was last seen")

    def leased(self, spark: str, before: Lease, after: Lease) -> None:
        """Somebody else keeps a Spark, or no longer does; taking what is free is news to nobody."""
        if after.reason == before.reason:
            return
        if before.ours and not after.ours and after.message:
            self._about_spark("Warning", spark, "LeaseLost", after.told())
        elif after.reason in {"LeaseHeld", "LeaseUnavailable"}:
            self._about_spark("Warning", spark, after.reason, after.told())
        elif after.ours and before.reason == "LeaseHeld":
            self._about_spark("Normal", spark, "LeaseTaken", f"it is kept by this sparkkeep now (token {after.token})")

    def begun(self, step: Step, revision: str) -> int:
        """A step is about to run; its command holds no secret."""
        return self.journal.begin_action(
            revision=revision,
            spark=step.spark,
            workload=step.workload,
            verb=str(step.verb),
            command=step.command,
            cause=step.cause,
        )

    def done(self, action: int, step: Step, report: Report) -> None:
        """What came of it."""
        outcome = OUTCOMES[report.result]
        self.journal.end_action(action, outcome=outcome, exit_status=report.status, stdout=report.output)
        if report.result is Result.DONE:
            self._about("Normal", step.workload, step.spark, step.event or PAST[step.verb], step.cause)
        elif report.result is not Result.FAILED:
            unsent = "LeaseLost" if report.lease_lost else "NotSent"
            reason = "OutcomeUnknown" if report.result is Result.UNKNOWN else unsent
            self._about("Warning", step.workload, step.spark, reason, f"{step.verb}: {report.output}")

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance failed; told again when its log explains more."""
        waits = waits_for(failure.reason, instance) if failure.terminal else f"failure {failure.count}"
        self._about("Warning", instance.workload, instance.spark, failure.reason, f"{failure.message} ({waits})")

    def renewed(self, instance: Instance, failure: Failure) -> None:
        """What an instance waited for has come: a secret or a login is another one."""
        text = f"what it was shown when it failed ({failure.reason}) has changed since: it is tried again"
        self._about("Normal", instance.workload, instance.spark, "SecretChanged", text)

    def reasons(self, spark: str, held: Iterable[Held]) -> None:
        """What is left alone on a Spark now; only what is new is told."""
        now = {(h.workload, spark): h for h in held}
        for key in [key for key in self._told if key[1] == spark and key not in now]:
            del self._told[key]
        for key, entry in now.items():
            if self._told.get(key) == entry.reason:
                continue
            self._told[key] = entry.reason
            if entry.reason == DRAINING:
                self._about("Normal", entry.workload, spark, entry.reason, entry.message)
            elif entry.reason not in QUIET_REASONS and entry.until is None:
                self._about("Warning", entry.workload, spark, entry.reason, entry.message)

    def asked(self, workload: str) -> None:
        """Somebody waits for a workload that does not answer now."""
        self._about("Normal", workload, "", "Asked", "somebody asks for it, and it does not answer yet")

    def approved(self, plan: Plan) -> None:
        """A person released what a guard held back."""
        if plan.withheld:
            count = sum(step.destructive for step in plan.withheld)
            self._about_desired("Normal", "PlanApproved", f"plan {plan.digest} approved: {count} containers may go")

    def override(self, verb: Override, name: str, *, on: bool, by: str) -> None:
        """A person suspended, cordoned or drained something, or undid it."""
        if on:
            self.journal.set_override(verb, name, by=by)
        elif not self.journal.clear_override(verb, name):
            return
        reason, text = SAID[verb][0 if on else 1], f"by {by}"
        if verb is Override.SUSPEND:
            self._about("Normal", name, "", reason, text)
        else:
            self._about_spark("Normal", name, reason, text)

    def overrides(self) -> Overrides:
        """Everything that is suspended, cordoned or drained by a verb."""
        return Overrides(
            suspended=frozenset(self.journal.overrides(Override.SUSPEND)),
            cordoned=frozenset(self.journal.overrides(Override.CORDON)),
            drained=frozenset(self.journal.overrides(Override.DRAIN)),
        )
