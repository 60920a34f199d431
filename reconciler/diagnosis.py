"""What would help a workload that is not as it should be, as a colleague would put it: concrete, and with numbers.

Pure. The plan says what is in the way; here stands what a person can do about it: lower a flag to the value that
fits, state the memory, stop one workload, use another Spark, or run one command. Nothing is proposed that the
numbers at hand do not support.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import floor
from typing import Final

from pydantic import JsonValue

from reconciler.access import waits_for
from reconciler.images import familiar, identity, image_id
from reconciler.model import OWNER, Container, Failure, Held, Instance, Plan, Scan, Verb, World
from reconciler.place import gib
from reconciler.preflight.check import check
from reconciler.preflight.tables import Table, shipped
from reconciler.preflight.values import number, text_of
from reconciler.signatures import SIGNATURES
from reconciler.target import Target
from state.engines import spelling
from state.recipes import Recipe

SHARES: Final = {"vllm": ("gpu-memory-utilization", 0.92), "sglang": ("mem-fraction-static", None)}
LEAST_SHARE: Final = 0.1  # of the memory; no engine starts on less
NAMED: Final = 3  # workloads, containers or Sparks that are named; the rest is easily found
BY_ITSELF: Final = "nothing to do: it goes on by itself"
NOT_REACHED: Final = (
    "look at the Spark itself: is it on, on this network, and does `ssh` reach it from here?",
    "`sparkkeep describe {spark}` says since when it does not answer; it is tried again all the time",
)
NO_WEIGHTS: Final = (  # why a launch may wait for weights that don't come
    *("Gated", "TokenRefused", "NotFound", "Forbidden", "RateLimited", "HubDown", "HubRefused", "NameNotResolved"),
    *("Unreachable", "TlsFailed", "CertificateRefused", "ConnectionCut", "Stalled", "Corrupted", "DiskFull", "Busy"),
)
WITHOUT_WEIGHTS: Final = (
    "once that is mended, `sparkkeep reset-backoff {workload}` has {spark} fetch them again at once",
    "`settings: {{fetchWeights: false}}` leaves them to the engine, which starts with whatever lies there",
)
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "FlagRefused": (
        "correct these flags in the recipe; `sparkkeep validate` checks them without a Spark",
        "or take an image whose engine knows them",
    ),
    "NotLaunchable": ("correct its declaration; `sparkkeep validate` checks it without a Spark",),
    "FabricMissing": (
        "write the `interface:` of each Spark in the desired state; `ip -brief address` there lists them",
        "or give one of its interfaces an address that the other Sparks can reach",
    ),
    "WaitingForWorkers": (BY_ITSELF,),
    "GroupWaits": (BY_ITSELF,),
    "GroupReplaced": (BY_ITSELF,),
    "LookFirst": (BY_ITSELF,),
    "CheckingFlags": (BY_ITSELF,),
    "Pulling": (BY_ITSELF,),
    "Building": (BY_ITSELF,),
    "BuildFailed": (
        "mend the folder that the image is built from: a change of any of its files is tried at once",
        "what its last lines don't tell, the whole build does: run it on {spark}, as `sparkkeep plan` shows it",
    ),
    **dict.fromkeys(NO_WEIGHTS, WITHOUT_WEIGHTS),
    "WeightsUnknown": (BY_ITSELF,),
    "WeightsWaiting": (BY_ITSELF,),
    "WeightsFetching": (f"{BY_ITSELF}; `sparkkeep weights` shows how far it is",),
    "WeightsCancelled": ("`sparkkeep reset-backoff {workload}` has {spark} fetch them after all",),
    "Removing": (BY_ITSELF,),
    "ImageMissing": ("take `pull: never` out of the recipe, or bring the image there: `docker pull {image}`",),
    "NameTaken": ("remove or rename that container on {spark}: sparkkeep never touches what is not its own",),
    "Cordoned": ("`sparkkeep uncordon {spark}`, or take `cordon: true` out of the desired state",),
    "Drained": ("`sparkkeep undrain {spark}`, or take `drain: true` out of the desired state",),
    "Suspended": ("`sparkkeep resume {workload}`, or take `suspend: true` out of the desired state",),
    "OnDemand": (
        "nothing to do: the first request that names it starts it",
        "`run: always` in the desired state keeps it running",
    ),
    "MemoryReturning": (BY_ITSELF,),
    "MakingRoom": (BY_ITSELF,),
    "TooDestructive": ("look at `sparkkeep plan`; `sparkkeep apply` releases it",),
    "EmptyDesired": ("look at `sparkkeep plan`; `sparkkeep apply` releases it",),
    "LeaseNotTaken": (BY_ITSELF,),
    "LeaseBusy": (BY_ITSELF,),
    "LeaseHeld": (
        "ask that sparkkeep instead, or stop it: this one takes over at once, or a minute after the other one died",
        "two that shall keep different things on one Spark need different names: `owner:` in the settings",
    ),
    "LeaseUnavailable": ("what the message says, on {spark}",),
    "HostKeyUnknown": ("`sparkkeep trust {spark}` shows its key's fingerprint, for you to compare",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload in the world, for as long as somebody looks at it. `recipe` is None if it is declared no more."""

    target: Target
    world: World
    plan: Plan
    recipe: Recipe | None

    def scan(self, spark: str) -> Scan | None:
        """The Spark's current scan."""
        sight = self.world.sights.get(spark)
        return sight.current if sight is not None else None

    def instance(self, held: Held) -> Instance | None:
        """The instance that something was held back for."""
        found = self.target.instances.get(held.spark, ())
        return next((i for i in found if i.workload == held.workload and i.rank == held.rank), None)

    def room(self, spark: str, besides: str) -> int | None:
        """Bytes that a start of `besides` may take there, with what this plan starts and stops; None if not known."""
        scan = self.scan(spark)
        if scan is None:
            return None
        going = {step.container for step in self.plan.steps if step.verb is Verb.STOP}
        back = sum(c.memory for c in scan.containers if c.running and (c.id in going or c.workload == besides))
        coming = {step.workload for step in self.plan.steps if step.verb in {Verb.CREATE, Verb.START}}
        coming |= {i.workload for i in self.loading(spark)}
        mine = self.target.instances.get(spark, ())
        promised = sum(i.memory for i in mine if i.workload in coming - {besides})
        return scan.facts.memory_available + back - promised - self.target.reserves[spark]

    def loading(self, spark: str) -> list[Instance]:
        """What runs there and has not answered yet."""
        scan = self.scan(spark)
        up = {c.name: c.id for c in scan.containers if c.running} if scan else {}
        return [i for i in self.target.instances.get(spark, ()) if i.alone and i.name in up and not self._answered(i)]

    def _answered(self, instance: Instance) -> bool:
        probe = self.world.probes.get((instance.workload, instance.head or instance.spark))
        return probe is not None and bool(probe.ready_at)


