"""What apps can ask for at one moment: every model by its names, and the instances of it that answer.

Pure, made from the very target and world that the loop plans from, with the verdicts that people are shown: an
instance is a backend while it is Healthy, and at no other time. Of a group only the head answers. What is suspended is
not touched by the loop, and that is all: as long as it answers, apps have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from api.proxies.calls import Backend, Refused
from api.proxies.embeddings.way import way_of
from reconciler.canaries import CANARIES
from reconciler.model import Instance, Key, Plan, World
from reconciler.target import Target
from reconciler.verdict import DEGRADED, HEALTHY, PROGRESSING, UNKNOWN, Verdict, Verdicts
from state.declaration import Declaration
from state.desired import Run

READY, STARTING, STOPPED, NEVER = "ready", "starting", "stopped", "never"
FAILING, ASIDE, LOST, WAITING = "failing", "suspended", "unknown", "waiting"
BY_HEALTH: Final = ((PROGRESSING, STARTING), (UNKNOWN, LOST), (DEGRADED, FAILING))
LISTED: Final = frozenset({READY, STARTING, STOPPED, WAITING})
SHOWN: Final = 100  # names in a refusal, and characters of one
LATEST: Final = ":latest"  # what Ollama's programs put behind a name
GENERAL: Final = "chat"  # what a model is asked of which only the health page is known

Address = Callable[[str], str]
Served = Callable[[Instance, str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One workload that apps may ask for. `kind`: of question, as its probe names it. `limit`: of each instance."""

    name: str
    aliases: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    """What may stand behind each of its names, and an @."""
    kind: str = GENERAL
    run: Run = "always"
    state: str = READY
    sparks: tuple[str, ...] = ()
    since: int = 0
    """Unix seconds: when the first of its containers that answer was started."""
    backends: tuple[Backend, ...] = ()
    limit: int | None = None

    @property
    def listed(self) -> bool:
        """It answers, or would if it were asked and waited for."""
        return self.state in LISTED


@dataclass(frozen=True, slots=True)
class Offers:
    """All of them, by every name that they go by."""

    each: Mapping[str, Offer] = field(default_factory=dict)
    by_name: Mapping[str, Offer] = field(default_factory=dict)

    @classmethod
    def of(cls, offers: Iterable[Offer]) -> Offers:
        """A workload's own name goes before any alias (`state.checks` lets none clash), an alias before NAME@PROMPT."""
        each = {offer.name: offer for offer in offers}
        aliases = {alias: offer for offer in each.values() for alias in offer.aliases}
        prompted = {
            f"{name}@{prompt}": offer
            for offer in each.values()
            for name in (offer.name, *offer.aliases)
            for prompt in offer.prompts
        }
        return cls(each, {**prompted, **aliases, **each})

    def named(self, name: str) -> Offer:
        """The one of that name or alias; programs of Ollama's put `:latest` behind it. Raises Refused (404)."""
        found = self.by_name.get(name)
        if found is None and name.endswith(LATEST):
            found = self.by_name.get(name.removesuffix(LATEST))
        if found is None:
            raise _unknown(name, self.listed)
        return found

    def known(self, name: str) -> bool:
        """Whether something is named so."""
        return name in self.by_name or name.removesuffix(LATEST) in self.by_name

    @property
    def listed(self) -> list[str]:
        """The names that apps may use."""
        return sorted(name for name, offer in self.by_name.items() if offer.listed)

    @property
    def backends(self) -> frozenset[Backend]:
        """All that answer."""
        return frozenset(backend for offer in self.each.values() for backend in offer.backends)


def _unknown(name: str, known: Sequence[str]) -> Refused:
    """404, with what was probably meant."""
    close = get_close_matches(name[:SHOWN], known, n=3)
    hint = f"; did you mean {' or '.join(f'`{found}`' for found in close)}?" if close else ""
    shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
    return Refused(404, "NoSuchModel", f"no model is named `{shown}`{hint}", field="model", allowed=known[:SHOWN])


def look(
    target: Target,
    world: World,
    declared: Mapping[str, Declaration],
    *,
    address: Address,
    served: Served,
    leaving: frozenset[Key] = frozenset(),
    limit: Callable[[str], int | None] = lambda _: None,
) -> Offers:
    """What there is now. `served`: the name that a server gives its model, None while nobody knows yet.

    `leaving`: the instances that a command is about to end.
    """
    minded = replace(target, suspended=frozenset[str]())  # what is suspended is left alone, and may well answer
    verdicts = Verdicts(minded, world, Plan(revision=target.revision))
    found: dict[str, list[tuple[Instance, Verdict]]] = {name: [] for name, d in declared.items() if is_model(d)}
    for instance in (instance for instances in target.instances.values() for instance in instances):
        if instance.rank == 0 and instance.workload in found and (instance.workload, instance.spark) not in leaving:
            found[instance.workload].append((instance, verdicts.on(instance)))
    return Offers.of(
        _offer(declared[name], instances, target, address, served, limit(name)) for name, instances in found.items()
    )


def is_model(declaration: Declaration) -> bool:
    """Whether apps can ask it anything here: a model of any kind, be it declared as one or as a service."""
    recipe = declaration.recipe
    kind = recipe.probe.kind if recipe.probe is not None else "none"
    return declaration.kind == "model" or recipe.engine != "container" or kind in CANARIES


def _offer(
    declaration: Declaration,
    found: list[tuple[Instance, Verdict]],
    target: Target,
    address: Address,
    served: Served,
    limit: int | None,
) -> Offer:
    workload, recipe = declaration.workload, declaration.recipe
    backends, since = list[Backend](), list[float]()
    for instance, verdict in found:
        if verdict.health != HEALTHY or verdict.container is None or (port := port_of(instance)) is None:
            continue
        model = served(instance, verdict.container.id)
        if model is None:
            continue
        backends.append(
            Backend(
                workload=instance.workload,
                spark=instance.spark,
                host=address(instance.spark),
                port=port,
                model=model,
                engine=instance.engine,
                way=way_of(recipe),
                wav=recipe.sound == "wav",
            )
        )
        since.append(verdict.container.started_at)
    kind = recipe.probe.kind if recipe.probe is not None else ""
    return Offer(
        name=declaration.name,
        aliases=tuple(workload.aliases),
        prompts=tuple(recipe.pooling.prompts) if recipe.pooling is not None else (),
        kind=kind if kind in CANARIES else GENERAL,
        run=workload.run,
        state=READY if backends else _state(declaration, found, target),
        sparks=tuple(instance.spark for instance, _ in found),
        since=int(min(since, default=0)),
        backends=tuple(backends),
        limit=limit,
    )


def port_of(instance: Instance) -> int | None:
    """The Spark's port where it answers: the one that its probe asks, else the first that it listens on."""
    return instance.probe.port or next(iter(instance.ports), None)


def _state(declaration: Declaration, found: list[tuple[Instance, Verdict]], target: Target) -> str:
    """In a word, why nobody answers; the sentence is the plan's."""
    on_demand = declaration.workload.run == "on-demand"
    if declaration.workload.run == "never":
        return NEVER
    if declaration.name in target.suspended:
        return ASIDE
    # What is started on demand has been stopped when it is not running, and nothing was wrong with it.
    seen = {v.health for _, v in found if not (on_demand and v.health_reason == "NotRunning")}
    if HEALTHY in seen:  # it serves, and is asked this moment by which name
        return STARTING
    return next((state for health, state in BY_HEALTH if health in seen), STOPPED if on_demand else WAITING)
