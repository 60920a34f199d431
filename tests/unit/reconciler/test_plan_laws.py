"""Laws of the planner, over random fleets: what holds for every plan, whatever was declared and seen."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import shell
from reconciler.job import Kind, job
from reconciler.model import MEMORY, OWNER, Container, Facts, Instance, Plan, Scan, Sight, Step, Verb, World
from reconciler.place import Placements
from reconciler.plan import part, plan
from reconciler.sequence import Sequence
from reconciler.target import Overrides, Target, build, why_missing
from tests.unit.reconciler.builders import GIB, NOW, container, foreign, loaded_from, unknown

SPARKS = ("s1", "s2")
IMAGES = frozenset({"keep/echo:1", "keep/echo:2"})
TOTAL = 100 * GIB
RESERVE = 4 * GIB


@dataclass
class Machine:
    """A Spark that does what it is told, as Docker would."""

    containers: dict[str, Container] = field(default_factory=dict)
    reachable: bool = True
    born: int = 1000

    def sight(self) -> Sight:
        if not self.reachable:
            return unknown(*self.containers.values())
        used = sum(c.memory for c in self.containers.values() if c.running)
        listeners = frozenset(p for c in self.containers.values() if c.running for p in c.ports)
        facts = Facts(boot_id="b", memory_total=TOTAL, memory_available=TOTAL - used, listeners=listeners)
        found = tuple(self.containers.values())
        scan = Scan(
            began=1,
            ended=2,
            taken_at=NOW,
            containers=found,
            images=dict.fromkeys(IMAGES, frozenset[str]()),
            facts=facts,
        )
        return Sight(scan=scan, unknown="", message="")

    def named(self, identity: str) -> Container:
        return next(c for c in self.containers.values() if c.id.startswith(identity))

    def do(self, step: Step, target: Target) -> None:
        identity = str(step.argv[-1])
        if step.verb is Verb.CREATE:
            self._create(step, target)
        elif step.verb is Verb.STOP:
            old = self.named(identity)
            self.containers[old.name] = replace(old, state="exited")
        elif step.verb is Verb.REMOVE:
            old = self.named(identity)
            assert not old.running, "docker rm refuses a running container"
            del self.containers[old.name]
        elif step.verb is Verb.UNPAUSE:  # it has what it had
            old = self.named(identity)
            self.containers[old.name] = replace(old, state="running")
        elif step.verb in {Verb.START, Verb.RESTART}:
            old = self.named(identity)
            need = next((i.memory for i in target.instances[step.spark] if i.name == old.name), old.memory)
            labels = {**old.labels, MEMORY: str(need)}  # what it takes is what is declared now
            self.containers[old.name] = replace(old, state="running", labels=labels)
        elif step.verb is Verb.UPDATE:
            old = self.named(identity)
            self.containers[old.name] = replace(old, restart_policy=str(step.argv[3]))
        self.check()

    def _create(self, step: Step, target: Target) -> None:
        instance = next(i for i in target.instances[step.spark] if i.workload == step.workload)
        assert instance.name not in self.containers, "docker run refuses a name that is taken"
        self.born += 1
        self.containers[instance.name] = container(instance, self.born)

    def check(self) -> None:
        """At no moment do two containers hold one port, or all of them more memory than there is."""
        ports = [p for c in self.containers.values() if c.running for p in c.ports]
        assert len(ports) == len(set(ports)), f"a port is held twice: {ports}"
        used = sum(c.memory for c in self.containers.values() if c.running and c.labels)
        assert used <= TOTAL - RESERVE, "memory is over-committed"


workloads = st.dictionaries(
    st.sampled_from("abcdef"),
    st.fixed_dictionaries(
        {
            "spark": st.sampled_from(SPARKS),
            "port": st.integers(8000, 8003),
            "memory": st.sampled_from((0, 10, 40, 60)),
            "image": st.sampled_from(sorted(IMAGES)),
            "run": st.sampled_from(("always", "always", "always", "never", "on-demand")),
            "priority": st.integers(0, 2),
            "restart": st.sampled_from(("no", "unless-stopped")),
        }
    ),
    max_size=6,
)


def declared(
    found: dict[str, dict[str, object]], *, most: int = 50, suspended: frozenset[str] = frozenset()
) -> Target | None:
    """A target, or None where the random declarations clash in a way that the schema refuses."""
    lines = [f"guards: {{maxDestructive: {most}, allowEmpty: true}}", "services:" if found else "services: {}"]
    taken = set()
    for name, w in found.items():
        if w["run"] != "never" and (w["spark"], w["port"]) in taken:
            return None
        taken.add((w["spark"], w["port"]))
        recipe = f"image: '{w['image']}', port: {w['port']}, memory: {w['memory']}GiB, restart: '{w['restart']}'"
        lines.append(
            f"  {name}: {{recipe: {{{recipe}}}, on: {w['spark']}, run: {w['run']}, priority: {w['priority']}}}"
        )
    loaded = loaded_from("\n".join(lines) + "\n")
    return build(
        loaded.desired,
        loaded.resolved.values(),
        revision="r",
        generations={},
        overrides=Overrides(suspended=suspended),
        placements=Placements(on={}, waiting={}),
    )


def fleet(before: Target, states: random.Random, *, strangers: int) -> dict[str, Machine]:
    """Machines on which an earlier target ran, each container in a state of its own, within ports and memory."""
    machines = {name: Machine() for name in SPARKS}
    number = 0
    for spark, machine in machines.items():
        ports: set[int] = set()
        room = TOTAL - RESERVE
        for instance in before.instances[spark]:
            number += 1
            state = states.choice(("running", "running", "exited", "created", "paused"))
            seen = container(instance, number, state=state)
            if seen.running and (set(seen.ports) & ports or seen.memory > room):
                seen = replace(seen, state="exited")
            if seen.running:
                ports |= set(seen.ports)
                room -= seen.memory
            machine.containers[seen.name] = seen
        for n in range(strangers):
            machine.containers[f"stranger-{n}"] = foreign(f"stranger-{n}", 500 + number * 10 + n)
    return machines


def world(machines: dict[str, Machine], order: random.Random | None = None) -> World:
    sights = {name: machine.sight() for name, machine in machines.items()}
    if order is not None:
        for name, sight in sights.items():
            if sight.scan is not None:
                mixed = list(sight.scan.containers)
                order.shuffle(mixed)
                sights[name] = replace(sight, scan=replace(sight.scan, containers=tuple(mixed)))
        sights = dict(sorted(sights.items(), reverse=True))
    return World(sights=sights, now=NOW)


def one_pass(machines: dict[str, Machine], target: Target) -> Plan:
    """What the loop does with a plan: each Spark's steps up to the first that needs another look."""
    made = plan(target, world(machines))
    for spark, machine in machines.items():
        acted = False
        for step in made.for_spark(spark):
            if step.look_first and acted:
                break
            machine.do(step, target)
            acted = True
    return made