def remedies(held: Held, case: Case) -> tuple[str, ...]:
    """What a person can do about something that is held back, the most fitting first; empty if nothing is known."""
    failure = case.world.failures.get((held.workload, held.spark))
    if failure is not None and failure.reason == held.reason and held.reason != "InsufficientMemory":
        return tuple(_after(held, failure, case.instance(held)))
    if (answer := ANSWERS.get(held.reason)) is not None:
        return tuple(answer(held, case))
    words = WORDS.get(held.reason)
    if words is None:
        sight = case.world.sights.get(held.spark)
        words = NOT_REACHED if sight is not None and sight.unknown == held.reason else ()
    instance = case.instance(held)
    image = instance.spec.image if instance is not None else ""
    return tuple(word.format(spark=held.spark, workload=held.workload, image=image) for word in words)


def advice_of(failure: Failure) -> str:
    """What to do about a failure that was recognised; empty for one that was not."""
    known = (s.advice for s in SIGNATURES if s.reason == failure.reason and s.advice)
    return next((advice for advice in known if advice in failure.message), "")


def flag_warnings(recipe: Recipe, image: Table | None = None) -> tuple[str, ...]:
    """What the tables that ship have to say on a recipe's flags; `image` is what its image itself said, if it did."""
    patched = bool(recipe.mods)
    return tuple(f.message for f in check(recipe.engine, recipe.flags, image, shipped(recipe.engine), patched=patched))


def said_by_image(instance: Instance, case: Case) -> Table | None:
    """The flags that the instance's image said it knows, if it was asked."""
    scan = case.scan(instance.spark)
    image = image_id(scan.images, instance.spec.image) if scan is not None else ""
    return case.world.answers.get((instance.engine, image))


def _after(held: Held, failure: Failure, instance: Instance | None) -> Iterator[str]:
    if advice := advice_of(failure):
        yield advice.removesuffix(".")
    if failure.terminal:
        yield f"it {waits_for(failure.reason, instance)}; `sparkkeep reset-backoff {held.workload}` tries it once more"
    else:
        yield f"it is tried again by itself; `sparkkeep reset-backoff {held.workload}` does it now"


