"""One worker for one Spark: look, plan, act, and look again.

Level, not edge: an event only makes the next look come sooner; what is done follows from a whole scan alone.
A pass is a scan, the plan made from it, and the steps up to the first one that needs another look. Steps run
one at a time; fetching an image goes on beside them, since it changes nothing that runs. Two tasks stand for
the whole life of a Spark: `attend` keeps the connection and the event stream, `work` makes the passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, Protocol

from reconciler import launch, shell
from reconciler.act import Report, Result, act
from reconciler.due import Due
from reconciler.explain import Explanation, explain
from reconciler.facts import ScanFailed
from reconciler.hosts import Host
from reconciler.ledger import Ledger
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Failure, Held, Instance, Key, Plan, Scan, Sight, Step, Verb
from reconciler.prober import Prober
from reconciler.ssh import Reconnect

FULL_EVERY: Final = 30.0  # seconds between scans that also ask for the slow facts
POLL_AFTER_STOP: Final = 0.5  # seconds between looks while memory comes back after a stop
POLL_PATIENT: Final = 5.0
STOP_IS_RECENT: Final = 120.0
SCAN_RETRY: Final = 1.0
STREAM_STANDS: Final = 1.0  # seconds after a connect by which events surely arrive: what came before is looked for
LOG_TAIL: Final = 20
MAX_STEPS: Final = 100  # in one pass; a plan that is longer goes on in the next

# Reasons to wait that end without an event that would wake the loop.
ENDS_UNSEEN: Final = frozenset(
    {"InsufficientMemory", "PortTaken", "Removing", "Restarting", "NameTaken", "ImageMissing"}
)
Ended = tuple[Instance, Container, Failure]

log = logging.getLogger("sparkkeep.worker")


class Home(Protocol):
    """What a worker needs of the loop that owns it."""

    def plan(self) -> Plan:
        """The plan from what is known now."""

    def instances(self, spark: str) -> tuple[Instance, ...]:
        """What should be on this Spark."""

    def owns(self, container: Container) -> bool:
        """Whether a container is ours to act on."""

    def secret(self, name: str) -> str:
        """The value of a secret. Raises SecretRefused."""

    def begun(self, step: Step) -> int:
        """A step is about to run."""

    def done(self, action: int, step: Step, report: Report) -> None:
        """A step has run, or nobody knows."""

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark was looked at, or was lost."""

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance did not come up, or did not stay up."""

    def reasons(self, spark: str, held: tuple[Held, ...]) -> None:
        """What was left alone on a Spark, and why."""

    @property
    def epoch(self) -> int:
        """Rises whenever a person changes what is wanted: a plan from before is then not followed further."""


class Worker:
    """Keeps one Spark. `sight`, `pulling` and the prober's results are read by the planner."""

    def __init__(
        self,
        name: str,
        host: Host,
        home: Home,
        ledger: Ledger,
        *,
        interval: Callable[[], float],
        rng: random.Random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.host = host
        self.sight = Sight()
        self.pulling: set[str] = set()
        self.due = Due()
        self.passes = 0
        self._home = home
        self._ledger = ledger
        self._interval = interval
        self._rng = rng
        self._now = now
        self.prober = Prober(host, now=now, rng=rng, changed=self._probe_changed)
        self._reconnect = Reconnect(rng)
        self._up = asyncio.Event()
        self._full_at = float("-inf")
        self._stopped_at = float("-inf")
        self._seen = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._look_twice = False
        self._fetched: set[str] = set()  # images whose fetch has ended since the last scan began
        self._acting: set[asyncio.Future[None]] = set()  # one for each command under way that may not be torn

    def start(self, after: Awaitable[None] | None = None) -> None:
        """Begin to attend and to work; `after` an earlier worker of this Spark has ended, so that never two act."""
        self._spawn(self._live(after), self.name)

    async def _live(self, after: Awaitable[None] | None) -> None:
        if after is not None:
            await after
        self._spawn(self._attend(), f"{self.name} attend")
        self._spawn(self._work(), f"{self.name} work")

    async def finish(self, grace: float) -> None:
        """Begin no other step, and give those under way `grace` seconds. A fetch may be torn: it goes on next time."""
        self._ending = True
        if self._acting:
            await asyncio.wait(self._acting, timeout=grace)

    async def close(self) -> None:
        """End all tasks and let go of the Spark. A command under way is left to the Spark; the next scan tells."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.prober.close()
        await self.host.close()

    def hurry(self) -> None:
        """Do not wait for the next attempt to reach it."""
        self._reconnect.reset()
        self._seen.set()
        self.due.now()

    def lost(self, reason: str, message: str) -> None:
        """The Spark does not answer: it is Unknown from now on, and nothing is planned for it."""
        if self.sight.unknown == reason and self.sight.message == message:
            return
        before, self.sight = self.sight, Sight(scan=self.sight.scan, unknown=reason, message=message, since=self._now())
        self._home.saw(self.name, before, self.sight)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self) -> None:
        """Stay connected and follow the event stream; after each connect, look, and again when the stream stands."""
        while True:
            try:
                await self.host.connect()
                self._up.set()
                self._look_twice = True
                self.due.now()
                await self.host.watch(self._event)
            except LinkDown as down:
                self._up.clear()
                self.lost(down.reason, down.message)
            except ScanFailed as failed:
                self.lost(failed.reason, str(failed))
            except Exception:  # the root of this task
                log.exception("%s: attending failed", self.name)
            await self._rest(self._reconnect.next_delay())

    async def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, but not longer than until a scan succeeds: then events are to be had again."""
        self._seen.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._seen.wait()

    def _event(self, action: str) -> None:
        log.debug("%s: event %s", self.name, action)
        self.due.hint()

    def _probe_changed(self, key: Key) -> None:
        log.debug("%s: probe of %s", self.name, key[0])
        self.due.hint()

    async def _work(self) -> None:
        while not self._ending:
            await self.due.wait()
            await self._up.wait()
            try:
                await self._pass()
            except LinkDown as down:
                self.lost(down.reason, down.message)
            except ScanFailed as failed:
                self.lost(failed.reason, str(failed))
                self.due.after(SCAN_RETRY)
            except Exception:  # the root of this task: a bug may cost one pass, not the Spark
                log.exception("%s: a pass failed", self.name)
                self.lost("InternalError", "sparkkeep failed while it worked on this Spark; see its log")
                self.due.after(POLL_PATIENT)

    async def _pass(self) -> None:
        """One look, and what follows from it. Logs of the dead are read last: repair comes first."""
        ended = await self._scan()
        self.passes += 1
        epoch, plan = self._home.epoch, self._home.plan()
        held = tuple(h for h in plan.held if h.spark == self.name)
        self._home.reasons(self.name, held)
        acted, result = False, Result.DONE
        for step in plan.for_spark(self.name)[:MAX_STEPS]:
            if (step.look_first and acted) or self._home.epoch != epoch:
                break
            if step.verb is Verb.PULL:
                self._pull(step)
                continue
            acted = True
            result = await self._run(step)
            if result is not Result.DONE:
                break
        if acted:
            self.due.after(SCAN_RETRY if result is Result.NOT_DONE else 0.0)
        self._schedule(held)
        for instance, container, failure in ended:
            self._spawn(self._read_log(instance, container, failure), f"{self.name} log of {container.name}")

    async def _scan(self) -> list[Ended]:
        loop_time = asyncio.get_running_loop().time()
        full = loop_time - self._full_at >= FULL_EVERY - 1.0
        before, fetched = self.sight, set(self._fetched)
        scan = await self.host.scan(full=full, before=before.scan)
        # Only a scan that began after a fetch ended can tell whether the image is there.
        self.pulling -= fetched
        self._fetched -= fetched
        if full:
            self._full_at = loop_time
        self._reconnect.reset()
        self._seen.set()
        self.sight = Sight(scan=scan, unknown="", message="", since=before.since if not before.unknown else self._now())
        ended = self._take_stock(before.scan, scan)
        self._home.saw(self.name, before, self.sight)
        return ended

    def _take_stock(self, before: Scan | None, scan: Scan) -> list[Ended]:
        """What the scan says of our instances: ends to count, failures to forget, containers to probe."""
        if before is not None and before.facts.boot_id != scan.facts.boot_id:
            self._ledger.excuse(scan.containers)
        named = {c.name: c for c in scan.containers if self._home.owns(c)}
        running: list[tuple[Instance, Container]] = []
        ended: list[Ended] = []
        for instance in self._home.instances(self.name):
            container = named.get(instance.name)
            if container is None:
                continue
            if container.state == "running":
                running.append((instance, container))
                self._settle(instance, container)
            elif container.state == "exited" and container.spec_hash == instance.spec_hash and not instance.on_demand:
                failure = self._ledger.ended(instance, container, self._now())
                if failure is not None:
                    self._home.failed(instance, failure)
                    ended.append((instance, container, failure))
        self.prober.follow(running)
        return ended

    def _settle(self, instance: Instance, container: Container) -> None:
        key = (instance.workload, self.name)
        probed = instance.probe.kind != "none"
        self._ledger.settle(key, container, self.prober.results.get(key), probed=probed, now=self._now())

    async def _run(self, step: Step) -> Result:
        """Run one step; what comes after it may run only if it is done."""
        if self._ending:
            return Result.NOT_DONE
        if step.verb is Verb.STOP:
            self._ledger.expect_end(step.container)
            self._stopped_at = asyncio.get_running_loop().time()
        instance = self._instance(step)
        if step.failing and instance is not None:
            why = Explanation("NotAnswering", step.cause, terminal=False)
            self._fail(instance, why)
        action = self._home.begun(step)
        report = Report(result=Result.UNKNOWN, output="sparkkeep was stopped while the command ran")
        under_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if step.verb is not Verb.PULL:
            self._acting.add(under_way)
        try:
            report = await act(step, self.host, self._home.secret)
        finally:
            self._home.done(action, step, report)
            self._acting.discard(under_way)
            under_way.cancel()
        if report.why is not None and instance is not None:
            self._fail(instance, report.why)
        return report.result

    def _fail(self, instance: Instance, why: Explanation) -> None:
        failure = self._ledger.fail((instance.workload, self.name), instance.spec_hash, why, self._now())
        self._home.failed(instance, failure)

    def _pull(self, step: Step) -> None:
        image = str(step.argv[-1])
        if image in self.pulling:
            return
        self.pulling.add(image)
        self._spawn(self._pull_image(step, image), f"{self.name} pull {image}")

    async def _pull_image(self, step: Step, image: str) -> None:
        try:
            await self._run(step)
        finally:
            self._fetched.add(image)
            self.due.now()

    async def _read_log(self, instance: Instance, container: Container, failure: Failure) -> None:
        """Let the container's last lines explain its end."""
        try:
            outcome = await self.host.run(shell.join(launch.logs(container.id[:12], tail=LOG_TAIL)), timeout=10.0)
        except LinkDown:
            return
        lines = tuple((outcome.stdout + outcome.stderr).strip().splitlines()[-LOG_TAIL:])
        why = explain("\n".join(lines), otherwise=failure.message, reason=failure.reason)
        worded = self._ledger.reword((instance.workload, self.name), instance.spec_hash, why, lines)
        if worded is not None:
            self._home.failed(instance, worded)

    def _instance(self, step: Step) -> Instance | None:
        return next(
            (i for i in self._home.instances(self.name) if i.workload == step.workload and i.rank == step.rank), None
        )

    def _schedule(self, held: tuple[Held, ...]) -> None:
        """The next look: the usual one, or earlier where waiting ends by itself."""
        if self._look_twice:
            self._look_twice = False
            self.due.after(STREAM_STANDS)
        self.due.after(self._interval() * self._rng.uniform(0.8, 1.2))
        for waiting in held:
            if waiting.until is not None:
                self.due.after(max(0.0, waiting.until - self._now()) + 0.01)
            elif waiting.reason in ENDS_UNSEEN:
                recent = asyncio.get_running_loop().time() - self._stopped_at < STOP_IS_RECENT
                self.due.after(POLL_AFTER_STOP if recent else POLL_PATIENT)