@given(workloads, workloads, st.randoms(use_true_random=False), st.integers(0, 2))
@settings(max_examples=300, deadline=None)
def test_any_fleet_converges_over_safe_steps_and_then_plans_nothing(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random, strangers: int
) -> None:
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=strangers)
    kept = {c.id for m in machines.values() for c in m.containers.values() if c.labels.get(OWNER) is None}
    for _ in range(12):
        if not one_pass(machines, target).steps:
            break
    final = plan(target, world(machines))
    assert final.steps == ()
    assert {h.reason for h in final.held} <= {"OnDemand", "InsufficientMemory"}
    assert kept == {c.id for m in machines.values() for c in m.containers.values() if c.labels.get(OWNER) is None}
    held = {h.workload for h in final.held}
    for spark, machine in machines.items():
        ours = {c.name: c for c in machine.containers.values() if c.labels.get(OWNER)}
        wanted = {i.name: i for i in target.instances[spark]}
        assert set(ours) <= set(wanted)
        for name, instance in wanted.items():
            if instance.workload not in held:
                assert ours[name].state == "running"
                assert ours[name].spec_hash == instance.spec_hash
                assert ours[name].restart_policy == instance.restart


@given(workloads, workloads, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_every_plan_is_explained_quoted_deterministic_and_touches_only_what_is_ours(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random
) -> None:
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=1)
    made = plan(target, world(machines))
    assert made == plan(target, world(machines))
    assert made.steps == plan(target, world(machines, order=dice)).steps
    owned = {c.id for m in machines.values() for c in m.containers.values() if c.labels.get(OWNER)}
    for step in made.steps:
        assert step.cause
        assert step.consequence
        assert step.timeout > 0
        assert shell.split(step.command) == tuple(str(arg) for arg in step.argv)
        assert not step.container or step.container in owned
    assert all(held.reason and held.message for held in made.held)
    busy = {
        (c.workload, spark): 1 for spark, m in machines.items() for c in m.containers.values() if dice.random() < 0.7
    }
    made = plan(target, replace(world(machines), under_way=busy))
    assert all(held.reason and held.message for held in made.held)