def _for_memory(held: Held, case: Case) -> Iterator[str]:
    """A smaller share, a smaller number, another workload stopped, another Spark, more Sparks."""
    instance, scan = case.instance(held), case.scan(held.spark)
    room = case.room(held.spark, held.workload)
    if instance is None or room is None or scan is None or room >= instance.memory:
        return  # a rank of a group whose other ranks are told of
    yield from _smaller(instance, case.recipe, room, scan.facts.memory_total)
    yield from _who_could_stop(instance, case, scan, instance.memory - room)
    if instance.ranks == 1:
        yield from _elsewhere(instance, case)
    if instance.memory + case.target.reserves[held.spark] > scan.facts.memory_total:
        yield "it does not fit on one Spark: take a smaller quantization, or several Sparks (`across: [...]`)"


def _smaller(instance: Instance, recipe: Recipe | None, room: int, total: int) -> Iterator[str]:
    """What makes it need less: the stated number, the share, the cache or the context."""
    if recipe is not None and recipe.memory is not None:
        if room > 0:
            state = f"`memory: {floor(room / 2**30)}GiB` or less would fit"
            flag = SHARES.get(instance.engine, ("", None))[0]
            honest = f"; `{flag}` has to keep it to that" if flag else ""
            yield f"if it takes less than the recipe states ({gib(recipe.memory)}), correct that: {state}{honest}"
        return
    flags = {spelling(name): (name, value) for name, value in instance.flags.items()}
    if "kv-cache-memory-bytes" in flags:
        yield f"lower `kv-cache-memory-bytes` by {gib(instance.memory - room)} or more"
    elif instance.engine in SHARES:
        yield from _share(instance, flags, room, total)
    elif instance.engine == "trtllm":
        yield "lower `free_gpu_memory_fraction`: it is the share of the free memory that its cache takes"
    elif instance.engine == "llamacpp":
        yield "lower `ctx-size`, or take a smaller quantization (`quant:`)"


def _share(instance: Instance, flags: Mapping[str, tuple[str, JsonValue]], room: int, total: int) -> Iterator[str]:
    """The share that would fit, if what the engine takes beyond it stays the same."""
    flag, usual = SHARES[instance.engine]
    name, value = flags.get(flag, (flag, usual))
    share = number(text_of(value)) if value is not None else None
    if share is None:
        yield f"state a smaller share: `{flag}: ...`"
        return
    fitting = floor((share - (instance.memory - room) / total) * 100) / 100
    if LEAST_SHARE <= fitting < share:
        now = f"now {float(share):g}" if flag in flags else f"{float(share):g} if left out"
        yield f"lower `{name}` to {fitting:g} ({now}), if weights and cache fit into {gib(int(fitting * total))}"


def _who_could_stop(instance: Instance, case: Case, scan: Scan, missing: int) -> Iterator[str]:
    """The least of ours that gives enough back, else the largest; and what is not ours."""
    ours = [c for c in scan.containers if c.running and c.labels.get(OWNER) == case.target.owner and c.memory]
    ours = [c for c in ours if c.workload != instance.workload]
    enough = sorted((c for c in ours if c.memory >= missing), key=lambda c: (c.memory, c.name))
    for container in (enough or sorted(ours, key=lambda c: (-c.memory, c.name)))[:1]:
        yield _stop(container, enough=bool(enough))
    strangers = sorted(c.name for c in scan.containers if c.running and c.labels.get(OWNER) != case.target.owner)
    if strangers:
        names = ", ".join(strangers[:NAMED])
        stop = f"`docker stop {strangers[0]}` there"
        yield f"not ours and running on {instance.spark}: {names}; if nobody needs it, {stop}"


def _stop(container: Container, *, enough: bool) -> str:
    gives = f"gives {gib(container.memory)} back"
    return f"`run: never` for {container.workload} {gives}{'' if enough else ', which alone is not enough'}"


def _elsewhere(instance: Instance, case: Case) -> Iterator[str]:
    """Other Sparks on which it would fit now, the emptiest first."""
    rooms = {
        spark: room
        for spark in case.target.sparks
        if spark != instance.spark and spark not in case.target.cordoned
        if (room := case.room(spark, "")) is not None and room >= instance.memory
    }
    for spark in sorted(rooms, key=lambda spark: (-rooms[spark], spark))[:1]:
        yield f"`on: {spark}`: {spark} has {gib(rooms[spark])} to give"


def _to_know_memory(held: Held, case: Case) -> Iterator[str]:
    yield "state its peak in the recipe, such as `memory: 60GiB`"
    recipe = case.recipe
    if recipe is not None and recipe.model and recipe.engine not in {"nim", "container"}:
        command = f"`sparkkeep weights fetch {held.spark} {recipe.model}`"
        yield f"or bring its files to {held.spark}, from which it is estimated: {command}"


