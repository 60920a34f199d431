"""One Spark's surveyor: a survey that fails leaves the last one, and asking is enough to get another."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from reconciler.facts import ScanFailed
from reconciler.linkdown import CommandTimeout, LinkDown
from reconciler.menu import State
from reconciler.menu_recipes import Wanted
from reconciler.shell import guarded
from reconciler.ssh import Outcome
from reconciler.surveyor import LIMIT, Disks, Seen, Surveyor
from state.recipes import Recipe
from tests.unit.reconciler.disks.trees import ONE, Cache

QWEN = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "a/b", "port": 8000})


class RealShell:
    """A Spark that is this machine with another home. `fails` is raised, once, in place of an answer."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.asked: list[float] = []
        self.fails: Exception | None = None
        self.cut = False
        self.answered = asyncio.Event()

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        self.asked.append(timeout)
        failing, self.fails = self.fails, None
        self.answered.set()
        if failing is not None:
            raise failing
        shell = await asyncio.create_subprocess_exec(
            "sh",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )
        out, _ = await shell.communicate(guarded(script).encode())
        text = out.decode(errors="replace")
        return Outcome(shell.returncode or 0, text[:-20] if self.cut else text, "")


@pytest.fixture
def host(tmp_path: Path) -> RealShell:
    cache = Cache(tmp_path / ".cache" / "huggingface" / "hub")
    cache.put("a/b", ONE, "model.safetensors", 5, 1)
    return RealShell(tmp_path)


def surveyor(**more: object) -> Surveyor:
    return Surveyor("s1", now=lambda: 77.0, **more)


async def test_a_survey(host: RealShell) -> None:
    kept = surveyor()
    survey = await kept.run(host)
    assert [model.repo for model in survey.models] == ["a/b"]
    assert survey.taken_at == 77.0
    assert kept.seen == Seen(survey)
    assert host.asked == [LIMIT]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (LinkDown("ConnectionLost", "it is gone"), "ConnectionLost"),
        (CommandTimeout("CommandTimeout", "too slow"), "CommandTimeout"),
        (None, "SurveyCutShort"),
    ],
)
async def test_a_failure_leaves_the_last_survey(host: RealShell, failure: Exception | None, reason: str) -> None:
    kept = surveyor()
    first = await kept.run(host)
    host.fails, host.cut = failure, failure is None
    with pytest.raises((LinkDown, ScanFailed)):
        await kept.run(host)
    assert (kept.seen.survey, kept.seen.reason, kept.seen.failed_at) == (first, reason, 77.0)
    assert kept.seen.message != ""
    host.cut = False
    await kept.run(host)
    assert (kept.seen.reason, kept.seen.failed_at) == ("", None)


async def test_a_recipes_mount_is_looked_into(host: RealShell, tmp_path: Path) -> None:
    Cache(tmp_path / "elsewhere" / "hub").put("other/users", ONE, "model.safetensors", 5, 1)
    mount = {"source": str(tmp_path / "elsewhere"), "target": "/root/.cache/huggingface"}
    if re.fullmatch(r"[A-Za-z0-9/._-]+", str(tmp_path)) is None:
        pytest.skip("this machine's temporary folder is no path that a mount may have")
    recipe = Recipe.model_validate({"image": "x:1", "mounts": [mount]})
    survey = await surveyor(recipes=lambda: [recipe]).run(host)
    assert [model.repo for model in survey.models] == ["a/b", "other/users"]


async def asked(host: RealShell, times: int) -> None:
    async with asyncio.timeout(20):
        while len(host.asked) < times:
            host.answered.clear()
            await host.answered.wait()


async def test_it_goes_on_by_itself_whatever_happens_and_when_asked(host: RealShell) -> None:
    kept = surveyor(every=lambda: 3600.0, retry=0.01)
    host.fails = RuntimeError("a bug")
    task = asyncio.create_task(kept.keep(host))
    await asked(host, 2)  # after the failure
    async with asyncio.timeout(20):
        while kept.seen.survey is None:
            await asyncio.sleep(0.01)
    kept.look()
    await asked(host, 3)  # on request
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_waits_until_there_is_a_connection(host: RealShell) -> None:
    up = asyncio.Event()
    task = asyncio.create_task(surveyor().keep(host, up.wait))
    await asyncio.sleep(0.05)
    assert host.asked == []
    up.set()
    await asked(host, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_all_disks_make_one_menu(host: RealShell) -> None:
    one, two = surveyor(), surveyor()
    disks = Disks(surveyors=lambda: {"s1": one, "s2": two}, wanted=lambda: Wanted(recipes={"q": QWEN}, declared={}))
    assert [entry.state for entry in await disks.menu()] == [State.UNKNOWN]
    await one.run(host)
    (entry,) = await disks.menu()
    assert (entry.state, list(entry.sparks), entry.recipes) == (State.READY, ["s1"], ("q",))
    assert disks.look() == ("s1", "s2")
    assert disks.look("s2") == ("s2",)
    with pytest.raises(KeyError):
        disks.look("s3")
