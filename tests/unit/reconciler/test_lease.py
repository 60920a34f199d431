"""The lease of a Spark, as real shells with a real `flock` find it, and a practice Spark's."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import shell
from reconciler.lease import (
    REFUSED,
    Answer,
    Fence,
    Identity,
    Place,
    answer,
    fenced,
    release,
    renew,
    seen,
    take,
    was_refused,
)
from reconciler.practice.files import Files
from reconciler.practice.locks import flock
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from reconciler.practice.shell_words import PROGRAMS

OWNER = "sparkkeep"
ANNA = Identity(holder="1111@desk", life="a1")
ANNA_AGAIN = Identity(holder="1111@desk", life="a2")
BEN = Identity(holder="2222@laptop", life="b1")
EVERYBODY = (ANNA, ANNA_AGAIN, BEN)


class Machine(Protocol):
    place: Place
    uptime: float

    async def sh(self, script: str) -> tuple[int, str]: ...

    def reboot(self) -> None: ...


class Real:
    """This machine's sh, in a folder of its own, with an uptime of its own."""

    def __init__(self, folder: Path, program: str = "sh") -> None:
        self.folder = folder
        folder.chmod(0o1777)
        self.place = Place(folders=(str(folder), "/nowhere"), uptime=str(folder / "uptime"))
        self.file = folder / f"sparkkeep-{OWNER}.lease"
        self.program = program
        self.uptime = 1000.0

    @property
    def uptime(self) -> float:
        return self._uptime

    @uptime.setter
    def uptime(self, seconds: float) -> None:
        self._uptime = seconds
        (self.folder / "uptime").write_text(f"{seconds:.2f} 5.00\n")

    def start(self, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"env": {"PATH": os.defpath}, **more},
        )

    def run(self, script: str, **more: Any) -> tuple[int, str]:
        with self.start(**more) as process:
            out, error = process.communicate(shell.guarded(script), timeout=30)
        assert not error, error
        return process.returncode, out

    async def sh(self, script: str) -> tuple[int, str]:
        return self.run(script)

    def reboot(self) -> None:
        self.file.unlink(missing_ok=True)
        self.uptime = 10.0


class Pretend:
    """A practice Spark's shell."""

    def __init__(self) -> None:
        self.place = Place()
        self.uptime = 1000.0
        self.files = Files()
        self.files.live["/proc/uptime"] = lambda: f"{self.uptime:.2f} 5.00\n"

    async def sh(self, script: str) -> tuple[int, str]:
        out, error = Buffer(), Buffer()
        one = Shell({**PROGRAMS, "flock": flock}, self.files, {})
        status = await one.script(shell.guarded(script), Io(Input(), out, error))
        one.end()
        assert not error.text, error.text
        return status, out.text

    def reboot(self) -> None:
        self.files.reboot()
        self.uptime = 10.0


@pytest.fixture
def real(tmp_path: Path) -> Real:
    return Real(tmp_path)


def fence_of(me: Identity, token: int, machine: Machine) -> Fence:
    return Fence(owner=OWNER, token=token, holder=me.holder, life=me.life, place=machine.place)


async def said(machine: Machine, script: str) -> Answer:
    status, out = await machine.sh(script)
    found = answer(out)
    assert status == 0
    assert found is not None, out
    return found


async def taken(machine: Machine, me: Identity, floor: int = 0) -> Fence:
    found = await said(machine, take(OWNER, me, floor=floor, place=machine.place))
    assert (found.word, found.holder, found.life) == ("took", me.holder, me.life)
    return fence_of(me, found.token, machine)


# The rule


@dataclass
class Rule:
    """What the scripts must do, in a few lines."""

    token: int = 0
    holder: Identity | None = None
    until: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)  # life -> what it believes to hold

    def take(self, me: Identity, floor: int, now: float) -> str:
        theirs = self.holder is not None and self.holder.holder != me.holder and int(now) <= self.until
        if theirs:
            return "held"
        self.token = self.tokens[me.life] = max(self.token, floor) + 1
        self.holder, self.until = me, int(now) + 60
        return "took"

    def holds(self, me: Identity) -> bool:
        return self.holder == me and self.tokens.get(me.life) == self.token

    def renew(self, me: Identity, now: float) -> str:
        if not self.holds(me):
            return "lost"
        self.until = int(now) + 60
        return "kept"

    def release(self, me: Identity) -> str:
        if not self.holds(me):
            return "lost"
        self.holder = None
        return "freed"