def _for_any(_: Held, case: Case) -> Iterator[str]:
    memory = case.recipe.memory if case.recipe is not None else None
    if memory:
        yield f"make room for {gib(memory)} on one Spark: `run: never` for a workload that can wait"
        yield "or correct `memory:` in the recipe, if it takes less"
    closed = [spark for spark in case.target.sparks if spark in case.target.cordoned]
    if closed:
        yield f"or let {', '.join(closed)} take work again: `sparkkeep uncordon {closed[0]}`"


def _for_silence(_: Held, case: Case) -> Iterator[str]:
    """About the Sparks that do not answer, whichever Spark waits for them."""
    sparks = [spark for spark in case.target.sparks if case.scan(spark) is None]
    if sparks:
        yield from (words.format(spark=sparks[0]) for words in NOT_REACHED)


def _for_turn(held: Held, case: Case) -> Iterator[str]:
    first = next((i.workload for i in case.loading(held.spark) if i.workload != held.workload), "")
    yield f"{BY_ITSELF} as soon as {first or 'that one'} answers"
    if first:
        yield f"`sparkkeep logs {first} -f` shows how far it is; `run: never` for it lets this one go first"


def _for_port(held: Held, case: Case) -> Iterator[str]:
    """Another port, or an end of what listens there."""
    instance, scan = case.instance(held), case.scan(held.spark)
    ports = instance.ports if instance is not None else ()
    for port in ports:
        holder = next((c for c in scan.containers if c.running and port in c.ports), None) if scan else None
        if holder is not None and holder.labels.get(OWNER) == case.target.owner:
            yield f"`run: never` for {holder.workload}, or another port for one of the two (`port:` in its recipe)"
        elif holder is not None:
            yield f"if nobody needs {holder.name}: `docker stop {holder.name}` on {held.spark}"
            yield "or give this workload another port (`port:` in its recipe)"
        elif scan is not None and port in scan.facts.listeners:
            yield f"`sudo ss -ltnp 'sport = :{port}'` on {held.spark} names the process that listens there"
            yield "or give this workload another port (`port:` in its recipe)"
    if scan is not None and not any(port in scan.facts.listeners for port in ports):
        yield "give one of the two another port (`port:` in its recipe)"


def _for_one_image(held: Held, case: Case) -> Iterator[str]:
    group = next((g for g in case.target.groups if g[0].workload == held.workload), None)
    if group is None:
        return
    instance, sparks = group[0], [i.spark for i in group]
    image, scan = instance.spec.image, case.scan(instance.head)
    digests = _digests(scan, image) if scan is not None else []
    if digests:
        yield f"pin what {instance.head} has: `image: {digests[0]}`"
    yield f"or fetch it anew on {' and '.join(sparks)}: `docker pull {image}`"


def _for_one_revision(held: Held, case: Case) -> Iterator[str]:
    known = {spark: commit for (name, spark), commit in case.world.commits.items() if name == held.workload}
    model = case.recipe.model if case.recipe is not None else ""
    for spark, commit in sorted(known.items())[:1]:
        others = sorted(other for other in known if known[other] != commit)
        fetch = ", ".join(f"`sparkkeep weights fetch {other} {model} --revision {commit}`" for other in others)
        yield f"pin what {spark} has, `revision: {commit}`; the others fetch it at their start, or before: {fetch}"
    anew = " and ".join(f"`sparkkeep weights fetch {spark} {model}`" for spark in sorted(known))
    yield f"or take the newest on all of them: {anew}"


def _digests(scan: Scan, image: str) -> list[str]:
    """What a recipe may write in place of the image's tag to mean exactly this one."""
    marks, name = identity(scan.images, image), familiar(image).partition("@")[0].rpartition(":")[0]
    known = (reference for reference, others in scan.images.items() if marks and others == marks)
    return sorted(reference for reference in known if reference.startswith(f"{name}@sha256:"))


ANSWERS: Final[Mapping[str, Callable[[Held, Case], Iterator[str]]]] = {
    "InsufficientMemory": _for_memory,
    "MemoryUnknown": _to_know_memory,
    "NoSparkFits": _for_any,
    "WaitingTurn": _for_turn,
    "PortTaken": _for_port,
    "ImageDiffers": _for_one_image,
    "RevisionDiffers": _for_one_revision,
    "FabricUnknown": _for_silence,
    "GroupUnknown": _for_silence,
    "PlacementUnknown": _for_silence,
}
