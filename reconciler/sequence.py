"""The order of one Spark's jobs, and the steps that each takes.

Pure. Stops come before the starts that need their port or their memory, and otherwise as late as they can,
so that nothing is down for longer than it must be. What a Spark can't hold is not started: the arithmetic
goes into the reason. On a Spark an over-committed start does not fail, it hangs the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from reconciler import launch
from reconciler.jobs import Job, Kind, SparkView, held
from reconciler.model import Container, Held, Instance, Step, Verb
from reconciler.place import gib
from reconciler.shell import Argv

COMMAND_TIMEOUT: Final = 60.0
PULL_TIMEOUT: Final = 4 * 3600.0
PRUNE_STOP_TIMEOUT: Final = 30.0
STARTS: Final = (Kind.CREATE, Kind.RECREATE, Kind.START)
AT_ONCE: Final = (Kind.UNPAUSE, Kind.UPDATE)


class Sequence:
    """Simulates one Spark's ports and memory while its jobs are put in order. Used once, by `sequence`."""

    def __init__(self, view: SparkView, jobs: Iterable[Job]) -> None:
        self.view = view
        self.reserve = view.target.reserves[view.spark]
        self.steps: list[Step] = []
        self.held: list[Held] = []
        self.pending = dict.fromkeys(jobs)
        self.stopped: list[Container] = []
        self.holders = {port: c for c in view.owned if c.running for port in c.ports}
        self.taken: dict[int, str] = {}
        self.freed = 0
        starting = _starting(view)
        self.available = view.scan.facts.memory_available - sum(i.memory for _, i in starting)
        self.claimed = [i for _, i in starting if i.memory]
        self.model_starting = next((i.workload for _, i in starting if i.kind == "model"), "")
        self.model_planned = ""

    def run(self) -> None:
        """Pulls and removals first, then what changes in place, then starts by priority."""
        jobs = list(self.pending)
        self._pull(job for job in jobs if job.kind is Kind.PULL)
        for job in jobs:
            if job.kind is Kind.PRUNE:
                self._take_down(job)
        for job in jobs:
            if job.kind in AT_ONCE:
                self.steps.append(_in_place(job))
            elif job.kind is Kind.RESTART:
                self._restart(job)
        starts = [job for job in jobs if job.kind in STARTS]
        for job in sorted(starts, key=_turn):
            self._start(job)

    def _pull(self, jobs: Iterable[Job]) -> None:
        for job in {_instance(job).spec.image: job for job in jobs}.values():
            image = _instance(job).spec.image
            self.steps.append(
                _step(
                    job,
                    Verb.PULL,
                    launch.pull(image),
                    f"{image} is fetched; what runs goes on running",
                    PULL_TIMEOUT,
                )
            )

    def _take_down(self, job: Job, *, look_first: str = "") -> None:
        """Stop and remove the job's container, and count what that gives back."""
        self.pending.pop(job, None)
        container = job.container
        if container is None or container in self.stopped:
            return
        patience = job.instance.stop_timeout if job.instance else PRUNE_STOP_TIMEOUT
        self.steps.extend(_take_down_steps(job, container, patience, look_first))
        self.stopped.append(container)
        if container.running:
            self.freed += container.memory

    def _restart(self, job: Job) -> None:
        """In one command where the memory for it is there beside the old one's, else stop, look, start."""
        instance, container = _instance(job), _container(job)
        effect = f"{instance.workload} does not answer {_gap(self.view, job)}"
        if instance.memory + self.reserve <= self.available:
            argv = launch.restart(container.id[:12], instance.stop_timeout)
            self.steps.append(
                _step(job, Verb.RESTART, argv, effect, instance.stop_timeout + COMMAND_TIMEOUT, container)
            )
            return
        argv = launch.stop(container.id[:12], instance.stop_timeout)
        self.steps.append(_step(job, Verb.STOP, argv, effect, instance.stop_timeout + COMMAND_TIMEOUT, container))
        look = f"the memory of {instance.workload} must be seen to be back"
        self.steps.append(
            _step(
                job,
                Verb.START,
                launch.start(container.id[:12]),
                "runs again",
                COMMAND_TIMEOUT,
                container,
                look,
            )
        )

    def _start(self, job: Job) -> None:
        """A creation, recreation or start, if turn, ports and memory allow it; else the reason why not."""
        if job not in self.pending and job.kind is not Kind.RECREATE:
            return
        instance = _instance(job)
        is_model = instance.kind == "model" and instance.probe.kind != "none"
        if is_model and self.model_starting:
            self._hold(
                job,
                "WaitingTurn",
                f"{self.model_starting} is starting on {self.view.spark}; models start one at a time",
            )
            return
        forward: list[Job] = []
        reason = self._ports(job, instance, forward) or self._memory(job, instance, forward)
        if reason is not None:
            self._hold(job, *reason)
            return
        look = (
            f"{self.model_planned} must be ready: models start one at a time" if is_model and self.model_planned else ""
        )
        for other in forward:
            self._take_down(other, look_first=look)
        if job.kind is Kind.RECREATE:
            self._take_down(job, look_first=look)
        self.pending.pop(job, None)
        self._emit_start(job, instance, look or self._memory_look(instance))
        if is_model:
            self.model_planned = instance.workload

    def _emit_start(self, job: Job, instance: Instance, look: str) -> None:
        self.available -= instance.memory
        self.taken.update(dict.fromkeys(instance.ports, instance.workload))
        if job.kind is Kind.START:
            container = _container(job)
            argv = launch.start(container.id[:12])
            self.steps.append(
                _step(job, Verb.START, argv, f"{instance.workload} runs again", COMMAND_TIMEOUT, container, look)
            )
            return
        if instance.create_folders:
            argv = launch.make_folders(instance.create_folders)
            self.steps.append(_step(job, Verb.MKDIR, argv, "folders for its mounts exist", COMMAND_TIMEOUT, None, look))
        creation = self.view.target.creations[instance.spark, instance.name]
        if look or job.cause != creation.cause:
            creation = replace(creation, cause=job.cause, look_first=look)
        self.steps.append(creation)

    def _ports(self, job: Job, instance: Instance, forward: list[Job]) -> tuple[str, str] | None:
        """Which port stands in the way, if one does. Jobs that give one free are added to `forward`."""
        for port in instance.ports:
            holder = self.holders.get(port)
            if port in self.taken:
                return "PortTaken", f"port {port} of {self.view.spark} goes to {self.taken[port]}"
            if holder is None:
                if port in self.view.scan.facts.listeners:
                    return "PortTaken", f"port {port} of {self.view.spark} is taken by {self._listener(port)}"
            elif holder not in self.stopped and holder is not job.container:
                giver = self._giver(holder)
                if giver is None:
                    return "PortTaken", f"port {port} of {self.view.spark} is held by {holder.workload}"
                if giver not in forward:
                    forward.append(giver)
        return None

    def _memory(self, job: Job, instance: Instance, forward: list[Job]) -> tuple[str, str] | None:
        """Why it does not fit, if it doesn't. Jobs whose stop makes room are added to `forward`."""
        need = instance.memory + self.reserve
        if need <= self.available:
            return None
        own = 0 if job.container in self.stopped else _memory_of(job)
        room = self.available + self.freed + own + sum(_memory_of(other) for other in forward)
        others = [j for j in self.pending if j.kind is Kind.RECREATE and j is not job and j not in forward]
        for other in others:
            if need <= room:
                break
            room += _memory_of(other)
            if _memory_of(other):
                forward.append(other)
        if need <= room:
            return None
        parts = [
            f"{gib(instance.memory)} needed + {gib(self.reserve)} reserve > {gib(room)} to be had on {self.view.spark}"
        ]
        parts.append(f"MemAvailable {gib(self.view.scan.facts.memory_available)}")
        parts += [f"{i.workload} still loading, up to {gib(i.memory)}" for i in self.claimed]
        return "InsufficientMemory", "; ".join(parts)

    def _memory_look(self, instance: Instance) -> str:
        """What must be seen before it may start: set when it only fits in memory that stops of this plan give back."""
        if not self.freed or instance.memory + self.reserve <= self.available:
            return ""
        names = ", ".join(sorted({c.workload for c in self.stopped if c.running and c.memory}))
        return f"the memory of {names} must be seen to be back: {gib(instance.memory)} + {gib(self.reserve)} reserve"

    def _giver(self, holder: Container) -> Job | None:
        return next((j for j in self.pending if j.kind is Kind.RECREATE and j.container is holder), None)

    def _listener(self, port: int) -> str:
        foreign = next((c for c in self.view.scan.containers if c.running and port in c.ports), None)
        return f"the container {foreign.name}, which is not ours" if foreign else "a process that is not ours"

    def _hold(self, job: Job, reason: str, message: str) -> None:
        self.pending.pop(job, None)
        kept = "; its old container keeps running" if job.stops and job.container not in self.stopped else ""
        self.held.append(held(_instance(job), reason, message + kept))


