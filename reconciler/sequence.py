"""The order of one Spark's jobs, and the steps that each takes.

Pure. Stops come before the starts that need their port or their memory, and otherwise as late as they can,
so that nothing is down for longer than it must be. What a Spark can't hold is not started: the arithmetic
goes into the reason. On a Spark an over-committed start does not fail, it hangs the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

from reconciler import launch
from reconciler.draining import drained, wait
from reconciler.holders import blockers, holders, need
from reconciler.images import image_id, registry
from reconciler.job import Job, Kind, held
from reconciler.jobs import SparkView
from reconciler.memory.admission import Promise, Room, admit, evict
from reconciler.memory.estimate import Source
from reconciler.model import NO_WISH, Container, Held, Instance, Key, Step, Verb
from reconciler.on_demand import EVICTED, MAKING_ROOM, made_way, unload
from reconciler.place import gib
from reconciler.preflight.ask import PATIENCE, questions
from reconciler.promised import CHECK, checks, loading
from reconciler.shell import Argv
from reconciler.steps import (
    COMMAND_TIMEOUT,
    container_of,
    deliveries,
    folders,
    free,
    gap,
    in_place,
    instance_of,
    start_again,
    step,
    take_down,
)

PORT_TAKEN: Final = "PortTaken"
ONE_AT_A_TIME: Final = "models start one at a time"
NOT_KNOWN: Final = Source.UNKNOWN.value
ASK_TIMEOUT: Final = PATIENCE + 30.0
PULL_TIMEOUT: Final = 4 * 3600.0
PRUNE_STOP_TIMEOUT: Final = 30.0
NAME, PRIORITY = attrgetter("instance.name"), attrgetter("instance.priority")
# Looking up a member costs more than the rest of a comparison.
CREATE, RECREATE, RESERVE, START = Kind.CREATE, Kind.RECREATE, Kind.RESERVE, Kind.START
PHASE: Final = {  # fetches, removals, changes of what runs, starts
    Kind.PULL: 0,
    Kind.ASK: 0,
    Kind.PRUNE: 1,
    Kind.DISBAND: 1,
    Kind.UNLOAD: 1,
    Kind.UNPAUSE: 2,
    Kind.UPDATE: 2,
    Kind.RESTART: 2,
    Kind.CREATE: 3,
    Kind.RECREATE: 3,
    Kind.START: 3,
    Kind.RESERVE: 3,
}


class Refusal(NamedTuple):
    """Why a start has to wait: the reason, the sentence, and the workloads whose stop would help."""

    reason: str
    message: str
    blockers: tuple[str, ...] = ()


class Sequence:
    """Simulates one Spark's ports and memory while its jobs are put in order. Used once, by `sequence`."""

    def __init__(self, view: SparkView, jobs: Iterable[Job], *, drains: bool = True) -> None:
        self.view = view
        self.drains = drains
        self.leaving: dict[str, Container] = {}  # by id: those that are stopped when their requests have ended
        self.back = 0  # bytes that their stops give back to others
        self.reserve = view.target.reserves[view.spark]
        self.steps: list[Step] = []
        self.held: list[Held] = []
        self.phases = _phases(jobs)
        # By container, as long as the old one stands and its job may still take it down.
        self.recreations = {c.id: j for j in self.phases[-1] if (c := j.container) and j.kind is RECREATE}
        self.stopped: dict[str, Container] = {}  # by id
        self.holders = {port: c for c in view.owned if c.running for port in c.ports}
        self.taken: dict[int, str] = {}
        self.freed = 0
        starting = loading(view.target, view.world, view.spark, view.scan)
        self.checks = checks(view.world, view.spark, view.scan)
        promised = sum(i.memory for _, i in starting) + sum(check.memory for check in self.checks)
        self.available = view.scan.facts.memory_available - promised
        self.listeners = view.scan.facts.listeners
        self.spoken_for = {*self.listeners, *self.holders}  # ports
        # What they take is not in MemAvailable yet.
        self.promised = [Promise(workload=i.workload, memory=i.memory) for _, i in starting if i.memory]
        self.model_starting = next((i.workload for _, i in starting if i.kind == "model"), "")
        self.model_planned = ""
        self.model_leaving = ""  # is to start when requests have ended

    def run(self) -> None:
        """Fetches, questions and removals first, then what changes in place, then starts by priority."""
        fetches, prunes, changes, starts = self.phases
        if fetches:
            self._pull(job for job in fetches if job.kind is Kind.PULL)
            self._ask(job for job in fetches if job.kind is Kind.ASK)
        for job in prunes:
            if not self._waits(job):
                self._take_down(job)
            elif job.container is not None:
                self.back += job.container.memory
        for job in changes:
            if job.kind is not Kind.RESTART:
                self.steps.append(in_place(job))
            else:
                self._restart(job)
        starts = sorted(starts, key=NAME)  # a sort keeps the order of equals
        if self.view.world.wishes:
            starts.sort(key=self._turn)
        for job in sorted(starts, key=PRIORITY, reverse=True):
            self._start(job)

    def _turn(self, job: Job) -> int:
        """What runs always goes first, then whoever was asked for first."""
        instance = instance_of(job)
        return self.view.world.wishes.get(instance.workload, NO_WISH).turn if instance.on_demand else 0

    def _pull(self, jobs: Iterable[Job]) -> None:
        for job in {instance_of(job).spec.image: job for job in jobs}.values():
            image = instance_of(job).spec.image
            login = self.view.target.logins.get(registry(image))
            by = f", as {login.user} of {login.registry} if there is a secret {login.secret}" if login else ""
            effect = f"{image} is fetched{by}; what runs goes on running"
            made = step(job, Verb.PULL, launch.pull(image), effect, PULL_TIMEOUT)
            self.steps.append(replace(made, login=login))

    def _ask(self, jobs: Iterable[Job]) -> None:
        """One question at a time; the others come with the next plan."""
        for job in islice(jobs, 1):
            instance = instance_of(job)
            image = image_id(self.view.scan.images, instance.spec.image)
            argv = questions(instance.engine, image, gpus=instance.spec.gpus)[0]
            effect = f"{instance.spec.image} prints which flags it knows; nothing is started"
            self.steps.append(step(job, Verb.ASK, argv, effect, ASK_TIMEOUT))
            self.checks += (CHECK,)
            self.available -= CHECK.memory

    def _waits(self, job: Job) -> bool:
        """Whether what it ends has requests under way that are waited for.

        People who ask what would happen are told, and shown the steps all the same.
        """
        container = job.container
        if container is None or not self.drains or container.id in self.stopped:
            return False
        if container.id in self.leaving:
            return True
        key = drained(job, self.view.world)
        reason = wait(job, key, self.view.target, self.view.world) if key is not None else None
        if reason is None:
            return False
        self.held.append(reason)
        if self.view.world.lenient:
            return False
        self.leaving[container.id] = container
        self.recreations.pop(container.id, None)
        return True

    def _take_down(self, job: Job, *, look_first: str = "") -> None:
        """Stop and remove the job's container, and count what that gives back."""
        container = container_of(job)
        if container.id in self.stopped:
            return
        self.recreations.pop(container.id, None)
        patience = job.instance.stop_timeout if job.instance else container.stop_timeout
        patience = PRUNE_STOP_TIMEOUT if patience is None else patience
        self.steps.extend(take_down(job, container, patience, look_first, self._drains(job)))
        self.stopped[container.id] = container
        if container.running:
            self.freed += container.memory

    def _drains(self, job: Job) -> Key | None:
        """Whose requests may still keep the stop from being carried out."""
        return drained(job, self.view.world)

    def _restart(self, job: Job) -> None:
        """In one command where the memory for it is there beside the old one's, else stop, look, start."""
        instance, container = instance_of(job), container_of(job)
        if self._waits(job):
            return
        effect = f"{instance.workload} does not answer {gap(self.view, job)}"
        if instance.memory + self.reserve <= self.available:
            argv = launch.restart(container.id[:12], instance.stop_timeout)
            self._free(job, instance, "")
            self._stop(job, Verb.RESTART, argv, effect)
            return
        self._stop(job, Verb.STOP, launch.stop(container.id[:12], instance.stop_timeout), effect)
        look = f"the memory of {instance.workload} must be seen to be back"
        self.steps.append(
            step(
                job,
                Verb.START,
                launch.start(container.id[:12]),
                "runs again",
                COMMAND_TIMEOUT,
                container,
                look,
            )
        )

    def _stop(self, job: Job, verb: Verb, argv: Argv, effect: str) -> None:
        patience = instance_of(job).stop_timeout + COMMAND_TIMEOUT
        self.steps.append(step(job, verb, argv, effect, patience, container_of(job), drains=self._drains(job)))

    def _start(self, job: Job) -> None:
        """A creation, recreation or start, if turn, ports and memory allow it; else the reason why not."""
        instance, kind = instance_of(job), job.kind
        if kind is CREATE and self._just_fits(instance):
            self._emit_start(job, instance, "")
            return
        if self.leaving and job.container is not None and job.container.id in self.leaving:
            return  # it makes way for another start, and its turn comes after that
        alone = instance.alone
        look = f"{self.model_planned} must be ready: {ONE_AT_A_TIME}" if alone and self.model_planned else ""
        forward: list[Job] = []
        reason = (
            (self._not_its_turn(instance) if alone else None)
            or self._ports(job, instance, forward)
            or self._memory(job, instance, forward)
            or (self._whole(instance, forward, look) if instance.ranks > 1 else None)
        )
        if reason is not None:
            self._hold(job, *reason)
            return
        if kind is RESERVE:
            self._reserve(job, instance)
            return
        if kind is RECREATE:
            forward.append(job)
        if forward and not look and self._drained_first(job, instance, forward):
            return
        for other in forward:
            self._take_down(other, look_first=look)
        if self.freed and not look:
            look = self._memory_look(instance)
        self._emit_start(job, instance, look)
        if alone:
            self.model_planned = instance.workload

    def _just_fits(self, instance: Instance) -> bool:
        """Whether nothing has to be asked but for room: a service, with its ports free and its memory there.

        So it is with nearly all of a thousand starts. What is below comes to the same, at three times the cost.
        """
        return (
            instance.kind == "service"
            and instance.ranks == 1
            and instance.memory + self.reserve <= self.available
            and instance.memory_source != NOT_KNOWN
            and self.spoken_for.isdisjoint(instance.ports)
        )

    def _not_its_turn(self, instance: Instance) -> Refusal | None:
        """Why a model that must load alone has to wait."""
        first = self.model_starting
        if first in {"", instance.workload}:
            return None
        return Refusal("WaitingTurn", f"{first} is starting on {self.view.spark}; {ONE_AT_A_TIME}", (first,))

    def _drained_first(self, job: Job, instance: Instance, forward: list[Job]) -> bool:
        """Whether requests are waited for before it can start. Nobody else takes meanwhile what it is about to need.

        One model at a time: while one is drained, no other is taken from its apps only to wait for its turn.
        """
        if instance.alone and self.model_leaving and self._waits_for_any(forward):
            text = f"{self.model_leaving} is to be replaced on {self.view.spark}; {ONE_AT_A_TIME}"
            self._hold(job, "WaitingTurn", text, (self.model_leaving,))
            return True
        others = [other.workload for other in forward if self._waits(other) and other is not job]
        mine = job.container is not None and job.container.id in self.leaving
        if not others and not mine:
            return False
        self._claim(job, instance, mine=mine)
        if not mine:
            text = f"{', '.join(sorted(others))} on {self.view.spark} must make room, and has requests under way"
            self.held.append(held(instance, MAKING_ROOM, text))
        return True

    def _waits_for_any(self, jobs: Iterable[Job]) -> bool:
        """The same as `_waits`, but nothing begins by it."""
        target, world = self.view.target, self.view.world
        keys = [(job, key) for job in jobs if (key := self._drains(job)) is not None]
        return any(wait(job, key, target, world) is not None for job, key in keys)

    def _claim(self, job: Job, instance: Instance, *, mine: bool) -> None:
        own = job.container.memory if mine and job.container is not None else 0
        self._take_memory(instance, max(0, instance.memory - own), doing="waits for requests to end")
        self._take_ports(instance)
        if instance.alone:
            self.model_leaving = instance.workload

    def _whole(self, instance: Instance, forward: list[Job], look: str) -> Refusal | None:
        """Why a rank has to wait for another step of this Spark: its group starts at once or not at all.

        What only has to be stopped for it is stopped, unless another Spark has no room for its rank (`groups.unfit`).
        """
        look, names = look or self._memory_look(instance), ", ".join(sorted(j.workload for j in forward))
        if forward and not look and all(job.kind is Kind.UNLOAD for job in forward):
            for job in forward:
                self._take_down(job)
            self._promise(instance)
            return Refusal(MAKING_ROOM, f"{names} must make room on {self.view.spark}")
        if forward:
            return Refusal("GroupWaits", f"{names} must make room on {self.view.spark}")
        return Refusal("GroupWaits", f"on {self.view.spark}: {look}") if look else None

    def _promise(self, instance: Instance) -> None:
        self._take_memory(instance, instance.memory)
        self._take_ports(instance)

    def _take_memory(self, instance: Instance, size: int, doing: str = "is starting") -> None:
        self.available -= size
        if size:
            self.promised.append(Promise(workload=instance.workload, memory=size, doing=doing))

    def _take_ports(self, instance: Instance) -> None:
        self.spoken_for.update(instance.ports)
        for port in instance.ports:
            self.taken[port] = instance.workload

    def _reserve(self, job: Job, instance: Instance) -> None:
        """Nothing else may take what the head will need when its workers run."""
        self._promise(instance)
        self.model_starting = instance.workload
        self._hold(job, "WaitingForWorkers", job.cause)

    def _emit_start(self, job: Job, instance: Instance, look: str) -> None:
        self._promise(instance)
        if instance.mods:
            self.steps.extend(deliveries(job, look))
        if job.kind is START:
            self._free(job, instance, look)
            self.steps.append(start_again(job, look))
            return
        if instance.create_folders or instance.open_folders:
            self.steps.extend(folders(job, look))
        self._free(job, instance, look)
        creation = self.view.target.creations[instance.spark, instance.name]
        if look or job.cause != creation.cause:
            creation = step(
                job,
                Verb.CREATE,
                creation.argv,
                creation.consequence,
                creation.timeout,
                look_first=look,
                secrets=creation.secrets,
            )
        self.steps.append(creation)

    def _free(self, job: Job, instance: Instance, look: str) -> None:
        if instance.engine != "container":
            self.steps.extend(free(self.view, job, look))

    def _ports(self, job: Job, instance: Instance, forward: list[Job]) -> Refusal | None:
        """Which port stands in the way, if one does. Jobs that give one free are added to `forward`."""
        for port in instance.ports:
            holder = self.holders.get(port)
            if port in self.taken:
                return Refusal(PORT_TAKEN, f"port {port} of {self.view.spark} goes to {self.taken[port]}")
            if holder is None:
                if port in self.listeners:
                    return Refusal(PORT_TAKEN, f"port {port} of {self.view.spark} is taken by {self._listener(port)}")
            elif holder.id not in self.stopped and holder is not job.container:
                giver = self.recreations.get(holder.id)
                if holder.id in self.leaving:
                    text = f"{holder.workload} holds port {port} of {self.view.spark}, and has requests under way"
                    return Refusal(MAKING_ROOM, text)
                if giver is None:
                    return Refusal(PORT_TAKEN, f"port {port} of {self.view.spark} is held by {holder.workload}")
                if giver not in forward:
                    forward.append(giver)
        return None

    def _memory(self, job: Job, instance: Instance, forward: list[Job]) -> Refusal | None:
        """Why it does not fit, if it doesn't. Jobs whose stop makes room are added to `forward`."""
        asked = instance.memory + self.reserve
        known = instance.memory_source != NOT_KNOWN
        if known and asked <= self.available:
            return None
        own = 0 if job.container is None or job.container.id in self.stopped else _memory_of(job)
        room = self.available + self.freed + own + sum(_memory_of(other) for other in forward)
        others = [j for j in self.recreations.values() if j is not job and j not in forward]
        for other in others:
            if asked <= room:
                break
            room += _memory_of(other)
            if _memory_of(other):
                forward.append(other)
        if known and asked <= room:
            return None
        returning = self.view.world.returning.get(self.view.spark, 0)
        if known and asked <= room + returning:
            self._promise(instance)  # nobody else takes what it waits for
            text = f"{instance.workload} needs {gib(instance.memory)}, and the memory of what was stopped comes back"
            return Refusal("MemoryReturning", f"{text} to {self.view.spark}: {gib(returning)} are awaited")
        if known and self.back and asked <= room + returning + self.back:
            self._promise(instance)
            names = ", ".join(sorted(c.workload for c in self.leaving.values()))
            return Refusal(MAKING_ROOM, f"{names} must make room on {self.view.spark}, and has requests under way")
        seen = self._room(job, room - self.available + returning)
        if known and (going := self._evicted(instance, seen, forward)):
            forward += going
            return None
        verdict = admit(instance.workload, need(instance), seen)
        return Refusal(verdict.reason, verdict.message, blockers(instance, seen))

    def _evicted(self, instance: Instance, room: Room, forward: list[Job]) -> list[Job]:
        """The ends of what runs on demand and yields, if they make the room that is missing."""
        there = {i.workload: i for i in self.view.target.instances[self.view.spark]}
        gone = self.stopped.keys() | {other.container.id for other in forward if other.container}
        up = {c.workload: c for c in self.view.owned if c.running and c.id not in gone}
        room = replace(room, holders=tuple(h for h in room.holders if h.workload in up))
        cause = made_way(instance, instance.memory - room.free)
        going = evict(need(instance), room, priority=instance.priority)
        sake = instance.workload if instance.on_demand else ""
        return [unload(there[h.workload], up[h.workload], EVICTED, cause, sake=sake) for h in going]

    def _room(self, job: Job, returning: int) -> Room:
        """The Spark's memory as a refusal tells it; `returning` is what stops of this plan would give back."""
        facts = self.view.scan.facts
        return Room(
            spark=self.view.spark,
            total=facts.memory_total,
            available=facts.memory_available,
            reserve=self.reserve,
            promised=(*self.promised, *self.checks),
            holders=tuple(holders(self.view, {job.workload, *(p.workload for p in self.promised)})),
            returning=returning,
        )

    def _memory_look(self, instance: Instance) -> str:
        """What must be seen before it may start: set when it only fits in memory that stops of this plan give back."""
        if not self.freed or instance.memory + self.reserve <= self.available:
            return ""
        names = ", ".join(sorted({c.workload for c in self.stopped.values() if c.running and c.memory}))
        return f"the memory of {names} must be seen to be back: {gib(instance.memory)} + {gib(self.reserve)} reserve"

    def _listener(self, port: int) -> str:
        foreign = next((c for c in self.view.scan.containers if c.running and port in c.ports), None)
        return f"the container {foreign.name}, which is not ours" if foreign else "a process that is not ours"

    def _hold(self, job: Job, reason: str, message: str, blockers: tuple[str, ...] = ()) -> None:
        old = job.stops
        kept = "; its old container keeps running" if old is not None and old.id not in self.stopped else ""
        if job.container is not None:
            self.recreations.pop(job.container.id, None)
        self.held.append(held(instance_of(job), reason, message + kept, blockers=blockers))


def sequence(view: SparkView, jobs: Iterable[Job], *, drains: bool = True) -> tuple[list[Step], list[Held]]:
    """The steps for one Spark's jobs in the order to run them, and the jobs that have to wait.

    Without `drains` no requests are waited for.
    """
    line = Sequence(view, jobs, drains=drains)
    line.run()
    return line.steps, line.held


def _phases(jobs: Iterable[Job]) -> tuple[list[Job], ...]:
    """The jobs of each phase, in the order given."""
    phases: tuple[list[Job], ...] = ([], [], [], [])
    for job in jobs:
        phases[PHASE[job.kind]].append(job)
    return phases


def _memory_of(job: Job) -> int:
    return job.container.memory if job.container is not None and job.container.running else 0
