"""Brute force on real hosts: controllers killed, links cut, Docker restarted, two controllers at once.

One story from one seed: what is declared changes all the time while forces befall the fleet, first with one controller,
then with two that have nothing in common but their declaration. Afterwards every host tells what it was sent, by whom
and under which lease, and everything is as if nothing had happened.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.forces import STILL, WORKLOADS, Amount, Controller, Story, everything
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.hosts.test_kill import counted, state, undisturbed
from tests.hosts.witness import Sent, Witness, check_order
from tests.scenarios.play import CANARY, Told, check_canaries, put_canaries, quiet, text, watching
from tests.scenarios.real import RealStage
from tests.scenarios.stage import changing

NOTICED = 30.0  # seconds in which what was declared before a command may still be its reason
SILENT = 50  # passes
SHORT = Amount(kills=8, cuts=3, restarts=2, fights=1, slow=0, longest_cut=5.0, calm_every=100)
LONG = Amount(kills=200, cuts=50, restarts=20, fights=5, slow=2, longest_cut=15.0, calm_every=25)
AMOUNT = LONG if os.environ.get("SPARKKEEP_LONG") == "1" else SHORT


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


def check_reasons(story: Story, spark: str, sent: list[Sent]) -> tuple[int, int]:
    """No container was made twice for one reason; how many were made, and how many might have been.

    A container that was made is only made anew for another declaration, whatever befell it since: `still` never. What
    could not be made is tried again, once for each force.
    """
    runs: dict[str, list[Sent]] = {}
    for each in sent:
        if each.verb == "run":
            runs.setdefault(each.name, []).append(each)
    befell = [at for at, _, where in story.forces if where in {"", spark}]
    succeeded = allowed = 0
    for name, tried in runs.items():
        made = [each for each in tried if each.status == 0]
        changed = [(at, spark in where) for at, workload, where in story.changes if name == f"sparkkeep-{workload}"]
        meant = sum(there for _, there in changed)
        assert name != f"sparkkeep-{STILL}" or len(made) == meant == 1, made
        assert len(made) <= meant, f"{name} on {spark}"
        assert len(tried) <= meant + len(befell), f"{name} on {spark}"
        for one, again in pairwise(made):
            assert any(one.began - NOTICED <= at <= again.began for at, _ in changed), f"made twice: {one}, {again}"
        for one, again in pairwise(tried):
            why = (*befell, *(at for at, _ in changed))
            assert any(one.began - NOTICED <= at <= again.began for at in why), f"tried twice: {one}, {again}"
        succeeded, allowed = succeeded + len(made), allowed + meant
    return succeeded, allowed


def check_leases(story: Story, spark: str, sent: list[Sent]) -> int:
    """What was sent fits to what was seen of the leases; how often one controller followed the other."""
    known = dict(story.leases[spark])
    for each in sent:
        assert each.lease is not None
        assert known.setdefault(each.lease.token, each.lease) == each.lease
    holders = [known[token].holder for token in sorted(known)]
    return sum(one != two for one, two in pairwise(holders))


@pytest.mark.timeout(2400)
async def test_nothing_is_doubled_lost_or_touched(stage: RealStage, fleet: Fleet, tmp_path: Path) -> None:
    number = int(os.environ.get("SPARKKEEP_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SPARKKEEP_SEED={number}")  # noqa: T201  # shown when it fails
    rng = random.Random(number)
    final = everything(rng, stage.sparks)
    _, wanted = await undisturbed(stage, tmp_path / "undisturbed", [final])
    await asyncio.to_thread(fleet.each, Host.reset)
    with Witness(fleet, ("anna", "ben")) as witness:
        canaries = await put_canaries(stage)
        stage.clear()
        anna, ben = (Controller(name, stage, tmp_path / name, key) for name, key in witness.keys.items())
        story = Story(stage, AMOUNT, (anna, ben), rng, {spark: found[CANARY] for spark, found in canaries.items()})
        began = time.monotonic()
        try:
            story.declare(everything(rng, stage.sparks))
            await anna.begin()
            await story.part(AMOUNT.alone(), (anna,))
            await ben.begin()
            await story.part(AMOUNT.together(), (anna, ben))
            for each in (anna, ben):
                story.note("kill")
                await asyncio.to_thread(each.kill)
            story.declare(final)
            await asyncio.gather(anna.begin(), ben.begin())
            print(f"{time.monotonic() - began:.0f} s of force")  # noqa: T201
            await story.calm((anna, ben))
            assert await state(stage) == wanted
            stage.clear()
            await asyncio.sleep(2)
            assert not await counted(stage)
            for each in (anna, ben):
                assert not [e for e in each.ask("/api/events?since=0")["events"] if e["reason"] == "JournalReplaced"]
                await asyncio.to_thread(each.end)
            check(story, {spark: witness.sent(stage.host(spark)) for spark in stage.sparks})
            await check_canaries(stage, canaries, Told(name="force", story=quiet, boots=True))
        finally:
            for each in (anna, ben):
                each.kill()
        async with watching(stage, tmp_path / "after", text(stage, final)) as keeper:
            await quiet(stage, keeper, SILENT)
        assert await state(stage) == wanted
        for spark in stage.sparks:
            await story.untouched(spark)


def check(story: Story, sent: dict[str, list[Sent]]) -> None:
    """What the hosts tell, against what befell them; and the figures."""
    holders = {each.name: each.holder for each in story.controllers}
    made = allowed = followed = 0
    for spark, commands in sent.items():
        assert len(commands) == len(changing(story.stage.host(spark).commands())), "none unseen"
        check_order(commands, holders)
        followed += check_leases(story, spark, commands)
        here, meant = check_reasons(story, spark, commands)
        made, allowed = made + here, allowed + meant
    verbs = Counter(each.verb for commands in sent.values() for each in commands)
    unended = sum(each.ended is None for commands in sent.values() for each in commands)
    refused = sum(each.refused() for each in story.controllers)
    befell = Counter(kind for _, kind, _ in story.forces)
    print(  # noqa: T201
        f"{dict(befell)}; {followed} takeovers; {dict(verbs)}, {made} made for {allowed} changes; "
        f"{refused} refused, {unended} without an end"
    )
    assert befell["cut"] == AMOUNT.cuts
    assert befell["restart"] == AMOUNT.restarts
    assert befell["kill"] >= AMOUNT.kills
    assert followed >= len(sent) * (2 * AMOUNT.fights + AMOUNT.slow)
    assert len(sent) + len(WORKLOADS) <= made <= allowed
