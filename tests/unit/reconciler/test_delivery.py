"""Mods on their way, by real shells: what arrives is what was read, whole or not at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import delivery
from reconciler.act import Result, act
from reconciler.delivery import Mods, deliver, scripts
from reconciler.hosts import Host
from reconciler.linkdown import CommandTimeout
from reconciler.model import Step, Verb
from reconciler.plan import plan
from reconciler.sessions import Outcome
from reconciler.shell import guarded
from state.folders import FILE_NAME
from state.mods import Mod, ModFile, read_mod
from tests.unit.reconciler.builders import declare, world

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
NAMES = st.from_regex(FILE_NAME, fullmatch=True).filter(lambda name: bool(name.strip(".")) and name != "run.sh")
RUN = ModFile(path="run.sh", data=b"#!/bin/sh\n", executable=True)


class Spark:
    """A Spark's shell, here."""

    def __init__(self, home: Path, shell: str = "sh") -> None:
        self.home, self.sent = home, list[str]()
        self._shell = [shell, "sh"] if shell == "busybox" else [shell]

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        assert 0 < timeout <= 60.0
        assert not reserved
        self.sent.append(script)
        done = await asyncio.to_thread(
            subprocess.run,
            self._shell,
            check=False,
            input=guarded(script).encode(),
            capture_output=True,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"]},
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    @property
    def mods(self) -> Path:
        return self.home / ".sparkkeep" / "mods"


def host(spark: Any) -> Host:
    return cast("Host", spark)


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_arrives_is_what_was_read(shell: str, tmp_path: Path) -> None:
    files = (
        RUN,
        ModFile(path="a b/-rf", data=b"$(id) `id`\n\0\xff"),
        ModFile(path="large", data=bytes(range(256)) * 9000, executable=True),
        ModFile(path="empty", data=b""),
    )
    mod = Mod(name="fix", files=tuple(sorted(files, key=lambda file: file.path)))
    spark = Spark(tmp_path / "a home", shell)
    assert (await deliver(host(spark), mod, timeout=60.0)).status == 0
    assert [place.name for place in spark.mods.iterdir()] == [mod.digest]
    assert read_mod(spark.mods, mod.digest).digest == mod.digest
    assert max(map(len, spark.sent)) < 2 * delivery.PIECE
    spark.sent.clear()
    assert (await deliver(host(spark), mod, timeout=60.0)).status == 0
    assert spark.sent == [f'test -f "$HOME"/.sparkkeep/mods/{mod.digest}/run.sh']


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=40), st.booleans()), max_size=4))
def test_any_files_arrive(files: dict[str, tuple[bytes, bool]]) -> None:
    found = [ModFile(path=path, data=data, executable=x) for path, (data, x) in files.items()]
    mod = Mod(name="fix", files=tuple(sorted([RUN, *found], key=lambda file: file.path)))

    async def check() -> None:
        with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as home:
            patch.setattr(delivery, "PIECE", 16)
            spark = Spark(Path(home))
            assert (await deliver(host(spark), mod, timeout=60.0)).status == 0
            assert read_mod(spark.mods, mod.digest).digest == mod.digest

    asyncio.run(check())


async def test_what_is_cut_short_is_not_there(tmp_path: Path) -> None:
    """Up to its last script nothing has the mod's name; and what has it without a run.sh is replaced."""
    mod = Mod(name="fix", files=(RUN,))
    spark = Spark(tmp_path)
    *before, last = scripts(mod, "n")
    for script in before:
        assert (await spark.run(script, timeout=9)).status == 0
    assert [place.name for place in spark.mods.iterdir()] == [f".new-{mod.digest}-n"]
    (spark.mods / mod.digest / "half").mkdir(parents=True)
    assert (await spark.run(last, timeout=9)).status == 0
    assert read_mod(spark.mods, mod.digest).digest == mod.digest


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / ".sparkkeep").write_text("in the way")
    outcome = await deliver(host(Spark(tmp_path)), Mod(name="fix", files=(RUN,)), timeout=9)
    assert outcome.status == 1
    assert "mkdir" in outcome.stderr


