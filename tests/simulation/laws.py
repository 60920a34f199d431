"""What holds at every moment: looked at when a controller decides on a step, and when its command reaches the Spark."""

from collections.abc import Callable, Sequence
from typing import Any

from reconciler.loop import Loop
from reconciler.model import OWNER, SPEC_HASH, Step
from reconciler.on_demand import ORDINARY
from reconciler.practice.containers import Container
from reconciler.practice.errors import DaemonError
from reconciler.practice.spark import Spark
from reconciler.shell import join, split

TAKES = frozenset({"stop", "kill", "rm", "restart"})


class Watched(Loop):
    """A loop whose every step is looked at before it runs. `broken` gathers what is wrong.

    `ordinary` has the containers that it stops because nobody needs them, and what they are containers of.
    """

    broken: list[str]
    ordinary: dict[str, str]

    def begun(self, step: Step) -> int:
        self.broken += list(_step(self, step))
        if step.event in ORDINARY:
            self.ordinary[step.container] = step.workload
        return super().begun(step)


def _step(loop: Loop, step: Step) -> Sequence[str]:
    what = f"{step.spark}: {step.command[:120]}"
    sight, found = loop.workers[step.spark].sight, list[str]()
    if sight.unknown or sight.scan is None:
        found.append(f"{what}: a step on a Spark that is {sight.unknown or 'not seen yet'}")
    if not step.cause or not step.consequence:
        found.append(f"{what}: no reason is given")
    if split(join(step.argv)) != tuple(str(arg) for arg in step.argv):
        found.append(f"{what}: its argv does not survive quoting")
    if step.container and sight.scan is not None:
        seen = next((c for c in sight.scan.containers if c.id == step.container), None)
        if seen is None or seen.labels.get(OWNER) != loop.target().owner:
            found.append(f"{what}: a step on a container that is not ours")
    return found


class Doorman:
    """Stands before a Spark's docker: what controllers do there is compared with what is true there.

    `strict`: nothing was done to a container, so taking one away that is as declared can only come from a false view.
    """

    def __init__(
        self,
        spark: Spark,
        wanted: Callable[[str, str], str | None],
        *,
        serves: Callable[[str], bool] = lambda _: False,
        strict: bool = False,
    ) -> None:
        """`serves`: whether a container of this id has requests under way, and is stopped because nobody needs it."""
        self.broken = list[str]()
        self._serves = serves
        self._spark = spark
        self._wanted = wanted
        self._strict = strict
        self._docker = spark.console.docker
        spark.console.tools = {**spark.console.tools, "docker": self}

    async def __call__(self, shell: Any, argv: list[str], io: Any) -> int:
        verb = argv[1] if len(argv) > 1 else ""
        hit = self._target(argv) if verb in TAKES else None
        if hit is not None:
            self._look(verb, hit)
        status = await self._docker(shell, argv, io)
        self._crowded()
        return status

    def _target(self, argv: list[str]) -> Container | None:
        try:
            return self._spark.engine.find(argv[-1])
        except DaemonError:
            return None

    def _look(self, verb: str, hit: Container) -> None:
        labels = hit.spec.labels
        if labels.get(OWNER) != "sparkkeep":
            self.broken.append(f"{self._spark.name}: {verb} of {hit.name}, which is not ours")
        if self._serves(hit.id):
            self.broken.append(f"{self._spark.name}: {verb} of {hit.name}, which serves")
        effective = hit.state == "running" or verb == "rm"
        if self._strict and effective and labels.get(SPEC_HASH) == self._wanted(self._spark.name, hit.name):
            self.broken.append(f"{self._spark.name}: {verb} of {hit.name} ({hit.state}), which is as declared")

    def _crowded(self) -> None:
        if self._spark.machine.overcommits:
            self.broken.append(f"{self._spark.name}: something did not fit into its memory")
            self._spark.machine.overcommits = 0
