"""What the tests of fetching share: one small repository, a quick pace, and what a whole revision looks like."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reconciler.weights.cache import Want
from reconciler.weights.download import Pace
from reconciler.weights.fetch import Fetched, fetch
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Hub
from tests.unit.reconciler.weights.spark import LocalSpark

TOKEN = "hf_" + "s3cr3t" * 4
MIB = 2**20
Sparks = Callable[..., LocalSpark]
WEIGHTS = random.Random(1).randbytes(3 * MIB)
PACE = Pace(tick=0.05, stall=20, pause=0.05, tries=3, lock_wait=1)


async def get(spark: LocalSpark, hub: Hub, want: Want | None = None, **options: object) -> Fetched:
    options = {"pace": PACE, "margin": 0, **options}
    return await fetch(spark, want or Want(REPO), endpoint=hub.origin, **options)  # type: ignore[arg-type]


def processes() -> set[str]:
    """The argv and environments of all that runs here."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            with suppress(OSError):
                found.add((process / part).read_bytes().decode(errors="replace"))
    return found


def check_whole(spark: LocalSpark, hub: Hub, *, skipped: tuple[str, ...] = ("original/consolidated.00.pth",)) -> None:
    folder = spark.folder(REPO)
    snapshot = folder / "snapshots" / COMMIT
    for file in hub.files:
        path = snapshot / file.path
        if file.path in skipped:
            assert not path.exists()
            continue
        assert path.is_symlink()
        assert not path.readlink().is_absolute()
        assert path.resolve() == (folder / "blobs" / file.etag).resolve()
        assert path.read_bytes() == file.data
    assert (folder / "refs" / "main").read_bytes() == COMMIT.encode()
    assert not list((folder / "blobs").glob("*incomplete"))
    assert not list(spark.home.glob("tmp.*"))