def sequence(view: SparkView, jobs: Iterable[Job]) -> tuple[list[Step], list[Held]]:
    """The steps for one Spark's jobs in the order to run them, and the jobs that have to wait."""
    line = Sequence(view, jobs)
    line.run()
    return line.steps, line.held


def _starting(view: SparkView) -> list[tuple[Container, Instance]]:
    """Containers that run but have not answered yet: what they will still take is not in MemAvailable."""
    wanted = {instance.name: instance for instance in view.target.instances[view.spark]}
    found = []
    for container in view.owned:
        instance = wanted.get(container.name)
        if instance is None or not container.running or instance.probe.kind == "none":
            continue
        probe = view.world.probes.get((instance.workload, view.spark))
        if probe is None or probe.container != container.id or not probe.ready_at:
            found.append((container, instance))
    return found


def _take_down_steps(job: Job, container: Container, patience: float, look: str) -> Iterator[Step]:
    short = container.id[:12]
    stays = job.kind is Kind.RECREATE
    if container.state == "paused":
        yield _step(
            job,
            Verb.UNPAUSE,
            launch.unpause(short),
            "a paused container can't be stopped",
            COMMAND_TIMEOUT,
            container,
            look,
        )
    if container.running:
        effect = (
            f"{job.workload} is down until its new container answers"
            if stays
            else f"{job.workload} is gone from {job.spark}"
        )
        argv = launch.stop(short, patience)
        yield _step(job, Verb.STOP, argv, effect, patience + COMMAND_TIMEOUT, container, look, destructive=True)
    yield _step(
        job,
        Verb.REMOVE,
        launch.remove(short),
        f"{container.name} and its writable layer are deleted",
        COMMAND_TIMEOUT,
        container,
    )


