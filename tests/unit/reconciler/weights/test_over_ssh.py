"""The same over real OpenSSH: a fetch, and one whose connection goes away in the middle."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from reconciler.remote import RemoteHost
from reconciler.weights.cache import PART, Want
from reconciler.weights.download import Pace
from reconciler.weights.fetch import fetch
from reconciler.weights.peer import Peer
from reconciler.weights.progress import Progress
from tests.unit.reconciler.test_ssh import SSHD, Sshd, link_to
from tests.unit.reconciler.weights.hub import REPO, Blob, Hub, running
from tests.unit.reconciler.weights.spark import HUB_FOLDER, needs_tools

pytestmark = [
    needs_tools,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not SSHD.exists() or shutil.which("ssh-keygen") is None, reason="needs OpenSSH"),
]
PACE = Pace(tick=0.1, pause=0.05, tries=3)
BLOB = Blob("model.safetensors", random.Random(3).randbytes(4 * 2**20), lfs=True)


async def test_a_fetch_whose_connection_goes_away_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    server = Sshd(tmp_path / "one")
    server.start()
    part = tmp_path / "one" / HUB_FOLDER / "models--acme--tiny-model" / "blobs" / f"{BLOB.etag}{PART}"
    try:
        with running(Hub([BLOB], hang={BLOB.path: 2**20})) as hub:
            async with link_to(server) as link:
                reached: list[Progress] = []
                host = RemoteHost(link, "/var/run/docker.sock", "test")
                task = asyncio.create_task(
                    fetch(host, Want(REPO), endpoint=hub.origin, margin=0, pace=PACE, progress=reached.append)
                )
                while not reached or reached[-1].done == 0:
                    await asyncio.sleep(0.02)
                await link.close()  # sparkkeep is gone; the program runs on without a reader
                done = await task
                assert done.why is not None
                assert not done.why.terminal
            lock = tmp_path / "one" / HUB_FOLDER / ".locks" / "models--acme--tiny-model" / f"{BLOB.etag}.lock"
            free = await asyncio.create_subprocess_exec("flock", "-w", "30", lock, "true")
            assert await free.wait() == 0  # its curl has been ended, and with it the lock is free
            have = part.stat().st_size
            assert 0 < have <= 2**20
            hub.hang.clear()
            async with link_to(server) as link:
                host = RemoteHost(link, "/var/run/docker.sock", "test")
                done = await fetch(host, Want(REPO), endpoint=hub.origin, margin=0, pace=PACE)
                assert (done.why, done.total) == (None, len(BLOB.data))
                assert done.came == done.total - have
                # and from there to another, over the same seam
                other = RemoteHost(link, "/var/run/docker.sock", "test")
                want = Want(REPO, cache="$HOME/other/hub")
                done = await fetch(
                    host, want, endpoint=hub.origin, margin=0, pace=PACE, peers=[Peer("spark-2", other, "127.0.0.1")]
                )
                assert (done.why, done.source, done.came) == (None, "spark-2", done.total)
    finally:
        server.stop()
