"""From another Spark: copied, checked, and the hub where the other can not."""

from __future__ import annotations

import asyncio
import http.client
import shutil
from pathlib import Path

import pytest

from reconciler.weights.cache import PART, Found, Want, completeness
from reconciler.weights.fetch import fetch
from reconciler.weights.peer import Peer, serving
from reconciler.weights.progress import Progress
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Hub
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import MIB, PACE, WEIGHTS, Sparks, check_whole, get, processes

pytestmark = [needs_tools, pytest.mark.timeout(120)]


async def test_a_copy_from_a_peer(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    hub.seen.clear()
    done = await get(spark, hub, peers=[Peer("spark-2", other, "127.0.0.1")])
    assert (done.why, done.source, done.notes) == (None, "spark-2", ())
    assert done.came == done.total
    check_whole(spark, hub)
    assert not any("resolve" in s.path or s.server == "cdn" for s in hub.seen)  # only the listing came from the hub
    await other.ended()  # the server is gone


async def test_a_peer_is_asked_without_the_proxy_of_the_spark(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    """The secret of the copy went to the proxy in plain text, and the copy failed there."""
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    behind = sparks("spark-3", limits="http_proxy=http://127.0.0.1:9; export http_proxy")
    done = await get(behind, hub, peers=[Peer("spark-2", other, "127.0.0.1")])
    assert (done.why, done.source, done.notes) == (None, "spark-2", ())


async def test_a_copy_goes_on_where_the_hub_stopped(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    blobs = spark.folder(REPO) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hub.files[2].etag}{PART}").write_bytes(WEIGHTS[:MIB])
    done = await get(spark, hub, peers=[Peer("spark-2", other, "127.0.0.1")])
    assert (done.why, done.source, done.came) == (None, "spark-2", done.total - MIB)
    check_whole(spark, hub)


async def test_blobs_in_the_store_that_repositories_share(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    blob = other.folder(REPO) / "blobs" / hub.files[2].etag
    store = other.hub / "blobs" / "ab"
    store.mkdir(parents=True)
    blob.rename(store / ("ab" * 32))
    blob.symlink_to(f"../../blobs/ab/{'ab' * 32}")
    again = await get(other, hub)
    assert (again.why, again.came) == (None, 0)
    done = await get(spark, hub, peers=[Peer("spark-2", other, "127.0.0.1")])
    assert (done.why, done.source) == (None, "spark-2")
    check_whole(spark, hub)


async def test_a_peer_whose_copy_is_damaged(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    bad = bytearray(WEIGHTS)
    bad[7] ^= 1
    (other.folder(REPO) / "blobs" / hub.files[2].etag).write_bytes(bad)
    done = await get(spark, hub, peers=[Peer("spark-2", other, "127.0.0.1")])
    assert done.why is None
    assert done.source.startswith("127.0.0.1:")
    assert len(done.notes) == 1
    assert "came twice from spark-2 with other bytes than its hash promises" in done.notes[0]
    check_whole(spark, hub)


async def test_peers_that_can_not_serve(hub: Hub, spark: LocalSpark, tmp_path: Path, sparks: Sparks) -> None:
    empty = sparks("spark-2")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "sh",
        "sed",
        "df",
        "tail",
        "id",
        "stat",
        "head",
        "truncate",
        "mktemp",
        "sha1sum",
        "sha256sum",
        "flock",
        "curl",
    ):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    bare = sparks("spark-3", path=str(tools), program="/bin/sh")
    bare_too = sparks("spark-3")
    assert (await get(bare_too, hub)).why is None
    peers = [
        Peer("spark-2", empty, "127.0.0.1"),
        Peer("spark-3", bare, "127.0.0.1"),
        Peer("spark-4", bare_too, "0.0.0.0"),
        Peer("spark-5", bare_too, "192.0.2.1"),
    ]
    done = await get(spark, hub, peers=peers)
    assert done.why is None
    assert done.notes[:3] == (
        "spark-2 lacks 5 of 5 files",
        "spark-3 has the files, but no python3 to serve them with: going on with another source",
        "spark-4: 0.0.0.0 is not the address of one interface: going on with another source",
    )
    assert done.notes[3].startswith("spark-5 can't serve its copy: OSError: [Errno 99]")
    check_whole(spark, hub)


async def test_with_a_known_listing_a_peer_is_enough(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    first = await get(other, hub)
    assert first.why is None
    peers = [Peer("spark-2", other, "127.0.0.1")]
    gone = {"endpoint": "http://127.0.0.1:9", "pace": PACE, "margin": 0, "known": first.listing}
    done = await fetch(spark, Want(REPO), peers=peers, **gone)  # type: ignore[arg-type]
    assert (done.why, done.source, done.notes) == (None, "spark-2", ())
    check_whole(spark, hub)
    again = await fetch(spark, Want(REPO, COMMIT), **gone)  # type: ignore[arg-type]
    assert (again.why, again.notes, again.came) == (None, (), 0)
    for want in (Want(REPO, "v2"), Want("acme/else")):
        other_one = await fetch(spark, want, **gone)  # type: ignore[arg-type]
        assert other_one.why is not None
        assert other_one.why.reason == "Unreachable"


async def test_a_peer_that_stops_in_the_middle(hub: Hub, spark: LocalSpark, sparks: Sparks) -> None:
    other = sparks("spark-2")
    assert (await get(other, hub)).why is None
    blob = other.folder(REPO) / "blobs" / hub.files[2].etag

    def vanish(step: Progress) -> None:
        if step.source == "spark-2" and blob.exists():
            blob.unlink()  # somebody cleans up there

    done = await get(spark, hub, peers=[Peer("spark-2", other, "127.0.0.1")], progress=vanish)
    assert done.why is None
    words = "spark-2: spark-2 has no model-00001-of-00002.safetensors of acme/tiny-model: is the name right?"
    assert done.notes == (f"{words}: going on with another source",)
    check_whole(spark, hub)
    assert done.came == done.total


async def test_only_the_holder_of_the_secret_is_served_and_only_blobs(hub: Hub, sparks: Sparks) -> None:
    other = sparks("spark-2")
    want = Want(REPO)
    done = await get(other, hub)
    assert done.why is None
    assert done.listing is not None
    state = completeness(want, done.listing, done.listing.files, Found(0, {}, {}, frozenset()))
    blobs = other.folder(REPO) / "blobs"
    (blobs / ("f" * 64)).symlink_to("/etc/hostname")
    (blobs / ("e" * 64)).mkdir()
    async with serving(Peer("spark-2", other, "127.0.0.1"), state, REPO) as source:

        def ask(path: str, shown: str = source.token, span: str = "") -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(source.origin.removeprefix("http://"), timeout=10)
            headers = {"Authorization": f"Bearer {shown}"} | ({"Range": span} if span else {})
            connection.request("GET", f"/{path}", headers=headers)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        etag = hub.files[0].etag
        assert await asyncio.to_thread(ask, etag) == (200, hub.files[0].data)
        assert await asyncio.to_thread(ask, etag, span="bytes=3-5") == (206, hub.files[0].data[3:6])
        assert await asyncio.to_thread(ask, etag, span="bytes=999-") == (416, b"")
        assert await asyncio.to_thread(ask, etag, shown="wrong") == (401, b"")
        for path in (
            "f" * 64,
            "e" * 64,
            "d" * 64,
            "",
            "../refs/main",
            "..%2frefs%2fmain",
            f"./{etag}",
            f"{etag}?x",
            "/etc/passwd",
        ):
            assert await asyncio.to_thread(ask, path) == (404, b""), path
        assert not any(source.token in argv for argv in processes())
    await other.ended()