def _in_place(job: Job) -> Step:
    container, instance = _container(job), _instance(job)
    short = container.id[:12]
    if job.kind is Kind.UNPAUSE:
        return _step(
            job,
            Verb.UNPAUSE,
            launch.unpause(short),
            f"{instance.workload} goes on",
            COMMAND_TIMEOUT,
            container,
        )
    argv = launch.update_restart(short, instance.restart)
    return _step(job, Verb.UPDATE, argv, "in place: nothing stops", COMMAND_TIMEOUT, container)


def _gap(view: SparkView, job: Job) -> str:
    """How long it was away the last time it started, if that was seen."""
    container = _container(job)
    probe = view.world.probes.get((job.workload, job.spark))
    if probe is None or probe.container != container.id or not probe.ready_at:
        return "until it is ready again"
    return f"for about {max(1.0, probe.ready_at - container.started_at):.0f} s"


def _step(
    job: Job,
    verb: Verb,
    argv: Argv,
    consequence: str,
    timeout: float,
    container: Container | None = None,
    look_first: str = "",
    *,
    destructive: bool = False,
) -> Step:
    return Step(
        verb=verb,
        spark=job.spark,
        workload=job.workload,
        rank=job.rank,
        argv=argv,
        cause=job.cause,
        consequence=consequence,
        container=container.id if container else "",
        destructive=destructive,
        look_first=look_first,
        name=container.name if container else _instance(job).name,
        failing=job.failing and verb in {Verb.RESTART, Verb.STOP},
        timeout=timeout,
    )


def _turn(job: Job) -> tuple[int, str]:
    """The higher priority first, then by name."""
    instance = _instance(job)
    return -instance.priority, instance.name


def _instance(job: Job) -> Instance:
    assert job.instance is not None, f"a {job.kind} has an instance"  # noqa: S101  # a law of jobs.survey, not input
    return job.instance


def _container(job: Job) -> Container:
    assert job.container is not None, f"a {job.kind} has a container"  # noqa: S101  # a law of jobs.survey, not input
    return job.container


def _memory_of(job: Job) -> int:
    return job.container.memory if job.container is not None and job.container.running else 0
