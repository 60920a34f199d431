"""Files of mods change without a word: the loop looks at them every 30 seconds. In virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from reconciler.loop import MODS_EVERY
from tests.unit.reconciler.in_no_time import in_no_time, keeping
from tests.unit.reconciler.test_worker import Played

TEXT = """
sparks: {s1: {host: 10.0.0.1}}
models:
  m: {recipe: {engine: vllm, model: x/y, image: 'keep/echo:1', memory: 8GiB, mods: [fix]}, on: s1}
"""


def mounted(host: Played) -> str:
    """The folder that the model's container has mounted, by the command that made it."""
    *_, made = (argv for argv in host.commands if argv[1] == "run")
    return next(word for word in made if "/.sparkkeep/mods/" in word)


def changes(host: Played) -> list[str]:
    return [verb for verb in host.verbs() if verb in {"run", "stop", "rm", "start"}]


def test_a_mod_that_changes_on_the_disk_is_another_container_within_half_a_minute(tmp_path: Path) -> None:
    """Symptom: a mod was mended, and nobody noticed until the desired state changed."""
    run = tmp_path / "mods" / "fix" / "run.sh"
    run.parent.mkdir(parents=True)
    run.write_text("echo one")
    host = Played()

    async def story() -> None:
        clock = asyncio.get_running_loop().time
        async with keeping(tmp_path, host, TEXT, mods=[tmp_path / "mods"]) as loop:
            begun = clock()
            await asyncio.sleep(10)
            assert changes(host) == ["run"]
            first = mounted(host)
            run.write_text("echo two")
            await asyncio.sleep(begun + MODS_EVERY - 1 - clock())
            assert changes(host) == ["run"], "nobody has looked at it yet"
            await asyncio.sleep(11)
            assert changes(host) == ["run", "stop", "rm", "run"]
            assert mounted(host) != first
            await asyncio.sleep(10 * MODS_EVERY)
            assert changes(host) == ["run", "stop", "rm", "run"], "what has not changed again is left alone"
            run.unlink()
            await asyncio.sleep(MODS_EVERY + 10)
            assert [held.reason for held in loop.plan().held] == ["NotLaunchable", "Unresolved"]
            assert changes(host) == ["run", "stop", "rm", "run"], "what runs of it stays"
            told = {each.event.reason: each.event.message for each in await loop.history.journal.events()}
            assert told["Stopped"].startswith("changed: mounts ['$HOME/.sparkkeep/mods/")

    in_no_time(story())
