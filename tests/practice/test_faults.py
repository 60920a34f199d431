"""Faults that are not about SSH itself, and the connection that needs no SSH."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler import facts, shell
from reconciler.practice.faults import Faults
from reconciler.practice.machine import GIB
from reconciler.practice.memory import MemoryConnection
from reconciler.practice.spark import Settings, Spark
from tests.practice.virtual import virtually

RUN = "docker run --detach --network host --name"
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(args=st.lists(words, max_size=6), value=words, label=words)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_argument_arrives_as_it_was(args: list[str], value: str, label: str) -> None:
    spark = Spark("spark-1", settings=Settings(serve=False))
    spark.engine.images.add("img:1")
    link = await MemoryConnection.connect(spark)
    flags = ("--label", f"l={label}", "--env", f"E={value}", "--env", shell.home_path("$HOME/x y", before="H="))
    argv = ("docker", "create", "--name", "one", *flags, "img:1", "first", *args)
    assert (await link.run(shell.REMOTE_SHELL, shell.guarded(shell.join(argv)))).status == 0
    spec = spark.engine.find("one").spec
    assert spec.command == ["first", *args]
    assert spec.labels["l"] == label
    assert (spec.environment["E"], spec.environment["H"]) == (value, "/home/practice/x y")
    found = json.loads((await link.run("docker inspect one")).stdout)[0]
    assert found["Args"] == args
    await spark.close()


async def test_a_cut_hangs_and_a_drop_breaks(spark: Spark, link: MemoryConnection) -> None:
    spark.faults.cut()
    running = asyncio.ensure_future(link.run("true"))
    connecting = asyncio.ensure_future(MemoryConnection.connect(spark))
    await asyncio.sleep(0.01)
    assert not running.done()
    assert not connecting.done()
    spark.faults.heal()
    assert (await running).status == 0
    await connecting
    spark.faults.drop()
    with pytest.raises(ConnectionResetError):
        await link.run("true")
    again = await MemoryConnection.connect(spark)
    assert (await again.run("true")).status == 0


async def test_a_lost_reply_in_memory(spark: Spark, link: MemoryConnection) -> None:
    spark.faults.lose_reply()
    with pytest.raises(ConnectionResetError):
        await link.run(f"{RUN} one img:1")
    assert spark.engine.find("one").state == "running"
    spark.faults.auth_refused()
    with pytest.raises(PermissionError):
        await MemoryConnection.connect(spark)


async def test_no_forwarding_in_memory(spark: Spark, link: MemoryConnection) -> None:
    spark.faults.forwarding_refused()
    with pytest.raises(ConnectionRefusedError):
        await link.open_engine()
    spark.faults.forwarding_refused(False)
    spark.faults.daemon_down()
    with pytest.raises(ConnectionRefusedError):
        await link.open_engine()
    with pytest.raises(ConnectionRefusedError):
        await link.open_port(8000)


def test_a_daemon_restart_interrupts_whoever_waits() -> None:
    async def story(spark: Spark) -> None:
        link = await MemoryConnection.connect(spark)
        await link.run(f"{RUN} plain img:1")
        await link.run(f"{RUN} kept --restart always img:1")
        pulling = asyncio.ensure_future(link.run("docker pull big:1"))
        await asyncio.sleep(0.1)
        await spark.faults.daemon_restart(3)
        result = await pulling
        assert (result.status, "EOF" in result.stderr) == (1, True)
        assert spark.engine.images.find("big:1") is None
        assert spark.engine.find("plain").state == "exited"
        assert spark.engine.find("kept").state == "running"

    virtually(story, pull_seconds=60)


def test_a_stalled_pull() -> None:
    async def story(spark: Spark) -> None:
        link = await MemoryConnection.connect(spark)
        spark.faults.pull_stalls()
        pulling = asyncio.ensure_future(link.run("docker pull big:1"))
        await asyncio.sleep(3600)
        assert not pulling.done()
        spark.faults.pull_stalls(False)
        assert (await pulling).status == 0

    assert virtually(story).faults.counts["pull_stalls"] == 1


def test_exits_to_order() -> None:
    async def story(spark: Spark) -> None:
        link = await MemoryConnection.connect(spark)
        spark.faults.exit_after("img:1", 2, 9, times=1)
        await link.run(f"{RUN} one img:1")
        await link.run(f"{RUN} two img:1")
        await asyncio.sleep(10)
        assert (spark.engine.find("one").state, spark.engine.find("one").exit_code) == ("exited", 9)
        assert spark.engine.find("two").state == "running"
        spark.faults.program_missing("/bin/gone")
        result = await link.run(f"{RUN} three --entrypoint /bin/gone img:1")
        assert (result.status, "executable file not found" in result.stderr) == (127, True)
        assert spark.engine.find("three").state == "created"

    virtually(story)


def test_slow_commands() -> None:
    async def story(spark: Spark) -> None:
        link = await MemoryConnection.connect(spark)
        spark.faults.command_delay(5)
        before = asyncio.get_running_loop().time()
        await link.run("true")
        assert asyncio.get_running_loop().time() - before == 5

    virtually(story)


async def test_a_scan_without_ssh(spark: Spark, link: MemoryConnection) -> None:
    spark.faults.disk_full()
    answer = await link.run(shell.REMOTE_SHELL, shell.guarded(facts.script("n", full=True, cli=True)))
    found = facts.sections(answer.stdout, "n")
    facts.check(found, facts.REQUIRED)
    assert facts.read_facts(found).disk_free == 0


def test_clear_makes_it_healthy() -> None:
    async def story(spark: Spark) -> None:
        faults = spark.faults
        for switch in (
            *(faults.disk_full, faults.pull_stalls, faults.daemon_down, faults.auth_refused),
            *(faults.forwarding_refused, faults.cut, faults.lose_reply),
        ):
            switch()
        faults.max_sessions(1)
        faults.port_taken(80)
        faults.clear()
        assert 80 not in spark.machine.listeners
        link = await MemoryConnection.connect(spark)
        assert (await link.run("docker pull some:1")).status == 0
        assert faults.counts["cut"] == 1

    virtually(story)


def test_every_fault_says_what_it_does() -> None:
    for name, method in vars(Faults).items():
        if not name.startswith("_") and callable(method):
            assert method.__doc__, name


async def test_a_page_cache_is_available_but_not_free(spark: Spark, link: MemoryConnection) -> None:
    spark.faults.page_cache(100 * GIB)
    found = dict(line.split(":") for line in (await link.run("cat /proc/meminfo")).stdout.splitlines())
    sizes = {name: int(text.removesuffix(" kB")) // 1024**2 for name, text in found.items()}
    assert (sizes["MemTotal"], sizes["MemAvailable"], sizes["MemFree"], sizes["Cached"]) == (121, 115, 15, 100)
    spark.faults.memory_taken(40 * GIB)
    assert (spark.machine.memory_available, spark.machine.memory_free) == (75 * GIB, 0)
    with pytest.raises(ValueError, match="can't hold more than there is"):
        spark.faults.memory_taken(116 * GIB)
    spark.faults.clear()
    assert (spark.machine.memory_available, spark.machine.memory_free) == (115 * GIB, 115 * GIB)


@pytest.mark.parametrize("moments", range(6))
async def test_power_lost_twice_leaves_no_port_taken(spark: Spark, link: MemoryConnection, moments: int) -> None:
    """A container ended while it was being ended held its port for ever: "taken by a process that is not ours"."""
    ran = await link.run(f"{RUN} one img:1 --port 9003")
    assert ran.status == 0, ran.stderr
    process = spark.engine.find("one").process
    assert process is not None
    await process.ready.wait()
    assert 9003 in spark.machine.listeners
    hurried = asyncio.ensure_future(spark.engine.crash())
    for _ in range(moments):
        await asyncio.sleep(0)
    hurried.cancel()
    await spark.engine.crash()
    assert 9003 not in spark.machine.listeners
