"""From nothing to a whole revision, and everything on the way that goes wrong: real sh and curl, real HTTP."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.weights.cache import PART, Want
from reconciler.weights.download import Pace
from reconciler.weights.fetch import fetch
from reconciler.weights.progress import Progress
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Hub
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import MIB, PACE, TOKEN, WEIGHTS, Sparks, check_whole, get, processes

pytestmark = [needs_tools, pytest.mark.timeout(120)]
SLACK = 16_384  # bytes that curl may not have written yet


async def test_from_nothing_to_complete(hub: Hub, spark: LocalSpark) -> None:
    steps: list[Progress] = []
    done = await get(spark, hub, progress=steps.append)
    assert done.why is None, done
    assert (done.commit, done.notes, done.source) == (COMMIT, (), hub.origin.removeprefix("http://"))
    assert done.came == done.total == sum(len(f.data) for f in hub.files) - MIB
    check_whole(spark, hub)
    assert (steps[0].done, steps[0].files_done, steps[0].files) == (0, 0, 5)
    assert (steps[-1].done, steps[-1].files_done, steps[-1].eta) == (done.total, 5, 0.0)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    before = len(hub.seen)
    again = await get(spark, hub)
    assert (again.why, again.came) == (None, 0)
    assert {s.path.split("?")[0].split("/")[1] for s in hub.seen[before:]} == {"api"}  # only asked what there is


@pytest.mark.parametrize("name", ["bash", "dash"])
async def test_either_shell(hub: Hub, name: str, sparks: Sparks) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    spark = sparks("home", program=name)
    hub.cut["model-00001-of-00002.safetensors"] = [MIB]
    assert (await get(spark, hub)).why is None
    check_whole(spark, hub)


async def test_the_token_is_shown_to_the_hub_alone_and_stands_in_no_argv(hub: Hub, spark: LocalSpark) -> None:
    hub.token = TOKEN
    hub.slow = 0.02
    task = asyncio.create_task(get(spark, hub, token=TOKEN))
    argv: set[str] = set()
    while not task.done():
        await asyncio.sleep(0.05)
        argv |= processes()
    assert (await task).why is None
    assert any("curl" in text for text in argv)
    assert not any(TOKEN in text for text in argv)
    check_whole(spark, hub)
    assert {s.authorization for s in hub.seen if s.server == "cdn"} == {""}
    assert {s.authorization for s in hub.seen if s.server == "hub"} == {f"Bearer {TOKEN}"}
    found = subprocess.run(["grep", "-rlF", TOKEN, str(spark.home)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


async def test_killed_in_the_middle_it_goes_on_from_the_byte_where_it_stopped(hub: Hub, spark: LocalSpark) -> None:
    hub.hang["model-00001-of-00002.safetensors"] = MIB
    want = Want(REPO, files=("model-00001-of-00002.safetensors",))
    path, etag = "model-00001-of-00002.safetensors", hub.files[2].etag
    reached: list[int] = []
    task = asyncio.create_task(get(spark, hub, want, progress=lambda p: reached.append(p.done)))
    while not reached or reached[-1] < MIB - SLACK:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await spark.ended()  # nobody killed it: it noticed that nobody listens
    part = spark.folder(REPO) / "blobs" / f"{etag}{PART}"
    have = part.stat().st_size
    assert MIB - SLACK <= have <= MIB
    assert part.read_bytes() == WEIGHTS[:have]
    hub.hang.clear()
    done = await get(spark, hub, want)
    assert (done.why, done.came) == (None, 3 * MIB - have)
    assert hub.bodies(path) == [3 * MIB - have]  # the first answer still hangs
    assert [s.range for s in hub.seen if s.server == "cdn"][-1] == f"bytes={have}-"
    assert (spark.folder(REPO) / "snapshots" / COMMIT / path).read_bytes() == WEIGHTS


async def test_a_connection_that_is_cut_is_taken_up_again_at_once(hub: Hub, spark: LocalSpark) -> None:
    path = "model-00002-of-00002.safetensors"
    hub.cut[path] = [MIB, 512 * 1024, 65_536]
    done = await get(spark, hub)
    assert done.why is None
    assert hub.bodies(path) == [MIB, 512 * 1024, 65_536, 3 * MIB - MIB - 512 * 1024 - 65_536]
    check_whole(spark, hub)


async def test_cut_again_and_again_without_a_byte_it_gives_up_for_now(hub: Hub, spark: LocalSpark) -> None:
    hub.cut["model-00002-of-00002.safetensors"] = [0] * 9
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("ConnectionCut", False)
    assert "closed the connection before the file was whole" in done.why.message
    assert len(hub.bodies("model-00002-of-00002.safetensors")) == PACE.tries


async def test_wrong_bytes_are_thrown_away_and_fetched_once_more(hub: Hub, spark: LocalSpark) -> None:
    hub.wrong = {"model-00001-of-00002.safetensors": 1, "config.json": 1}
    assert (await get(spark, hub)).why is None
    assert hub.bodies("model-00001-of-00002.safetensors") == [3 * MIB, 3 * MIB]
    check_whole(spark, hub)


async def test_wrong_bytes_twice_end_in_words(hub: Hub, spark: LocalSpark) -> None:
    hub.wrong = {"model-00001-of-00002.safetensors": 9}
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("Corrupted", True)
    assert done.why.message.startswith("model-00001-of-00002.safetensors of acme/tiny-model came twice from 127.0.0.1")
    assert hub.bodies("model-00001-of-00002.safetensors") == [3 * MIB, 3 * MIB]
    blobs = spark.folder(REPO) / "blobs"
    assert not (blobs / hub.files[2].etag).exists()
    assert not (blobs / f"{hub.files[2].etag}{PART}").exists()
    assert not (spark.folder(REPO) / "refs" / "main").exists()


async def test_a_damaged_part_does_not_end_up_in_the_cache(hub: Hub, spark: LocalSpark) -> None:
    blobs = spark.folder(REPO) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hub.files[2].etag}{PART}").write_bytes(b"x" * MIB)  # bytes that are not its own
    (blobs / f"{hub.files[3].etag}{PART}").write_bytes(b"x" * 4 * MIB)  # more than there are
    (blobs / hub.files[0].etag).write_bytes(b"{")  # a blob that is too short
    assert (await get(spark, hub)).why is None
    assert hub.bodies("model-00001-of-00002.safetensors") == [2 * MIB, 3 * MIB]
    assert hub.bodies("model-00002-of-00002.safetensors") == [3 * MIB]
    check_whole(spark, hub)


async def test_a_server_without_ranges_begins_anew(hub: Hub, spark: LocalSpark) -> None:
    hub.ranges = False
    hub.cut["model-00001-of-00002.safetensors"] = [MIB]
    assert (await get(spark, hub)).why is None
    check_whole(spark, hub)
    assert hub.bodies("model-00001-of-00002.safetensors")[-1] == 3 * MIB


async def test_large_files_come_in_slices(hub: Hub, spark: LocalSpark) -> None:
    hub.most = MIB
    pace = Pace(tick=0.05, pause=0.05, tries=2, slice=MIB)
    assert (await get(spark, hub, pace=pace)).why is None
    assert hub.bodies("model-00001-of-00002.safetensors") == [MIB, MIB, MIB]
    check_whole(spark, hub)


async def test_a_disk_that_is_too_small_is_seen_before_a_byte_comes(hub: Hub, spark: LocalSpark) -> None:
    done = await get(spark, hub, margin=2**60)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("DiskFull", False)
    assert done.why.message.startswith("6.0 MiB are still to come and 1073741824.0 GiB stay free, but the disk has ")
    assert not spark.hub.exists()
    assert not any(s.server == "cdn" for s in hub.seen)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_a_disk_that_fills_up_meanwhile(hub: Hub, spark: LocalSpark) -> None:
    spark.hub.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", spark.hub], check=False)
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        hub.hang = {f.path: 1024 for f in hub.files if f.lfs}
        task = asyncio.create_task(get(spark, hub))
        while not list(spark.hub.glob("*/blobs/*incomplete")):
            await asyncio.sleep(0.005)
        (spark.hub / "other").write_bytes(b"x" * 6 * MIB)  # somebody else's
        hub.hang.clear()
        hub.released.set()
        done = await task
        assert done.why is not None
        assert (done.why.reason, done.why.terminal) == ("DiskFull", False)
        assert "the disk of the Spark ran full while " in done.why.message
        (spark.hub / "other").unlink()
        assert (await get(spark, hub)).why is None
        check_whole(spark, hub)
    finally:
        subprocess.run(["umount", "-l", spark.hub], check=True)


async def test_a_file_that_may_not_grow_is_a_full_disk_too(hub: Hub, sparks: Sparks) -> None:
    spark = sparks("home", limits="trap '' XFSZ; ulimit -f 2048")  # in 512-byte blocks: 1 MiB
    done = await get(spark, hub)
    assert done.why is not None
    assert done.why.reason == "DiskFull"


WORDS = [
    ("no token", {"token": TOKEN}, "", "Gated", True, "accept its licence on its page at 127.0.0.1"),
    ("no token, secret", {"token": TOKEN}, "", "Gated", True, "set the secret `hf` (sparkkeep secret set hf)"),
    ("wrong token", {"token": TOKEN}, "hf_wrong", "TokenRefused", True, "does not know the token"),
    ("not on the list", {"gated": True}, TOKEN, "Gated", True, "with the account of that token"),
]


@pytest.mark.parametrize(("about", "faults", "token", "reason", "terminal", "words"), WORDS, ids=[w[0] for w in WORDS])
async def test_gated(
    hub: Hub,
    spark: LocalSpark,
    about: str,
    faults: dict[str, object],
    token: str,
    reason: str,
    terminal: bool,
    words: str,
) -> None:
    for name, value in faults.items():
        setattr(hub, name, value)
    done = await get(spark, hub, token=token)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == (reason, terminal)
    assert words in done.why.message
    assert TOKEN not in done.why.message


async def test_what_is_not_there(hub: Hub, spark: LocalSpark) -> None:
    done = await get(spark, hub, Want("acme/no-such-model"))
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("NotFound", True)
    assert "acme/no-such-model at main" in done.why.message
    done = await get(spark, hub, Want(REPO, "v9"))
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("NotFound", True)
    assert "the revision is not there" in done.why.message


async def test_patience_that_the_hub_asks_for(hub: Hub, spark: LocalSpark) -> None:
    hub.fail["api"] = [(429, {"Retry-After": "17"})]
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal, done.retry_after) == ("RateLimited", False, 17.0)
    hub.fail["config.json"] = [(429, {"RateLimit": '"resolvers";r=0;t=55'})]
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal, done.retry_after) == ("RateLimited", False, 55.0)
    assert (await get(spark, hub)).why is None
    check_whole(spark, hub)


async def test_trouble_of_the_hub(hub: Hub, spark: LocalSpark) -> None:
    hub.fail["api"] = [(503, {})]
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("HubDown", False)
    hub.fail["cdn:config.json"] = [(502, {})]
    hub.fail["cdn:model-00001-of-00002.safetensors"] = [(500, {}), (503, {})]
    assert (await get(spark, hub)).why is None  # tried again by itself
    check_whole(spark, hub)


async def test_a_hub_that_can_not_be_reached(spark: LocalSpark, hub: Hub) -> None:
    done = await fetch(spark, Want(REPO), endpoint="http://127.0.0.1:9", pace=PACE)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("Unreachable", False)
    done = await fetch(spark, Want(REPO), endpoint="http://no-such-host.invalid", pace=PACE)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("NameNotResolved", False)


async def test_a_repository_that_was_renamed(hub: Hub, spark: LocalSpark) -> None:
    hub.moved["old/name"] = REPO
    done = await get(spark, hub, Want("old/name", files=("config.json",)))
    assert done.why is None
    assert (spark.folder("old/name") / "snapshots" / COMMIT / "config.json").read_bytes() == hub.files[0].data


async def test_the_listing_is_not_followed_to_another_host(hub: Hub, spark: LocalSpark) -> None:
    hub.fail["api"] = [(307, {"Location": f"{hub.cdn}/api/models/{REPO}/revision/main"})]
    done = await get(spark, hub, token=TOKEN)
    assert done.why is not None
    assert done.why.reason == "HubRefused"
    assert not any(s.server == "cdn" for s in hub.seen)


async def test_a_listing_of_many_pages(hub: Hub, spark: LocalSpark) -> None:
    hub.page = 2
    assert (await get(spark, hub)).why is None
    assert [s.path.rpartition("?")[2] for s in hub.seen if "/tree/" in s.path] == [
        f"recursive=true&limit=1000{more}" for more in ("", "&cursor=2", "&cursor=4", "&cursor=6")
    ]
    check_whole(spark, hub)


async def test_another_program_that_fetches_the_same_file(hub: Hub, spark: LocalSpark) -> None:
    locks = spark.hub / ".locks" / spark.folder(REPO).name
    locks.mkdir(parents=True)
    holder = subprocess.Popen(["flock", str(locks / f"{hub.files[2].etag}.lock"), "sleep", "30"])
    try:
        while (
            subprocess.run(["flock", "-n", str(locks / f"{hub.files[2].etag}.lock"), "true"], check=False).returncode
            == 0
        ):
            await asyncio.sleep(0.02)
        done = await get(spark, hub)
        assert done.why is not None
        assert (done.why.reason, done.why.terminal) == ("Busy", False)
    finally:
        holder.kill()
        holder.wait()


async def test_two_fetches_of_the_same_at_once(hub: Hub, spark: LocalSpark) -> None:
    hub.slow = 0.01
    pace = Pace(tick=0.05, pause=0.05, tries=3, lock_wait=20)
    one, other = await asyncio.gather(get(spark, hub, pace=pace), get(spark, hub, pace=pace))
    assert (one.why, other.why) == (None, None)
    check_whole(spark, hub)
    assert sum(sum(hub.bodies(f.path)) for f in hub.files) == one.total


async def test_missing_tools_are_named(hub: Hub, tmp_path: Path, sparks: Sparks) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "sed", "df", "tail", "id", "stat", "head", "truncate", "mktemp", "sha1sum", "sha256sum"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    spark = sparks("home", path=str(tools), program="/bin/sh")
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("ToolMissing", True)
    assert done.why.message == "the Spark has no curl: sudo apt install curl"
    (tools / "curl").symlink_to(shutil.which("curl") or "")
    done = await get(spark, hub)
    assert done.why is not None
    assert done.why.message == "the Spark lacks flock, which fetching needs"
