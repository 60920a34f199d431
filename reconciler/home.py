"""The seams of the loop: with each worker that it owns, and with what fetches weights for its launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reconciler.act import Report
from reconciler.lease import Lease
from reconciler.model import Container, Failure, Held, Instance, Key, Plan, Sight, Step
from reconciler.preflight.tables import Table
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack
from state.contexts import Context
from state.mods import Mod


class Home(Protocol):
    """The loop, as a worker sees it."""

    def plan(self, looking: str) -> Plan:
        """The plan from what is known now, for a pass of this Spark."""

    def instances(self, spark: str) -> tuple[Instance, ...]:
        """What should be on this Spark."""

    def owns(self, container: Container) -> bool:
        """Whether a container is ours to act on."""

    def secret(self, name: str) -> str:
        """The value of a secret. Raises SecretRefused."""

    def mod(self, digest: str) -> Mod | None:
        """The mod of this content, if it is wanted."""

    def context(self, digest: str) -> Context | None:
        """The build context of this content, if it is wanted."""

    def begun(self, step: Step) -> int:
        """A step is about to run."""

    def done(self, action: int, step: Step, report: Report) -> None:
        """A step has run, or nobody knows."""

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark was looked at, or was lost."""

    def leased(self, spark: str, before: Lease, after: Lease) -> None:
        """Who may act on a Spark, or what is known of it, has changed."""

    def answered(self, engine: str, image: str, table: Table | None) -> None:
        """An image (by its id) has said which flags it knows, or that it can't say."""

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance did not come up, or did not stay up."""

    def started(self, instance: Instance, seconds: float, peak: int) -> None:
        """A model answers for the first time since its start."""

    def past(self, key: Key) -> Sequence[float]:
        """How long earlier starts took, in seconds, oldest first."""

    def probed(self, key: Key) -> None:
        """What an instance answers to its probes has turned."""

    def reasons(self, spark: str, held: tuple[Held, ...]) -> None:
        """What was left alone on a Spark, and why."""

    def planned(self, spark: str, plan: Plan) -> None:
        """What a pass of this Spark is about to do, and what waits until requests have ended."""

    def stands(self, step: Step) -> bool:
        """Whether a step is still right at this moment: who uses what it stops, or waits for it, may have come."""

    def unused_in(self, spark: str) -> float | None:
        """Seconds until something there has been unused for long enough to be stopped."""

    @property
    def epoch(self) -> int:
        """Rises whenever a person changes what is wanted: a plan from before is then not followed further."""


class Bringer(Protocol):
    """What fetches weights before launches, as the loop sees it."""

    @property
    def waiting(self) -> bool:
        """Whether a launch waits for weights: the next survey may end that."""

    def lacks(self) -> Mapping[tuple[str, Want], Lack]:
        """What launches wait for, by Spark and revision; nothing is begun by this."""

    def asked(self, spark: str, held: Sequence[Held]) -> None:
        """What a pass of this Spark left alone: begin what is wanted, end what is declared no more."""

    def again(self, workload: str) -> None:
        """A person wants what failed for it to be tried again now."""


class Nobody:
    """`Bringer` where nothing is fetched: launches wait for no weights."""

    waiting = False

    def lacks(self) -> Mapping[tuple[str, Want], Lack]:
        """Nothing."""
        return {}

    def asked(self, spark: str, held: Sequence[Held]) -> None:
        """Nothing is begun."""

    def again(self, workload: str) -> None:
        """Nothing has failed."""