doing = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(EVERYBODY), st.integers(0, 30)),
    st.tuples(st.sampled_from(["renew", "release"]), st.sampled_from(EVERYBODY), st.just(0)),
    st.tuples(st.just("wait"), st.none(), st.sampled_from([1, 20, 59, 60, 61, 62, 200])),
    st.tuples(st.just("reboot"), st.none(), st.just(0)),
)


async def follow(machine: Machine, doings: list[tuple[str, Identity | None, int]]) -> None:
    """After each thing done: whose commands run, and nobody else's."""
    rule = Rule()
    for what, who, number in doings:
        now = machine.uptime
        if what == "wait":
            machine.uptime = now + number + 0.25
        elif what == "reboot":
            machine.reboot()
            rule = Rule(tokens=rule.tokens)
        elif who is not None:
            mine = fence_of(who, rule.tokens.get(who.life, 0), machine)
            if what == "take":
                found = await said(machine, take(OWNER, who, floor=number, place=machine.place))
                assert found.word == rule.take(who, number, now)
            elif what == "renew":
                assert (await said(machine, renew(mine, 60))).word == rule.renew(who, now)
            else:
                assert (await said(machine, release(mine))).word == rule.release(who)
        for each in EVERYBODY:
            status, out = await machine.sh(fenced("echo ran", fence_of(each, rule.tokens.get(each.life, 0), machine)))
            assert (status, out) == ((0, "ran\n") if rule.holds(each) else (REFUSED, out))
            assert was_refused(status, out) is not rule.holds(each)