@given(workloads, workloads, st.randoms(use_true_random=False), st.sampled_from(SPARKS))
@settings(max_examples=150, deadline=None)
def test_no_step_on_a_spark_that_does_not_answer(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random, gone: str
) -> None:
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=0)
    machines[gone].reachable = False
    made = plan(target, world(machines))
    assert made.for_spark(gone) == ()
    unexplained = {i.workload for i in target.instances[gone]} - {h.workload for h in made.held if h.spark == gone}
    assert not unexplained


@given(workloads, workloads, st.randoms(use_true_random=False), st.integers(0, 3), st.sampled_from((None, *SPARKS)))
@settings(max_examples=300, deadline=None)
def test_one_sparks_part_is_what_the_whole_plan_says_of_it(
    old: dict[str, dict[str, object]],
    new: dict[str, dict[str, object]],
    dice: random.Random,
    most: int,
    gone: str | None,
) -> None:
    before, target = declared(old), declared(new, most=most)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=1)
    if gone is not None:
        machines[gone].reachable = False
    seen = world(machines)
    whole = plan(target, seen)
    for spark in SPARKS:
        one = part(target, partial(concerning, seen), spark)
        assert one.for_spark(spark) == whole.for_spark(spark)
        for kind in ("held", "withheld"):
            assert [e for e in getattr(one, kind) if e.spark == spark] == [
                e for e in getattr(whole, kind) if e.spark == spark
            ]


def concerning(seen: World, spark: str) -> World:
    """Nothing of other Sparks, where one is named."""
    if not spark:
        return seen
    sights = {name: sight for name, sight in seen.sights.items() if name == spark}
    return replace(seen, sights=sights, probes={key: it for key, it in seen.probes.items() if key[1] == spark})


@given(workloads, workloads, st.randoms(use_true_random=False), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_no_plan_takes_down_more_than_the_guard_allows(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random, most: int
) -> None:
    before, target = declared(old), declared(new, most=most)
    if before is None or target is None:
        return
    made = plan(target, world(fleet(before, dice, strangers=0)))
    assert sum(step.destructive for step in made.steps) <= most
    assert all(step.verb in {Verb.STOP, Verb.REMOVE, Verb.CREATE, Verb.UNPAUSE} for step in made.withheld)


@given(workloads, workloads, st.randoms(use_true_random=False), st.sets(st.sampled_from("abcdef")))
@settings(max_examples=150, deadline=None)
def test_nothing_of_a_suspended_workload_is_touched(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random, names: set[str]
) -> None:
    before, target = declared(old), declared(new, suspended=frozenset(names))
    if before is None or target is None:
        return
    made = plan(target, world(fleet(before, dice, strangers=0)))
    assert not {step.workload for step in made.steps} & names


@given(found=workloads)
@settings(deadline=None)
def test_the_jobs_made_beforehand_are_those_of_the_instances(found: dict[str, dict[str, object]]) -> None:
    target = declared(found)
    if target is None:
        return
    instances = {(i.spark, i.name): i for each in target.instances.values() for i in each}
    anew = {key: job(Kind.CREATE, i, None, why_missing(i)) for key, i in instances.items()}
    assert {key: asdict(made) for key, made in target.absent.items()} == {key: asdict(j) for key, j in anew.items()}


@given(workloads, workloads, st.randoms(use_true_random=False), st.integers(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_short_way_of_a_plain_start_comes_to_the_same_as_the_long_one(
    old: dict[str, dict[str, object]], new: dict[str, dict[str, object]], dice: random.Random, strangers: int
) -> None:
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    seen = world(fleet(before, dice, strangers=strangers))
    short = plan(target, seen)
    with (
        patch.object(Sequence, "_just_fits", lambda *_: False),
        patch.object(Instance, "plain", property(lambda _: False)),
    ):
        assert plan(target, seen) == short
