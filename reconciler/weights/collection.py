"""Deleting weights that nothing needs: a look, a plan to be shown, and later exactly that plan or nothing.

The plan is made from a look that begins now. `collect` looks again, and deletes only if the plan comes out the same:
its digest names every path and every byte. Whatever is not known for sure refuses the Spark, in words.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from reconciler import shell
from reconciler.engine import docker_host
from reconciler.facts import ScanFailed
from reconciler.hosts import Host
from reconciler.lease import Fence, fenced, was_refused
from reconciler.linkdown import LinkDown
from reconciler.menu_recipes import subject
from reconciler.weights import gc, inventory, needed
from reconciler.weights.gc import GcPlan, GcRefused
from state.recipes import Recipe

LOOK_TIMEOUT: Final = 120.0  # seconds
ASK_TIMEOUT: Final = 30.0
DELETE_TIMEOUT: Final = 900.0  # a disk takes its time for hundreds of gigabytes
INSPECT: Final = """ids=$(docker ps --quiet --no-trunc) || exit 1
if [ -n "$ids" ]; then exec docker inspect --type container $ids; fi
"""


@dataclass(frozen=True, slots=True)
class Needs:
    """What may not go: each declared workload's recipe, the pins of `settings.keep`, what is being fetched there."""

    declared: Mapping[str, Recipe]
    keep: tuple[str, ...] = ()
    fetching: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SparkPlan:
    """What would go from one Spark. `refused`: in words why nothing can be planned there, and `plan` is None then.

    `plan` is None too where there is no cache.
    """

    spark: str
    plan: GcPlan | None = None
    refused: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of a plan on one Spark. `bytes` were planned to go; `problems`: what was left or failed, in words."""

    spark: str
    bytes: int = 0
    deleted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class PlanChanged(Exception):
    """What would be deleted now is not what was agreed to."""

    def __init__(self, now: tuple[SparkPlan, ...]) -> None:
        super().__init__("what would be deleted now is not what this plan says: look at the new one")
        self.now = now


def digest(plans: Iterable[SparkPlan]) -> str:
    """Names exactly what would be deleted on all of these Sparks."""
    content = [
        [each.spark, each.plan.root, [[d.what, d.bytes, d.paths] for d in each.plan.deletions]]
        for each in sorted(plans, key=lambda p: p.spark)
        if each.plan is not None and each.plan.deletions
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:16]


async def plan(
    host: Host, spark: str, needs: Needs, *, socket: str, clock: Callable[[], float] = time.monotonic
) -> SparkPlan:
    """Look at a Spark's cache and containers, and plan. Raises nothing: `refused` says why there is no plan."""
    try:
        return await _plan(host, spark, needs, socket, clock)
    except GcRefused as refused:
        return SparkPlan(spark, refused=str(refused), reason="NotKnown")
    except ScanFailed as failed:
        return SparkPlan(spark, refused=f"{failed}: nothing is deleted", reason=failed.reason)
    except LinkDown as down:
        return SparkPlan(spark, refused=down.message, reason=down.reason)


async def _plan(host: Host, spark: str, needs: Needs, socket: str, clock: Callable[[], float]) -> SparkPlan:
    began, nonce = clock(), secrets.token_hex(16)
    outcome = await host.run(inventory.question(nonce), timeout=LOOK_TIMEOUT)
    seen = inventory.read(outcome.stdout, nonce, spark, began)
    if seen.survey is None:
        return SparkPlan(spark)
    there = [inventory.shown(cached.folder) for cached in seen.survey.cached]
    subjects = {what.repository for recipe in needs.declared.values() if (what := subject(recipe)) is not None}
    models = {repository for repository in subjects if needed.is_of_hub(repository)}
    running = await _running(host, socket)
    real = await _real_paths(host, {source for container in running for source in container.sources})
    planned = gc.plan(
        seen.survey,
        needed.references(needs.declared, needs.keep, there),
        in_use=needed.in_use(running, seen.survey.root, real, [*there, *sorted(models - {*there})]),
        fetching=needs.fetching,
        now=clock(),
    )
    return SparkPlan(spark, replace(planned, kept=(*planned.kept, *seen.unclear)))


async def _running(host: Host, socket: str) -> tuple[needed.Running, ...]:
    """The containers that run now. Raises GcRefused, LinkDown."""
    script = docker_host(socket) + INSPECT
    outcome = await host.run(script, timeout=ASK_TIMEOUT)
    if outcome.status != 0:  # one may have ended between the two commands
        outcome = await host.run(script, timeout=ASK_TIMEOUT)
    if outcome.status == 0:
        return needed.read_running(outcome.stdout)
    said = outcome.stderr.strip().splitlines()[-1:]
    raise GcRefused(f"it is not known which containers run there: {''.join(said)[:300] or 'docker did not say'}")


async def _real_paths(host: Host, sources: Collection[str]) -> dict[str, str]:
    """Where the folders that containers see really are. One that the Spark can't tell is left out."""
    known = sorted(source for source in sources if source.startswith("/") and "\n" not in source)
    if not known:
        return {}
    lines = [f"printf '%s\\n' \"$({shell.join(('readlink', '-f', source))})\"" for source in known]
    outcome = await host.run("\n".join(lines), timeout=ASK_TIMEOUT)
    told = outcome.stdout.splitlines()
    if len(told) != len(known):
        raise GcRefused("it is not known where the folders of the running containers lie: nothing is deleted")
    return {source: path for source, path in zip(known, told, strict=True) if path}


async def carry_out(
    host: Host, planned: GcPlan, *, clock: Callable[[], float] = time.monotonic, fence: Fence | None = None
) -> Collected:
    """Delete what a plan names, all of it or as far as it goes. Raises nothing.

    With a `fence` the Spark does that only while its lease is ours.
    """
    try:
        script = gc.script(planned, clock())
        outcome = await host.run(fenced(script, fence) if fence is not None else script, timeout=DELETE_TIMEOUT)
    except GcRefused as refused:
        return Collected(planned.spark, problems=(str(refused),))
    except LinkDown as down:
        return Collected(planned.spark, problems=(f"{down.message}; what was deleted by then is not known",))
    if was_refused(outcome.status, outcome.stdout):
        return Collected(planned.spark, problems=("its lease is not ours any more: nothing was deleted",))
    lines = outcome.stdout.splitlines()
    problems = [line for line in lines if line != "end"] + outcome.stderr.strip().splitlines()
    if lines[-1:] != ["end"]:
        problems.append("the Spark did not say that it came to the end")
    what = tuple(deletion.what for deletion in planned.deletions)
    return Collected(planned.spark, planned.bytes, what, tuple(line[:300] for line in problems[:20]))
