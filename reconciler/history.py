"""What the loop tells the journal: every change that a person may ask about, each with its reason.

Repeats are collapsed by the journal; here only changes are told, so that a quiet fleet writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.act import Report, Result
from reconciler.model import Failure, Held, Instance, Plan, Sight, Step, Verb
from state.journal import Journal
from state.store import Revision

QUIET_REASONS = frozenset({"OnDemand", "WaitingTurn", "Pulling", "Removing", "Restarting"})
PAST = {
    Verb.PULL: "Pulled",
    Verb.MKDIR: "FoldersMade",
    Verb.CREATE: "Created",
    Verb.START: "Started",
    Verb.RESTART: "Restarted",
    Verb.UPDATE: "Updated",
    Verb.UNPAUSE: "Unpaused",
    Verb.STOP: "Stopped",
    Verb.REMOVE: "Removed",
}


class History:
    """Writes events, actions and connectivity. Remembers only what it told last, to tell changes apart."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._told: dict[tuple[str, str], str] = {}  # workload, Spark -> reason
        self._revision = ""

    def declared(self, current: Revision) -> None:
        """A new desired state is in force."""
        if current.revision != self._revision:
            self._revision = current.revision
            self.journal.record("Normal", "DesiredChanged", f"desired state {current.revision} is in force")

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark answers, or does not, or has booted."""
        if after.unknown:
            if before.unknown != after.unknown:
                self.journal.record("Warning", after.unknown, after.message, spark=spark)
                self.journal.connectivity(spark, reachable=False, reason=after.unknown, message=after.message)
            return
        if before.unknown:
            self.journal.record("Normal", "SparkReachable", f"{spark} answers", spark=spark)
            self.journal.connectivity(spark, reachable=True, reason="SparkReachable", message="")
        if before.scan and after.scan and before.scan.facts.boot_id != after.scan.facts.boot_id:
            self.journal.record("Warning", "SparkRebooted", f"{spark} has booted since it was last seen", spark=spark)

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
        self.journal.end_action(action, outcome=str(report.result), status=report.status, output=report.output)
        if report.result is Result.DONE:
            reason, message = PAST[step.verb], f"{step.verb}: {step.cause}"
            self.journal.record("Normal", reason, message, spark=step.spark, workload=step.workload)
        elif report.result is not Result.FAILED:
            message = f"{step.verb}: {report.output}"
            self.journal.record("Warning", "OutcomeUnknown" if report.result is Result.UNKNOWN else "NotSent", message, spark=step.spark, workload=step.workload)

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance failed; told again when its log explains more."""
        waits = "waits for a change of its declaration" if failure.terminal else f"failure {failure.count}"
        self.journal.record(
            "Warning", failure.reason, f"{failure.message} ({waits})", spark=instance.spark, workload=instance.workload
        )

    def reasons(self, spark: str, held: Iterable[Held]) -> None:
        """What is left alone on a Spark now; only what is new is told."""
        now = {(h.workload, spark): h for h in held}
        for key in [key for key in self._told if key[1] == spark and key not in now]:
            del self._told[key]
        for key, entry in now.items():
            if self._told.get(key) == entry.reason:
                continue
            self._told[key] = entry.reason
            if entry.reason not in QUIET_REASONS and entry.until is None:
                self.journal.record("Warning", entry.reason, entry.message, spark=spark, workload=entry.workload)

    def approved(self, plan: Plan) -> None:
        """A person released what a guard held back."""
        if plan.withheld:
            count = sum(step.destructive for step in plan.withheld)
            self.journal.record("Normal", "PlanApproved", f"plan {plan.digest} approved: {count} containers may go")

    def override(self, kind: str, name: str, *, on: bool, actor: str) -> None:
        """A person suspended, cordoned or drained something, or undid it."""
        self.journal.set_override(kind, name, on=on)
        place = {"workload": name} if kind == "suspended" else {"spark": name}
        self.journal.record("Normal", kind.capitalize() if on else f"Un{kind}", f"{name}: {kind} {'set' if on else 'taken back'} by {actor}", **place)

    def overrides(self) -> Mapping[str, Iterable[str]]:
        """Everything that is suspended, cordoned or drained by a verb: kind -> names."""
        return self.journal.overrides()
