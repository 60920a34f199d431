"""Weights on real hosts: fetched over TLS, broken off, damaged, out of room, copied, deleted.

What is true of a host's disk is asked of the host's own `sha256sum` and `find`, past sparkkeep.
"""

import asyncio
import random
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.weights.cache import folder_of
from reconciler.weights.failures import gib
from tests.hosts.controllers import MARGIN, Attentive, Controller, controller, served
from tests.hosts.disk import (
    BUFFER,
    CACHE,
    came,
    check_blobs,
    check_nothing_is_named,
    check_whole,
    fill,
    free,
    make_room,
    part_of,
    resize,
    sums,
    tree,
)
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.hub import HUB, BridgeHub, serving
from tests.hosts.shell import wait_for
from tests.hosts.tools import SSH_PATH
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Blob
from tests.unit.reconciler.weights.spark import needs_tools
from tests.unit.reconciler.weights.stage import MIB, processes

pytestmark = [needs_tools, pytest.mark.timeout(120)]

BIG, SMALL, ODD = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "sub/it's $(odd) é.json"
OLD = "0" * 40
TOKEN = "hf_" + random.Random(7).randbytes(16).hex()


def repository(small: int = 2) -> list[Blob]:
    """A model in two files; another `small` is another second file."""
    return [
        Blob("config.json", b'{"architectures": ["Tiny"]}', lfs=False),
        Blob("empty.txt", b"", lfs=False),
        Blob(BIG, random.Random(1).randbytes(3 * MIB), lfs=True),
        Blob(SMALL, random.Random(small).randbytes(2 * MIB), lfs=True),
        Blob(ODD, b"{}", lfs=False),
    ]


def named(hub: BridgeHub, path: str) -> Blob:
    return next(file for file in hub.files if file.path == path)


@pytest.fixture
def hub(fleet: Fleet, hosts: list[Host]) -> Iterator[BridgeHub]:
    with serving(BridgeHub(repository()), fleet) as ready:
        yield ready


@pytest.fixture
async def keeper(fleet: Fleet, hub: BridgeHub, tmp_path: Path) -> AsyncIterator[Controller]:
    async with controller(fleet, tmp_path) as ready:
        yield ready


# Broken off