FULL = """#!/bin/sh
head -c 3 > /dev/null
printf half
echo 'base64: write error: No space left on device' >&2
exit 1
"""


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "busybox"])  # which has a base64 of its own
async def test_a_disk_that_runs_full_is_told_and_what_came_so_far_is_neither_used_nor_kept(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: halves of up to 16 MiB lay on the full disk for an hour, one more for each try."""
    mod = Mod(name="fix", files=(ModFile(path="a", data=b"x" * 2 * delivery.PIECE), RUN))
    spark = Spark(tmp_path / "home", shell)
    program = tmp_path / "bin" / "base64"
    program.parent.mkdir()
    program.write_text(FULL)
    program.chmod(0o755)
    with monkeypatch.context() as full:
        full.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        report = await act(step(Verb.DELIVER, mod=mod.digest), host(spark), str, lambda _: mod)
    assert (report.result, report.status) == (Result.FAILED, 1)
    assert report.why is not None
    assert (report.why.reason, report.why.terminal) == ("DiskFull", False)
    assert report.why.message == (
        "a mod could not be put on the Spark: the Spark's disk is full. Free space: `docker image prune`, or models that "
        "nobody uses. (base64: write error: No space left on device)"
    )
    assert list(spark.mods.iterdir()) == []
    report = await act(step(Verb.DELIVER, mod=mod.digest), host(spark), str, lambda _: mod)
    assert report.result is Result.DONE
    assert read_mod(spark.mods, mod.digest).digest == mod.digest


async def test_a_real_disk_that_runs_full(tmp_path: Path) -> None:
    """With a file system of 64 KiB; what lay there before stays, whole."""
    small = tmp_path / ".sparkkeep"
    small.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small))
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        spark, before = Spark(tmp_path), Mod(name="old", files=(RUN,))
        assert (await deliver(host(spark), before, timeout=60.0)).status == 0
        mod = Mod(name="fix", files=(ModFile(path="large", data=b"x" * 2**17), RUN))
        report = await act(step(Verb.DELIVER, mod=mod.digest), host(spark), str, lambda _: mod)
        assert report.why is not None
        assert report.why.reason == "DiskFull"
        assert [place.name for place in spark.mods.iterdir()] == [before.digest]
        assert read_mod(spark.mods, before.digest).digest == before.digest
    finally:
        subprocess.run(("umount", str(small)), check=True)


async def test_mods_are_read_from_the_first_place_that_is_there(tmp_path: Path) -> None:
    for place in ("b", "c"):
        (tmp_path / place / "fix").mkdir(parents=True)
        (tmp_path / place / "fix" / "run.sh").write_text(place)
    mods = Mods([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert await mods.read({"mods/fix"})
    assert mods.digests == {"mods/fix": read_mod(tmp_path / "b", "fix").digest}
    assert not await mods.read({"mods/fix"})
    found = mods.content(str(mods.digests["mods/fix"]))
    assert found is not None
    assert found.files[0].data == b"b"
    (tmp_path / "b" / "fix" / "run.sh").write_text("other")
    assert await mods.read({"mods/fix"})
    assert mods.content(found.digest) is None
    assert await mods.read(set())
    assert mods.digests == {}


async def test_a_mod_that_is_not_there_is_refused_with_the_folder(tmp_path: Path) -> None:
    digests = await Mods([tmp_path / "mods"]).of({"gone"})
    assert str(digests["gone"]) == f"mod gone: there is no such folder in {tmp_path / 'mods'}"
    assert str((await Mods().of({"gone"}))["gone"]) == "mod gone: there is no mods folder"


RECIPE = "{engine: vllm, image: 'keep/echo:1', model: x/y, memory: 8GiB, mods: [fix, mods/more]}"
DIGESTS = {"fix": "aa11", "mods/more": "bb22"}


def test_mods_are_delivered_before_each_rank_is_created() -> None:
    target = declare(f"models: {{m: {{recipe: {RECIPE}, on: s1}}}}", mods=DIGESTS)
    steps = [step for step in plan(target, world(lenient=True)).steps if step.verb is not Verb.MKDIR]
    assert [step.verb for step in steps] == [Verb.DELIVER, Verb.DELIVER, Verb.CREATE]
    assert [step.command for step in steps[:2]] == [
        'cp -r -- mods/fix "$HOME"/.sparkkeep/mods/aa11',
        'cp -r -- mods/more "$HOME"/.sparkkeep/mods/bb22',
    ]
    assert [step.mod for step in steps[:2]] == ["aa11", "bb22"]
    assert steps[0].consequence == "the mod fix lies on s1"
    group = RECIPE.replace("[fix, mods/more]", "[fix]")
    target = declare(f"models: {{m: {{recipe: {group}, across: [s1, s2]}}}}", mods=DIGESTS)
    steps = [step for step in plan(target, world(lenient=True)).steps if step.verb is not Verb.MKDIR]
    assert [(step.spark, step.verb) for step in steps] == [("s2", Verb.DELIVER), ("s2", Verb.CREATE)]


def step(verb: Verb, **more: Any) -> Step:
    return Step(verb=verb, spark="s1", workload="m", argv=("true",), cause="", consequence="", **more)


async def test_a_mod_that_changed_meanwhile_is_planned_again(tmp_path: Path) -> None:
    spark = Spark(tmp_path)
    report = await act(step(Verb.DELIVER, mod="aa11"), host(spark), str, lambda _: None)
    assert report.result is Result.NOT_DONE
    assert spark.sent == []
    mod = Mod(name="fix", files=(RUN,))
    report = await act(step(Verb.DELIVER, mod=mod.digest), host(spark), str, lambda _: mod)
    assert report.result is Result.DONE
    assert read_mod(spark.mods, mod.digest).digest == mod.digest


class Slow(Spark):
    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        raise CommandTimeout("CommandTimeout", f"{script} took longer than {timeout} s, {reserved}")


async def test_freeing_memory_never_fails_a_launch(tmp_path: Path) -> None:
    free = step(Verb.FREE)
    assert (await act(free, host(Slow(tmp_path)), str)).result is Result.DONE
    refused = Step(verb=Verb.FREE, spark="s1", workload="m", argv=("false",), cause="", consequence="")
    report = await act(refused, host(Spark(tmp_path)), str)
    assert (report.result, report.status, report.why) == (Result.DONE, 1, None)
    assert (await act(step(Verb.MKDIR), host(Slow(tmp_path)), str)).result is Result.UNKNOWN
