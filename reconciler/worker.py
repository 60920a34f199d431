"""One worker for one Spark: look, plan, act, and look again.

Level, not edge: an event only makes the next look come sooner; what is done follows from a whole scan alone.
A pass is a scan, the plan made from it, and the steps up to the first one that needs another look. Steps run
one at a time; an image is fetched or built beside them, since that changes nothing that runs. Two tasks stand for
the whole life of a Spark: `attend` keeps the connection and the event stream, `work` makes the passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from reconciler import launch, shell
from reconciler.act import Report, Result, act
from reconciler.due import Due
from reconciler.explain import Explanation, explain
from reconciler.facts import ScanFailed
from reconciler.home import Home
from reconciler.hosts import Host
from reconciler.images import image_id
from reconciler.leaseholder import Leaseholder, Unshared
from reconciler.ledger import Ledger
from reconciler.linkdown import LinkDown
from reconciler.loading import LoadWatch
from reconciler.meters import Meters, Passed
from reconciler.model import Container, Failure, Held, Instance, Key, Scan, Sight, Step, Verb
from reconciler.preflight.asking import ask_image
from reconciler.prober import Prober
from reconciler.returning import Returning
from reconciler.rolling import ROLLING
from reconciler.ssh import Reconnect
from reconciler.surveyor import Surveyor
from state.log_context import about, be_about, new_id, outside

FULL_EVERY: Final = 30.0  # seconds between scans that also ask for the slow facts
POLL_AFTER_STOP: Final = 0.5  # seconds between looks while memory comes back after a stop
POLL_PATIENT: Final = 5.0
STOP_IS_RECENT: Final = 120.0
SCAN_RETRY: Final = 1.0
STREAM_STANDS: Final = 1.0  # seconds after a connect by which events surely arrive: what came before is looked for
LOG_READ: Final = 400  # lines in which the cause of an end is looked for: it stands far above the last of them
LOG_TAIL: Final = 20  # lines that are kept
MAX_STEPS: Final = 100  # in one pass; a plan that is longer goes on in the next
BRINGING: Final = frozenset({Verb.PULL, Verb.BUILD})  # an image, which may be torn: what came of it is used next time
PASSED: Final = {  # what a pass is counted as, by its last step
    Result.DONE: Passed.REQUEUE,
    Result.FAILED: Passed.ERROR,
    Result.NOT_DONE: Passed.REQUEUE,
    Result.UNKNOWN: Passed.UNKNOWN,
}

# Reasons to wait that end without an event that would wake the loop.
ENDS_UNSEEN: Final = frozenset(
    {
        *("InsufficientMemory", "MemoryReturning", "MakingRoom", "PortTaken", ROLLING),
        *("Removing", "Restarting", "NameTaken", "ImageMissing", "WeightsUnknown"),
    }
)
Ended = tuple[Instance, Container, Failure]

log = logging.getLogger("sparkkeep.worker")


class Worker:
    """Keeps one Spark. `sight`, `pulling`, `building` and the prober's results are read by the planner."""

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
        surveyor: Surveyor | None = None,
        lease: Leaseholder | None = None,
        meters: Meters | None = None,
    ) -> None:
        self.name = name
        self.surveyor = surveyor
        self.host = host
        self.lease = lease or Unshared()
        self.sight = Sight()
        self.pulling: set[str] = set()
        self.building: set[str] = set()
        self.asking: set[tuple[str, str]] = set()  # engine, image id
        self.due = Due()
        self.passes = 0
        self.pass_began: float | None = None  # by the loop's clock, while one is under way
        self._meters = meters or Meters()
        self._home = home
        self._ledger = ledger
        self._interval = interval
        self._rng = rng
        self._now = now
        self.prober = Prober(host, now=now, rng=rng, changed=self._probe_changed, meters=self._meters)
        self.loads = LoadWatch(host, now=now, clock=self._clock, past=home.past, told=home.started)
        self._reconnect = Reconnect(rng)
        self._up = asyncio.Event()
        self._full_at = float("-inf")
        self._stopped_at = float("-inf")
        self._returning = Returning()
        self._seen = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._look_twice = False
        self._fetched: set[str] = set()  # images whose fetch has ended since the last scan began
        self._acting: set[asyncio.Future[None]] = set()  # one for each command under way that may not be torn

    def start(self, after: Awaitable[None] | None = None) -> None:
        """Begin to attend and to work; `after` an earlier worker of this Spark has ended, so that never two act."""
        outside(self._spawn, self._live(after), self.name)  # it may be a pass of another that learned of this Spark

    async def _live(self, after: Awaitable[None] | None) -> None:
        be_about(spark=self.name)
        if after is not None:
            await after
        self._spawn(self._attend(), f"{self.name} attend")
        self._spawn(self._work(), f"{self.name} work")
        self._spawn(self.lease.keep(self._up.wait, lambda: not self.sight.unknown), f"{self.name} lease")
        if self.surveyor is not None:
            self._spawn(self.surveyor.keep(self.host, self._up.wait), f"{self.name} survey")

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
        await self.loads.close()
        if self._up.is_set():
            await self.lease.release()
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
                self.lease.doubt()
                self._up.set()
                self._look_twice = True
                self.due.now()
                await self.host.watch(self._event)
            except LinkDown as down:
                self._up.clear()
                self._meters.link_failed(self.name, down.reason)
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
        self._home.probed(key)
        self.due.hint()

    async def _work(self) -> None:
        while not self._ending:
            await self.due.wait()
            await self._up.wait()
            began = self.pass_began = self._clock()
            with about(reconcile=new_id()):
                log.debug("%s: a pass begins", self.name)
                passed = await self._reconcile()
                log.debug("%s: the pass ended after %.3f s: %s", self.name, self._clock() - began, passed)
            self.pass_began = None
            self._meters.passed(self.name, passed, self._clock() - began)

    async def _reconcile(self) -> Passed:
        """A pass, whatever comes of it."""
        try:
            return await self._pass()
        except LinkDown as down:
            self.lost(down.reason, down.message)
            return Passed.UNKNOWN
        except ScanFailed as failed:
            self.lost(failed.reason, str(failed))
            self.due.after(SCAN_RETRY)
            return Passed.ERROR
        except Exception:  # the root of this task: a bug may cost one pass, not the Spark
            log.exception("%s: a pass failed", self.name)
            self.lost("InternalError", "sparkkeep failed while it worked on this Spark; see its log")
            self.due.after(POLL_PATIENT)
            return Passed.PANIC

    async def _pass(self) -> Passed:
        """One look, and what follows from it. Logs of the dead are read last: repair comes first."""
        await self.lease.hold(self._highest_fence())
        ended = await self._scan()
        await self.lease.outrank(self._highest_fence())
        self.passes += 1
        epoch, plan = self._home.epoch, self._home.plan(self.name)
        held = tuple(h for h in plan.held if h.spark == self.name)
        self._home.planned(self.name, plan)
        self._home.reasons(self.name, held)
        going = {step.container for step in plan.for_spark(self.name) if step.verb is Verb.REMOVE}
        for instance, container, failure in ended:
            if container.id in going:  # its log goes with it
                await self._read_log(instance, container, failure)
        acted, result = False, Result.DONE
        for step in plan.for_spark(self.name)[:MAX_STEPS]:
            if (step.look_first and acted) or self._home.epoch != epoch or not self._stands(step):
                break
            if step.verb in BRINGING:
                self._bring(step)
                continue
            if step.verb is Verb.ASK:
                self._ask(step)
                continue
            acted = True
            result = await self._run(step)
            if result is not Result.DONE:
                break
        if acted:
            self.due.after(SCAN_RETRY if result is Result.NOT_DONE else 0.0)
        self._schedule(held)
        for instance, container, failure in (end for end in ended if end[1].id not in going):
            self._spawn(self._read_log(instance, container, failure), f"{self.name} log of {container.name}")
        return PASSED[result] if acted else Passed.SUCCESS

    def _stands(self, step: Step) -> bool:
        """Whether it is right still; if not, another plan is made at once."""
        stands = self._home.stands(step)
        if not stands:
            self.due.now()
        return stands

    def _highest_fence(self) -> int:
        """The highest token that our containers carried when they were last seen."""
        containers = self.sight.scan.containers if self.sight.scan is not None else ()
        return max((container.fence for container in containers if self._home.owns(container)), default=0)

    async def _scan(self) -> list[Ended]:
        loop_time = self._clock()
        full = loop_time - self._full_at >= FULL_EVERY - 1.0
        before, fetched = self.sight, set(self._fetched)
        try:
            scan = await self.host.scan(full=full, before=before.scan)
        except (LinkDown, ScanFailed) as failed:
            self._meters.scan_failed(self.name, failed.reason)
            raise
        self._meters.scanned(self.name, self._clock() - loop_time)
        # Only a scan that began after a fetch ended can tell whether the image is there.
        self.pulling -= fetched
        self.building -= fetched
        self._fetched -= fetched
        if full:
            self._full_at = loop_time
        self._reconnect.reset()
        self._seen.set()
        self.sight = Sight(scan=scan, unknown="", message="", since=before.since if not before.unknown else self._now())
        self._home.saw(self.name, before, self.sight)  # first: what should be here may depend on what was seen
        return self._take_stock(before.scan, scan)

    def _take_stock(self, before: Scan | None, scan: Scan) -> list[Ended]:
        """What the scan says of our instances: ends to count, failures to forget, containers to probe."""
        if before is not None and before.facts.boot_id != scan.facts.boot_id:
            self._ledger.excuse(scan.containers)
        self._ledger.set_back(self._now())
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
                self._meters.runs(instance.workload, self.name, container)
            elif container.state == "exited" and container.spec_hash == instance.spec_hash:
                if instance.on_demand and before is None:  # it may have been down for days, as nobody asked for it
                    self._ledger.excuse([container])
                failure = self._ledger.ended(instance, container, self._now())
                if failure is not None:
                    self._failed(instance, failure)
                    ended.append((instance, container, failure))
        outside(self._follow, running, scan)
        return ended

    def _follow(self, running: list[tuple[Instance, Container]], scan: Scan) -> None:
        """Probe what runs, and watch those models load that have not answered yet."""
        self.prober.follow(running)
        loading, ready = list[tuple[Instance, Container]](), list[str]()
        for instance, container in running:
            if instance.engine != "container" and instance.probe.kind != "none":
                result = self.prober.results.get((instance.workload, self.name))
                answered = result is not None and result.container == container.id and result.ready_at > 0
                ready += [container.id] if answered else []
                loading += [] if answered else [(instance, container)]
        self.loads.follow(loading, ready=ready, available=scan.facts.memory_available)

    def _settle(self, instance: Instance, container: Container) -> None:
        key = (instance.workload, self.name)
        probed = instance.probe.kind != "none"
        self._ledger.settle(key, container, self.prober.results.get(key), probed=probed, now=self._now())

    async def _run(self, step: Step) -> Result:
        """Run one step; what comes after it may run only if it is done."""
        with about(workload=step.workload):
            return await self._do(step)

    async def _do(self, step: Step) -> Result:
        lost = self.sight.unknown or not self.lease.acts  # since the plan was made
        if self._ending or lost:
            return Result.NOT_DONE
        if step.verb is Verb.STOP:
            self._stops(step.container)
        instance = self._instance(step)
        before = self._ledger.failures.get((step.workload, self.name))
        if step.failing and instance is not None:
            why = Explanation("NotAnswering", step.cause, terminal=False)
            self._fail(instance, why)
        action, began = self._home.begun(step), self._clock()
        log.debug("%s: %s of %s: %s", self.name, step.verb, step.workload, step.cause)
        report = Report(result=Result.UNKNOWN, output="sparkkeep was stopped while the command ran")
        under_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if step.verb not in BRINGING:
            self._acting.add(under_way)
        try:
            report = await act(step, self.host, self._home.secret, self._home.mod, self.lease.fence, self._home.context)
        finally:
            self._done(action, step, report, began)
            self._acting.discard(under_way)
            under_way.cancel()
        if report.lease_lost:
            self.lease.lost()
            self._ledger.take_back((step.workload, self.name), before)
        if report.why is not None and instance is not None:
            self._fail(instance, report.why)
        return report.result

    def _stops(self, container: str) -> None:
        """Its end is our doing, and its memory comes back."""
        self._ledger.expect_end(container)
        self._stopped_at = now = self._clock()
        scan = self.sight.scan
        memory = next((c.memory for c in scan.containers if c.id == container), 0) if scan else 0
        if scan and memory:
            self._returning.stopped(memory, scan.facts.memory_available, now)

    @property
    def returning(self) -> int:
        """Bytes of what was stopped that the Spark does not show as available yet."""
        scan = self.sight.scan
        if scan is None or not self._returning.awaits:
            return 0
        return self._returning.left(scan.facts.memory_available, self._clock())

    def _fail(self, instance: Instance, why: Explanation) -> None:
        failure = self._ledger.fail((instance.workload, self.name), instance.spec_hash, why, self._now())
        self._failed(instance, failure)

    def _failed(self, instance: Instance, failure: Failure) -> None:
        self._meters.failed(instance.workload, self.name)
        self._home.failed(instance, failure)

    def _done(self, action: int, step: Step, report: Report, began: float) -> None:
        self._meters.stepped(self.name, step.verb, report.result, self._clock() - began)
        self._home.done(action, step, report)

    def _bring(self, step: Step) -> None:
        """Fetch or build an image beside the rest."""
        under_way = self.pulling if step.verb is Verb.PULL else self.building
        if step.image in under_way or (self.building and step.verb is Verb.BUILD):
            return
        under_way.add(step.image)
        self._spawn(self._bring_image(step), f"{self.name} {step.verb} {step.image}")

    async def _bring_image(self, step: Step) -> None:
        try:
            await self._run(step)
        finally:
            self._fetched.add(step.image)
            self.due.now()

    def _ask(self, step: Step) -> None:
        """Ask an image which flags it knows, beside the rest, as a fetch goes on beside it."""
        instance = self._instance(step)
        scan = self.sight.scan
        if instance is None or scan is None or self.asking or self._ending or not self.lease.acts:
            return
        image = image_id(scan.images, instance.spec.image)
        self.asking.add((instance.engine, image))
        self._spawn(self._ask_image(step, instance, image), f"{self.name} ask {instance.spec.image}")

    async def _ask_image(self, step: Step, instance: Instance, image: str) -> None:
        action, began = self._home.begun(step), self._clock()
        report = Report(result=Result.UNKNOWN, output="sparkkeep was stopped while the image was asked")
        try:
            table = await ask_image(self.host, instance.engine, image, gpus=instance.spec.gpus)
            self._home.answered(instance.engine, image, table)
            said = f"{len(table.flags)} flags" if table is not None else "it can't say which flags it knows"
            report = Report(result=Result.DONE, status=0, output=said)
        except LinkDown as down:
            report = Report(result=Result.UNKNOWN, output=down.message)
        finally:
            self._done(action, step, report, began)
            self.asking.clear()
            self.due.now()

    async def _read_log(self, instance: Instance, container: Container, failure: Failure) -> None:
        """Let the container's last lines explain its end."""
        try:
            outcome = await self.host.run(shell.join(launch.logs(container.id[:12], tail=LOG_READ)), timeout=10.0)
        except LinkDown:
            return
        if outcome.status != 0:  # the container is gone: what Docker says of that explains nothing
            return
        text = (outcome.stdout + outcome.stderr).strip()
        why = explain(text, otherwise=failure.message, reason=failure.reason)
        lines = tuple(text.splitlines()[-LOG_TAIL:])
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
        for look_in in (self.lease.look_in, self._home.unused_in(self.name)):
            if look_in is not None:
                self.due.after(look_in)
        for waiting in held:
            if waiting.until is not None:
                self.due.after(max(0.0, waiting.until - self._now()) + 0.01)
            elif waiting.reason in ENDS_UNSEEN:
                recent = self._clock() - self._stopped_at < STOP_IS_RECENT
                self.due.after(POLL_AFTER_STOP if recent else POLL_PATIENT)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
