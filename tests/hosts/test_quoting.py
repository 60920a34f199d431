"""What stands in an argv arrives in an argv: through OpenSSH, whatever login shell, sh, docker, into a container."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from reconciler.hostkeys import HostKeys
from reconciler.shell import Arg, home_path, join, split
from reconciler.ssh import Link
from state.desired import Spark
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

LONG = os.environ.get("SPARKKEEP_LONG") == "1"
SHELLS = {"bash": "/bin/bash", "fish": "/usr/bin/fish", "csh": "/bin/csh"}
IN_PROCESS = 100_000 if LONG else 20_000
BATCH = 50  # arguments in one container
BATCHES = 40 if LONG else 14  # for each login shell: 2,100 arguments in all, 6,000 in the long run
SINGLE = 200 if LONG else 70  # commands for each login shell
ARGV = "/opt/keep/bin/keep-argv"

NASTY = (
    "", "-", "--", "-rf", "--help", "--name=x", "$(touch /tmp/broken)", "`touch /tmp/broken`", "${HOME}", "$HOME", "~", "*", "a b",
    "a\nb", "\n", "'", '"', "'\"'\"'", "\\", "\\'", "!!", "!$", "!x", ";", "&&", "|", ">/tmp/broken", "}", "{", "#", "é", "日本", "🦊",
    "\x1b[0m", "\t", "\r\n", "a=b", "%s", "\x7f", "0", "\\n", "^x^y", "(a)", "[a]", "?", "@", "\u2028", "\ufeff", "a\\\nb", "'\n!'", "exit",
)  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
shelly = st.text("'\"\\$`!(){}[]<>|&;#~*? \n\t-=ax", max_size=12)
words = st.sampled_from(NASTY) | text | shelly
long_words = st.builds(lambda word, times: word * times, text | shelly, st.integers(2, 2000))


def generated(count: int, number: int) -> list[str]:
    """`count` arguments, one in twenty of them long; the same ones every time."""
    found: list[str] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(words, min_size=19, max_size=19), long_words)
    def collect(some: list[str], one: str) -> None:
        if len(found) < count:
            found.extend([*some, one[:20_000]])

    collect()
    return found[:count]


def batches(arguments: list[str], size: int) -> list[list[str]]:
    return [arguments[at : at + size] for at in range(0, len(arguments), size)]


@pytest.mark.timeout(240)
def test_splitting_gives_back_every_argv() -> None:
    seen = 0
    per = 40

    @settings(max_examples=IN_PROCESS // per, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(words, min_size=per - 1, max_size=per - 1), long_words)
    def check(some: list[str], one: str) -> None:
        nonlocal seen
        for start, argv in enumerate([*some, one][at : at + 1 + at % 4] for at in range(per)):
            assert list(split(join(argv))) == argv, start
            seen += 1

    check()
    assert seen >= IN_PROCESS


@asynccontextmanager
async def linked(fleet: Fleet, host: Host, folder: Path) -> AsyncIterator[Link]:
    keys = HostKeys([fleet.known_hosts], own=folder / "known_hosts")
    link = Link(host.name, Spark(host=host.address, user="root"), keys, key_path=fleet.key, config=())
    try:
        yield link
    finally:
        await link.close()


async def arrived(link: Link, argv: list[Arg]) -> list[str]:
    """The arguments after the program's own name, as it printed them."""
    outcome = await link.run(join(argv), timeout=30)
    assert (outcome.status, outcome.stderr) == (0, "")
    found: list[str] = json.loads(outcome.stdout)
    return found[1:]


@pytest.fixture(params=SHELLS)
def shelled(request: pytest.FixtureRequest, fleet: Fleet, hosts: list[Host]) -> Host:
    """A host whose user has this login shell, with the program that prints its arguments."""
    host = hosts[0]
    shutil.copy(fleet.images / "keep-server", fleet.base / "tools/bin/keep-argv")
    host.set_login_shell(SHELLS[request.param])
    return host


@pytest.mark.timeout(180)
async def test_arguments_arrive_in_a_container(fleet: Fleet, shelled: Host, tmp_path: Path) -> None:
    sent = 0
    async with linked(fleet, shelled, tmp_path) as link:
        for batch in batches(generated(BATCH * BATCHES, 5), BATCH):
            run = ["docker", "run", "--rm", "--network", "none", "keep/argv:1"]
            assert await arrived(link, [*run, *batch]) == batch
            assert shelled.commands()[-1] == [*run, *batch]
            sent += len(batch)
    assert sent == BATCH * BATCHES
    assert "broken" not in shelled.run(["ls", "/tmp"])


@pytest.mark.timeout(120)
async def test_commands_arrive_at_the_host(fleet: Fleet, shelled: Host, tmp_path: Path) -> None:
    async with linked(fleet, shelled, tmp_path) as link:
        for batch in batches(generated(SINGLE * 5, 7), 5):
            assert await arrived(link, [ARGV, *batch]) == batch
        for word in NASTY:
            assert await arrived(link, [ARGV, word]) == [word]
        longest = "é'\n" * 30_000
        assert await arrived(link, [ARGV, longest]) == [longest]
        home: list[Arg] = [home_path("$HOME/a 'b"), home_path("$HOME", before="source=", after=",x=$HOME"), "$HOME"]
        assert await arrived(link, [ARGV, *home]) == ["/root/a 'b", "source=/root,x=$HOME", "$HOME"]
        outcome = await link.run("echo out; echo err >&2; exit 7", timeout=10)
        assert (outcome.status, outcome.stdout, outcome.stderr) == (7, "out\n", "err\n")
    assert "broken" not in shelled.run(["ls", "/tmp"])


@pytest.mark.parametrize("word", ["\0", "a\0b", "--name=\0"])
def test_nul_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        join(["docker", "run", word])