@pytest.mark.parametrize("program", ["dash", "bash"])
@given(doings=st.lists(doing, max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_rule_in_real_shells(program: str, doings: list[Any]) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(Real(Path(folder), path), doings))


@given(doings=st.lists(doing, max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_rule_on_a_practice_spark(doings: list[Any]) -> None:
    asyncio.run(follow(Pretend(), doings))


@pytest.fixture(params=["real", "practice"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    yield Real(tmp_path) if request.param == "real" else Pretend()


async def test_another_one_s_lease_is_told_with_its_age(machine: Machine) -> None:
    await taken(machine, ANNA)
    machine.uptime += 12
    found = await said(machine, take(OWNER, BEN, floor=0, place=machine.place))
    assert found == Answer(word="held", token=1, holder="1111@desk", life="a1", taken_ago=12, renewed_ago=12, left=48)
    lease = seen(found, OWNER, BEN, 1_800_000_000.0)
    assert (lease.reason, lease.ours, lease.expires_at) == ("LeaseHeld", False, 1_800_000_048.0)
    assert lease.told() == (
        "sparkkeep on desk (since 2027-01-15 07:59 UTC) keeps this Spark and renewed its lease at 07:59:48 UTC; this one only looks"
    )


async def test_who_was_robbed_by_its_own_name_takes_nothing_back(machine: Machine) -> None:
    """Two runs with copies of one data folder would else take it from each other for ever."""
    await taken(machine, ANNA)
    await taken(machine, ANNA_AGAIN)
    found = await said(machine, take(OWNER, ANNA, floor=0, robbed=True, place=machine.place))
    assert found.word == "held"
    assert seen(found, OWNER, ANNA, 0.0).message == "another sparkkeep on desk with a copy of this data folder"
    machine.uptime += 61
    assert (await said(machine, take(OWNER, ANNA, floor=0, robbed=True, place=machine.place))).word == "took"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "7",
        "x y z\n",
        "7 1111@desk a1 5 six 7\n",
        "-3 1111@desk a1 1 1 9999\n",
        "7 1111@desk a1 1 5000 9999\n",
    ],
)
async def test_a_line_that_makes_no_sense_or_is_from_another_boot_is_nobody_s(real: Real, line: str) -> None:
    real.file.write_text(line)
    fence = await taken(real, BEN)
    assert real.file.read_text().splitlines()[0] == f"{fence.token} 2222@laptop b1 1000 1000 1060"


async def test_a_shorter_line_over_a_longer_one_is_whole(real: Real) -> None:
    long = await taken(real, Identity(holder=f"{'3' * 36}@{'m' * 100}", life="c1"))
    assert (await said(real, release(long))).word == "freed"
    fence = await taken(real, BEN)
    assert real.run(fenced("echo ran", fence)) == (0, "ran\n")


# Locks


async def test_of_many_that_come_at_once_one_has_it(real: Real) -> None:
    for number in range(5):
        crowd = [Identity(holder=f"{n}@m", life=f"r{number}") for n in range(6)]
        started = [real.start() for _ in crowd]
        for process, me in zip(started, crowd, strict=True):
            assert process.stdin is not None
            process.stdin.write(shell.guarded(take(OWNER, me, floor=0, place=real.place)))
            process.stdin.close()
            process.stdin = None
        found = [answer(process.communicate(timeout=60)[0]) for process in started]
        assert all(found)
        words = sorted(each.word for each in found if each)
        assert words == ["held"] * 5 + ["took"]
        real.uptime += 100


@pytest.mark.parametrize("pretend", [False, True])
async def test_a_shell_that_stays_open_renews_again_and_again_and_keeps_no_lock(real: Real, pretend: bool) -> None:
    machine = Pretend() if pretend else real
    fence = await taken(machine, ANNA)
    once = shell.apart(renew(fence, 60), "mark\n")
    status, out = await machine.sh(f"{once}\n{once}\n{shell.apart(release(fence), 'end')}\necho here")
    words = [line.split()[1] for line in out.splitlines() if line.startswith("sparkkeep-lease ")]
    assert (status, words, out.count("mark\n"), out.endswith("endhere\n")) == (0, ["kept", "kept", "freed"], 2, True)
    taking = take(OWNER, BEN, floor=0, place=machine.place)  # wants the lock for itself, in the shell of the others
    await taken(machine, ANNA)
    _, out = await machine.sh(f"{shell.apart(release(fence_of(ANNA, 2, machine)), '')}\n{taking}")
    assert (found := answer(out.splitlines()[-1])) is not None
    assert found.word == "took"


async def test_nobody_takes_over_while_a_command_runs(real: Real) -> None:
    fence = await taken(real, ANNA)
    os.mkfifo(real.folder / "go")
    script = fenced(f"echo begun; read x < {real.folder / 'go'}; echo ended > {real.folder / 'ended'}", fence)
    with real.start() as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(shell.guarded(script))
        running.stdin.close()
        running.stdin = None
        assert running.stdout.readline() == "begun\n"
        real.uptime += 1000  # it could not renew for long
        found = await said(real, take(OWNER, BEN, floor=0, place=real.place))
        assert (found.word, seen(found, OWNER, BEN, 0.0).reason) == ("busy", "LeaseBusy")
        assert (await said(real, renew(fence, 60))).word == "kept"  # but who runs it may renew
        real.uptime += 1000
        with real.start() as waiting:
            assert waiting.stdin is not None
            waiting.stdin.write(shell.guarded(take(OWNER, BEN, floor=0, place=real.place)))
            waiting.stdin.close()
            waiting.stdin = None
            (real.folder / "go").write_text("now\n")
            out, _ = waiting.communicate(timeout=30)
        first = answer(out)
        assert first is not None
        assert (first.word == "took") <= (real.folder / "ended").exists()
    await taken(real, BEN)
    marker = real.folder / "marker"
    assert real.run(fenced(f"echo > {marker}", fence)) == (REFUSED, "sparkkeep-lease lost\n")
    assert not marker.exists()


async def test_a_sender_that_is_frozen_after_its_command_was_sent_keeps_no_lock(real: Real) -> None:
    """It never says that nothing more comes, and its connection stays for hours: others must be able to take over."""
    fence = await taken(real, ANNA)
    with real.start() as running:
        assert running.stdin is not None
        running.stdin.write(shell.guarded(fenced("echo ran", fence)))
        running.stdin.flush()
        assert running.wait(timeout=30) == 0
        real.uptime += 1000
        await taken(real, BEN)
        running.stdin.close()
        running.stdin = None


async def test_a_practice_spark_makes_them_wait_too() -> None:
    machine = Pretend()
    fence = await taken(machine, ANNA)
    machine.uptime += 1000
    running = asyncio.create_task(machine.sh(fenced("sleep 0.2; echo done", fence)))
    await asyncio.sleep(0.05)
    found = await said(machine, take(OWNER, BEN, floor=0, place=machine.place))
    assert found.word == "took"
    assert running.done()
    assert await running == (0, "done\n")
    assert await machine.sh(fenced("echo ran", fence)) == (REFUSED, "sparkkeep-lease lost\n")


async def test_a_command_keeps_its_status_and_output(real: Real) -> None:
    fence = await taken(real, ANNA)
    assert real.run(fenced("echo out; exit 7", fence)) == (7, "out\n")
    assert not was_refused(REFUSED, "")
    assert not was_refused(0, "sparkkeep-lease lost\n")
    real.reboot()
    assert real.run(fenced("echo out", fence)) == (REFUSED, "sparkkeep-lease gone\n")


# Where it can't be had


@pytest.fixture
def public() -> Iterator[Real]:
    """A machine whose folder others can reach: pytest's own is closed to them, by every session that starts."""
    with tempfile.TemporaryDirectory(prefix="sparkkeep-lease-") as folder:
        yield Real(Path(folder))


async def test_another_user_reads_and_takes_it_too(public: Real) -> None:
    """Two people's controllers log in as different users."""
    real = public
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    await taken(real, ANNA)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    held = answer(real.run(take(OWNER, BEN, floor=0, place=real.place), **nobody)[1])
    assert held is not None
    assert held.word == "held"
    real.uptime += 61
    took = answer(real.run(take(OWNER, BEN, floor=0, place=real.place), **nobody)[1])
    assert took is not None
    assert (took.word, took.token) == ("took", 2)
    assert real.run(fenced("echo ran", fence_of(BEN, 2, real)), **nobody) == (0, "ran\n")
    assert real.run(renew(fence_of(BEN, 2, real), 60), **nobody)[1].startswith("sparkkeep-lease kept 2 ")


async def test_a_first_folder_that_not_everybody_may_use_is_passed_over(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir(mode=0o755)
    real = Real(tmp_path)
    real.place = Place(folders=(str(tmp_path / "first"), str(tmp_path / "second")), uptime=real.place.uptime)
    await taken(real, ANNA)
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["sparkkeep-sparkkeep.lease"]
    (tmp_path / "first").chmod(0o1777)
    await taken(real, BEN)
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["sparkkeep-sparkkeep.lease"]


async def test_what_is_missing_is_told_with_what_to_do(real: Real) -> None:
    sh = shutil.which("sh")
    assert sh is not None
    real.program = sh
    none = answer(real.run(take(OWNER, ANNA, floor=0, place=real.place), env={"PATH": "/nowhere"})[1])
    assert none is not None
    assert "sudo apt-get install util-linux" in seen(none, OWNER, ANNA, 0.0).message
    nowhere = await said(real, take(OWNER, ANNA, floor=0, place=Place(folders=("/nowhere", "/neither"))))
    lease = seen(nowhere, OWNER, ANNA, 0.0)
    assert lease.reason == "LeaseUnavailable"
    assert re.match(r"neither /run/lock nor /dev/shm on this Spark takes a lease file of this user", lease.message)


@pytest.mark.parametrize(
    "text", ["", "sparkkeep-lease", "sparkkeep-lease took x - - 0 0 0 0\n", "took 1 a b 1 1 1 1\n"]
)
def test_other_words_are_no_answer(text: str) -> None:
    assert answer(text) is None