async def test_a_connection_that_breaks(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    hub.cut[BIG] = [2 * MIB]
    found = await keeper.fetched("spark-1")
    check_whole(hosts[0], hub.files)
    assert [s.range for s in hub.seen if s.path == BIG and s.method == "GET"] == ["", f"bytes={2 * MIB}-"]
    assert (hub.bodies(BIG), hub.bodies(SMALL)) == ([2 * MIB, MIB], [2 * MIB])
    assert (found["attempts"], found["commit"], found["progress"]["source"]) == (1, COMMIT, HUB)


async def test_a_link_that_goes_dead(fleet: Fleet, hub: BridgeHub, hosts: list[Host], tmp_path: Path) -> None:
    """Every packet of the host is lost. It is noticed, waited for, and gone on with; nobody asks for it again."""
    big = named(hub, BIG)
    first, second = hub.hold(BIG, MIB, breaks=True), hub.hold(BIG, 0)
    async with controller(fleet, tmp_path, Attentive) as keeper:
        number = await keeper.begin("spark-1")
        await asyncio.to_thread(first.wait)
        await came(hosts[0], big)
        hosts[0].cut()
        found = await keeper.when(number, lambda found: found["state"] == "waiting")
        assert (found["attempts"], found["nextAt"] is not None) == (1, True)
        check_blobs(hosts[0], hub.files)
        check_nothing_is_named(hosts[0])
        hosts[0].heal()

        await asyncio.to_thread(second.wait)  # the program that nobody listens to has ended: this one has its lock
        have = part_of(hosts[0], big)
        assert have is not None
        assert MIB - BUFFER <= have <= MIB
        assert second.asked == f"bytes={have}-"
        first.let_go()
        second.let_go()
        found = await keeper.over(number)
    assert found["state"] == "done", found
    check_whole(hosts[0], hub.files)
    assert sorted(hub.bodies(BIG)) == [MIB, 3 * MIB - have]


# Damaged


async def test_wrong_bytes_are_thrown_away(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    hub.wrong[BIG] = 1
    hub.hold(BIG, 0).let_go()  # the wrong answer comes at once
    again = hub.hold(BIG, MIB)
    number = await keeper.begin("spark-1")
    await asyncio.to_thread(again.wait)
    assert again.asked == ""
    assert (part_of(hosts[0], named(hub, BIG)) or 0) <= MIB
    assert BIG not in check_blobs(hosts[0], hub.files)
    check_nothing_is_named(hosts[0])
    again.let_go()
    assert (await keeper.over(number))["state"] == "done"
    check_whole(hosts[0], hub.files)
    assert hub.bodies(BIG) == [3 * MIB, 3 * MIB]


async def test_bytes_that_are_wrong_twice_are_refused(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    hub.wrong[BIG] = 2
    found = await keeper.over(await keeper.begin("spark-1"))
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "Corrupted", 1)
    assert f"{BIG} of {REPO} came twice from {HUB} with other bytes than its hash promises" in found["message"]
    assert part_of(hosts[0], named(hub, BIG)) is None
    assert BIG not in check_blobs(hosts[0], hub.files)
    check_nothing_is_named(hosts[0])
    assert not await keeper.complete("spark-1", since=found["endedAt"])
    await keeper.fetched("spark-1")  # whoever asks again, after the hub was mended, begins that file anew
    check_whole(hosts[0], hub.files)
    assert hub.bodies(BIG) == [3 * MIB] * 3


# Out of room


async def test_a_disk_that_is_too_small(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    """Seen before a byte comes."""
    host, total = hosts[0], sum(len(file.data) for file in hub.files)
    resize(host, "16m")
    fill(host, leaving=3 * MIB)
    room = free(host)
    found = await keeper.over(await keeper.begin("spark-1"))
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "DiskFull", 1)
    assert found["message"] == (
        f"{gib(total)} are still to come and {gib(MARGIN)} stay free, but the disk has {gib(room)}: "
        f"{gib(total + MARGIN - room)} too little. `sparkkeep weights gc` shows what could go"
    )
    assert hub.listed_only()
    assert tree(host) == {}
    make_room(host)
    await keeper.fetched("spark-1")
    check_whole(host, hub.files)


async def test_a_disk_that_fills_up_meanwhile(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    host, big, small = hosts[0], named(hub, BIG), named(hub, SMALL)
    resize(host, "16m")
    held = [hub.hold(BIG, MIB), hub.hold(SMALL, MIB)]
    number = await keeper.begin("spark-1")
    for each in held:
        await asyncio.to_thread(each.wait)
    for file in (big, small):
        await came(host, file)
    async with asyncio.timeout(30):  # the others are there
        while len(check_blobs(host, hub.files)) < len(hub.files) - 2:
            await asyncio.sleep(0.02)
    fill(host)
    assert free(host) == 0
    for each in held:
        each.let_go()
    found = await keeper.over(number)
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "DiskFull", 1)
    assert re.search(rf"the disk of the Spark ran full while ({BIG}|{SMALL}) of {REPO} came", found["message"])
    assert not {BIG, SMALL} & check_blobs(host, hub.files)
    check_nothing_is_named(host)
    have = {file.path: part_of(host, file) or 0 for file in (big, small)}
    assert MIB - BUFFER <= have[BIG] < 3 * MIB
    assert MIB - BUFFER <= have[SMALL] < 2 * MIB
    assert not await keeper.complete("spark-1", since=found["endedAt"])

    make_room(host)
    hub.seen.clear()
    await keeper.fetched("spark-1")
    check_whole(host, hub.files)
    for file in (big, small):
        asked = [s.range for s in hub.seen if s.path == file.path and s.method == "GET"]
        assert asked == [f"bytes={have[file.path]}-"]
        assert hub.bodies(file.path) == [len(file.data) - have[file.path]]


async def test_no_room_for_the_names(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    """All bytes are there, so none must fit; but what leads to them takes a little room too."""
    host, folder = hosts[0], f"{CACHE}/hub/{folder_of(REPO)}"
    await keeper.fetched("spark-1")
    host.run(["rm", "-r", f"{folder}/snapshots", f"{folder}/refs"])
    resize(host, "16m")
    fill(host)
    found = await keeper.over(await keeper.begin("spark-1"))
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "DiskFull", 1), found
    lying = tree(host)
    assert not [path for path in lying if path.startswith(f"{folder_of(REPO)}/refs/") or "/ref." in path]
    make_room(host)
    hub.seen.clear()
    await keeper.fetched("spark-1")
    assert hub.listed_only()
    check_whole(host, hub.files)


@contextmanager
def crowded(host: Host) -> Iterator[None]:
    """Nothing more goes into /tmp, which is another disk than that of the cache."""
    host.run(["sh", "-c", "mount -o remount,size=1m /tmp; cat /dev/zero >/tmp/other || :"])
    try:
        yield
    finally:
        host.run(["sh", "-c", "rm /tmp/other; mount -o remount,size=50% /tmp"])


async def test_no_room_for_notes(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    """Bytes that are right are not thrown away, or called damaged, since their sum could not be written down."""
    host, big = hosts[0], named(hub, BIG)
    held = hub.hold(BIG, MIB)
    number = await keeper.begin("spark-1", files=[BIG])
    await asyncio.to_thread(held.wait)
    with crowded(host):
        held.let_go()
        found = await keeper.over(number)
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "DiskFull", 1), found
    assert f"the Spark could not write down what became of {BIG} of {REPO}" in found["message"]
    assert part_of(host, big) == 3 * MIB
    check_nothing_is_named(host)
    await keeper.fetched("spark-1", files=[BIG])
    check_whole(host, [big])
    assert hub.bodies(BIG) == [3 * MIB]


# From the other host


def programs(host: Host) -> str:
    """The command line of everything that runs on a host."""
    return host.run(["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"])


@pytest.mark.skipif(shutil.which("python3", path=SSH_PATH) is None, reason="needs a python3 that hosts have too")
async def test_a_copy_from_the_other_host(keeper: Controller, hub: BridgeHub, hosts: list[Host]) -> None:
    one, two = hosts
    hub.moved["acme/second"] = REPO
    await keeper.fetched("spark-1")
    await keeper.fetched("spark-1", "acme/second")
    await keeper.surveyed("spark-1", "acme/second")
    before = tree(one)
    hub.seen.clear()
    found = await keeper.fetched("spark-2")
    check_whole(two, hub.files)
    assert (found["progress"]["source"], found["notes"]) == ("spark-1", [])
    assert hub.seen
    assert hub.listed_only()
    assert tree(one) == before, "nothing was written where it came from"

    damaged = f"{CACHE}/hub/{folder_of('acme/second')}/blobs/{named(hub, BIG).etag}"
    flipped = (named(hub, BIG).data[7] ^ 1).to_bytes().hex()
    put = f"printf '\\x{flipped}' | dd of={damaged} bs=1 seek=7 conv=notrunc status=none"
    one.run(["bash", "-c", put])
    assert one.run(["sha256sum", damaged]).split()[0] != named(hub, BIG).etag
    hub.seen.clear()
    found = await keeper.fetched("spark-2", "acme/second")
    check_whole(two, hub.files, "acme/second")
    assert found["progress"]["source"] == HUB
    words = f"{BIG} of acme/second came twice from spark-1 with other bytes than its hash promises"
    assert found["notes"] == [f"spark-1: {words}; it was thrown away: going on with another source"]
    assert hub.bodies(BIG) == [3 * MIB]
    async with asyncio.timeout(20):  # the server of the copy ends by itself, when nobody reads its lines
        while "http.server" in programs(one):
            await asyncio.sleep(0.1)


# Deleting


def serve(host: Host, name: str, port: int, *words: str) -> None:
    """A container that sees the cache, and says so or not."""
    mount = f"type=bind,source={CACHE},target=/cache,readonly"
    program = ("keep/echo:1", "--port", str(port), *words)
    host.docker("run", "-d", "--name", name, "--network", "host", "--mount", mount, *program)


def put_links(host: Host) -> None:
    """A repository that lies elsewhere, and in another one a path that leads out of the cache."""
    elsewhere = f"/root/elsewhere/models--acme--linked/snapshots/{COMMIT}"
    host.run(["mkdir", "-p", elsewhere])
    host.run(["sh", "-c", f"echo precious >{elsewhere}/precious.bin"])
    host.run(["ln", "-s", "/root/elsewhere/models--acme--linked", f"{CACHE}/hub/models--acme--linked"])
    lone = f"{CACHE}/hub/models--acme--lone/snapshots/{COMMIT}"
    host.run(["ln", "-s", f"{elsewhere}/precious.bin", f"{lone}/precious.bin"])


def elsewhere(host: Host) -> str:
    return host.run(["sh", "-c", "cd /root/elsewhere && find . -type f -exec sha256sum {} +"])


@contextmanager
def linked(host: Host) -> Iterator[str]:
    put_links(host)
    try:
        yield elsewhere(host)
    finally:
        host.run(["rm", "-rf", "/root/elsewhere"])


async def fill_the_cache(keeper: Controller, hub: BridgeHub) -> list[Blob]:
    """A repository that a container serves, one that nobody needs, and one of which only `main` is declared.

    Gives the files of the revision before.
    """
    hub.moved = dict.fromkeys(("acme/served", "acme/lone", "acme/declared"), REPO)
    await keeper.fetched("spark-1", "acme/served")
    await keeper.fetched("spark-1", "acme/lone")
    old, now = hub.files, repository(small=3)
    hub.revisions = {"v1": OLD}
    await keeper.fetched("spark-1", "acme/declared", revision="v1")
    hub.revisions, hub.files = {"main": COMMIT}, now
    await keeper.fetched("spark-1", "acme/declared")
    return old


async def test_deleting_keeps_what_is_needed(fleet: Fleet, hub: BridgeHub, hosts: list[Host], tmp_path: Path) -> None:
    host = hosts[0]
    recipe = {"engine": "vllm", "image": "keep/echo:1", "model": "acme/declared", "port": 8002}
    models = {"chat": {"recipe": recipe, "on": "spark-1", "suspend": True}}
    async with controller(fleet, tmp_path, models=models) as keeper:
        old = await fill_the_cache(keeper, hub)
        check_whole(host, old, "acme/served")
        serve(host, "other", 9100, "--model", "acme/served")
        with linked(host) as precious:
            await look_and_delete(keeper, hub, host, old)
            assert elsewhere(host) == precious
    assert sums(host, "models--acme--lone") == {}


async def look_and_delete(keeper: Controller, hub: BridgeHub, host: Host, old: Sequence[Blob]) -> None:
    path = "/api/weights/gc?spark=spark-1"
    serve(host, "notebook", 9101)
    refused = (await keeper.get(path))["sparks"]["spark-1"]
    assert (refused["delete"], refused["reason"]) == ([], "NotKnown")
    assert refused["message"].startswith("the container notebook on spark-1 runs, sees the cache")
    host.docker("rm", "--force", "notebook")

    plan = await keeper.get(path)
    small = next(file for file in old if file.path == SMALL)
    total = sum(len(file.data) for file in old)
    assert [(each["what"], each["bytes"]) for each in plan["sparks"]["spark-1"]["delete"]] == [
        (f"acme/declared at {OLD[:12]}", 2 * MIB),
        ("acme/lone: all of it, 1 revision", total),
    ]
    kept = {each["what"]: each["why"] for each in plan["sparks"]["spark-1"]["keep"]}
    assert kept == {
        f"acme/declared at {COMMIT[:12]}": "workload chat",
        f"acme/served at {COMMIT[:12]}": "the running container other",
        "acme/linked": "a link to somewhere outside the cache: left alone",
    }

    # What was agreed to has become a link to elsewhere meanwhile.
    here, there = f"{CACHE}/hub/models--acme--lone", "/root/elsewhere/lone"
    host.run(["cp", "-a", here, there])
    host.run(["mv", here, f"{CACHE}/aside"])
    host.run(["ln", "-s", there, here])
    lying, moved = tree(host), elsewhere(host)
    answer = await keeper.http.post("/api/weights/gc/apply", json={"digest": plan["digest"], "spark": "spark-1"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "PlanChanged")
    assert (tree(host), elsewhere(host)) == (lying, moved)
    host.run(["rm", here])
    host.run(["mv", f"{CACHE}/aside", here])
    host.run(["rm", "-rf", there])

    again = await keeper.get(path)
    assert again["digest"] == plan["digest"]
    answer = await keeper.http.post("/api/weights/gc/apply", json={"digest": plan["digest"], "spark": "spark-1"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["sparks"]["spark-1"]["problems"] == []
    check_whole(host, old, "acme/served")
    check_whole(host, hub.files, "acme/declared")
    left = tree(host, "models--acme--declared")
    assert not [name for name in left if OLD in name or small.etag in name or name == "refs/v1"]
    assert "models--acme--lone" not in tree(host)
    assert tree(host)["models--acme--linked"] == "link /root/elsewhere/models--acme--linked"
    inside = f"/cache/hub/{folder_of('acme/served')}/snapshots/{COMMIT}/config.json"
    assert host.docker("exec", "other", "/bin/cat", inside) == old[0].data.decode()


# The token, and the commands as they are


def test_the_token_goes_to_the_hub_alone(fleet: Fleet, hub: BridgeHub, hosts: list[Host], tmp_path: Path) -> None:
    """The commands as people type them. Whatever runs anywhere is looked at while each request waits for its answer."""
    seen: list[set[str]] = []
    resize(hosts[0], "9g")  # `serve` leaves 8 GiB free; none of it is used
    hub.token, hub.watch = TOKEN, lambda: seen.append(processes())
    with served(fleet, tmp_path) as sparkkeep:
        status, said = sparkkeep.say("weights", "fetch", "spark-1", REPO)
        assert status == 1
        assert f"accept its licence on its page at {HUB}, and set the secret `hf`" in said
        check_nothing_is_named(hosts[0])
        assert sparkkeep.say("secret", "set", "hf", text=TOKEN)[0] == 0
        hub.seen.clear()
        seen.clear()
        status, said = sparkkeep.say("weights", "fetch", "spark-1", REPO)
        assert (status, f"{REPO} at {COMMIT[:12]} is on spark-1" in said) == (0, True), said
        told = sparkkeep.say("actions", "-o", "json")[1]
    check_whole(hosts[0], hub.files)
    assert {s.authorization for s in hub.seen if s.server == "hub"} == {f"Bearer {TOKEN}"}
    assert {s.authorization for s in hub.seen if s.server == "cdn"} == {""}
    assert len(seen) == len(hub.seen) > len(hub.files)
    assert all(any("curl\0" in program for program in sample) for sample in seen)
    assert not [program for sample in seen for program in sample if TOKEN in program]
    assert TOKEN not in said + told
    everywhere = ["/root", "/tmp", "/var/tmp", "/var/log", "/run/keep"]
    assert hosts[0].run(["grep", "-rlF", "-D", "skip", "-f", "-", *everywhere], text=TOKEN, check=False) == ""
    having = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert having == [tmp_path / "data/secrets/hf"]


def test_a_controller_that_is_killed(fleet: Fleet, hub: BridgeHub, hosts: list[Host], tmp_path: Path) -> None:
    """What it had begun ends by itself. Asked again, the next one goes on where that stopped."""
    host, big = hosts[0], named(hub, BIG)
    resize(host, "9g")
    first = hub.hold(BIG, MIB, breaks=True)
    with served(fleet, tmp_path) as sparkkeep:
        assert sparkkeep.say("weights", "fetch", "spark-1", REPO, "--file", BIG, "--detach")[0] == 0
        first.wait()
        wait_for(lambda: (part_of(host, big) or 0) >= MIB - BUFFER, "its bytes to be written")
        assert "curl" in programs(host)
        sparkkeep.kill()
    wait_for(lambda: "curl" not in programs(host), "the program to notice that nobody listens")
    have = part_of(host, big)
    check_nothing_is_named(host)
    first.let_go()
    with served(fleet, tmp_path) as sparkkeep:
        assert '"fetches": []' in sparkkeep.say("weights", "-o", "json")[1]
        assert sparkkeep.say("weights", "fetch", "spark-1", REPO)[0] == 0
    check_whole(host, hub.files)
    assert [s.range for s in hub.seen if s.path == BIG and s.method == "GET" and s.range] == [f"bytes={have}-"]
    assert sorted(hub.bodies(BIG)) == [MIB, 3 * MIB - (have or 0)]
