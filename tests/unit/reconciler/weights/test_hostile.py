"""Names that try to act outside their argv, through a real shell; and a cache that the hub's own library accepts."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reconciler.weights.cache import Want
from reconciler.weights.download import Pace
from reconciler.weights.fetch import Fetched, fetch
from reconciler.weights.repo_files import ListingRefused, check_path
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Blob, Hub, running
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools

pytestmark = [needs_tools, pytest.mark.timeout(180)]

PACE = Pace(tick=0.05, stall=20, pause=0.05, tries=3, lock_wait=1)
PIECES = (
    "$(touch broken)", "`touch broken`", ";touch broken;", "| touch broken", "&& touch broken", "-rf", "--help", "*", "~", "$HOME",
    "${IFS}", "'", '"', "'\"'\"'", "}", "{", ")", "#", "é", "日本", "🦊", " ", "%s", "%2e%2e", "a=b", "!!", "[a]", "?", "<x", ">broken", "x", "0",
    "blobs", "..x", "x..", "-", "--", "-e", "end", "fail - x", "\u00a0", "$1", "$@", "eval touch broken", "&", "(", "@", ":", ",",
)  # fmt: skip
LIBRARY = os.environ.get("SPARKKEEP_HF_PYTHON", "")  # a python that has huggingface_hub


def names(count: int) -> list[str]:
    """`count` different paths that the whitelist lets through, the same ones every time."""
    dice = random.Random(7)
    found: dict[str, None] = {}
    while len(found) < count:
        depth = dice.choice((1, 1, 1, 2, 3))
        path = "/".join("".join(dice.choices(PIECES, k=dice.randint(1, 4))) for _ in range(depth))
        try:
            check_path(path)
        except ListingRefused:
            continue
        found[path] = None
    parents = {"/".join(path.split("/")[: n + 1]) for path in found for n in range(path.count("/"))}
    return [path for path in found if path not in parents]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running(Hub()) as it:
        yield it


@pytest.fixture
async def spark(tmp_path: Path) -> AsyncIterator[LocalSpark]:
    it = LocalSpark(tmp_path / "spark")
    yield it
    await it.ended()


async def get(spark: LocalSpark, hub: Hub, want: Want | None = None) -> Fetched:
    return await fetch(spark, want or Want(REPO, files=("*",)), endpoint=hub.origin, margin=0, pace=PACE)


def lying_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


async def test_thousands_of_nasty_paths_do_nothing_but_be_paths(hub: Hub, spark: LocalSpark) -> None:
    paths = names(5000)
    assert len(paths) > 4500
    hub.files = [Blob(path, b"one content", lfs=False) for path in paths]
    done = await get(spark, hub)
    assert done.why is None, done.why
    assert done.came == 11
    assert lying_below(spark.folder(REPO) / "snapshots") == {f"{COMMIT}/{path}" for path in paths}
    assert all((spark.folder(REPO) / "snapshots" / COMMIT / path).read_bytes() == b"one content" for path in paths)
    assert not list(spark.home.rglob("broken"))
    assert {p.name for p in spark.home.iterdir()} == {".cache"}
    assert {p.name for p in spark.hub.iterdir()} == {".locks", "models--acme--tiny-model"}


async def test_each_nasty_path_is_fetched_as_itself(hub: Hub, spark: LocalSpark) -> None:
    hub.files = [Blob(path, path.encode(), lfs=False) for path in names(60)]
    done = await get(spark, hub)
    assert done.why is None, done.why
    for file in hub.files:
        assert (spark.folder(REPO) / "snapshots" / COMMIT / file.path).read_bytes() == file.data


@pytest.mark.parametrize("path", ["../../../../broken", "/tmp/broken", "a\nb", "sub/../../broken", "a//b"], ids=ascii)
async def test_paths_that_lead_out_are_refused_before_anything_is_done(hub: Hub, spark: LocalSpark, path: str) -> None:
    good = Blob("config.json", b"{}", lfs=False)
    hub.files = [good]
    hub.extra = [good.entry | {"path": path}]
    done = await get(spark, hub)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("ListingRefused", True)
    assert not spark.hub.exists()


async def test_hashes_and_locations_are_not_believed(hub: Hub, spark: LocalSpark) -> None:
    good = Blob("config.json", b"{}", lfs=False)
    hub.files = [good]
    hub.extra = [good.entry | {"path": "b", "oid": "../../../x"}]
    done = await get(spark, hub)
    assert done.why is not None
    assert done.why.reason == "ListingRefused"
    hub.extra = []
    for place in ("file:///etc/passwd", "-o/tmp/broken", "ftp://127.0.0.1/x", "http://127.0.0.1:1/$(touch broken)"):
        hub.fail["config.json"] = [(302, {"Location": place})] * 9
        done = await get(spark, hub)
        assert done.why is not None
    assert not list(spark.home.rglob("broken"))
    assert not Path("/tmp/broken").exists()
    assert lying_below(spark.folder(REPO) / "snapshots") == set()


@pytest.mark.parametrize("want", [Want("../x"), Want("a/b/c"), Want(REPO, "../../x"), Want(REPO, "$(id)")], ids=str)
async def test_wants_that_are_no_names_never_reach_the_spark(hub: Hub, spark: LocalSpark, want: Want) -> None:
    done = await get(spark, hub, want)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("ListingRefused", True)
    assert spark.scripts == []


# The library itself

SCRIPT = """
import json, sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
repo, cache = sys.argv[1:]
where = snapshot_download(repo, cache_dir=cache, local_files_only=True)
config = hf_hub_download(repo, "config.json", cache_dir=cache)
info = scan_cache_dir(cache)
print(json.dumps({
    "where": where, "config": config, "warnings": [str(w) for w in info.warnings], "size": info.size_on_disk,
    "refs": [sorted(r.refs) for repo in info.repos for r in repo.revisions],
    "files": sorted(str(f.file_path) for repo in info.repos for r in repo.revisions for f in r.files),
}))
"""


def library(cache: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    return subprocess.run([LIBRARY, "-c", SCRIPT, REPO, cache], capture_output=True, text=True, env=env, check=False)


@pytest.mark.skipif(not LIBRARY or shutil.which(LIBRARY) is None, reason="SPARKKEEP_HF_PYTHON names no python")
async def test_the_library_accepts_the_cache_offline(hub: Hub, spark: LocalSpark, tmp_path: Path) -> None:
    hub.files = [
        Blob("config.json", b"{}", lfs=False),
        Blob("sub/dir/x.json", b"[]", lfs=False),
        Blob("model.safetensors", b"w" * 70_000, lfs=True),
        Blob("original/a.pth", b"p" * 70_000, lfs=True),
    ]
    assert (await get(spark, hub, Want(REPO))).why is None
    said = library(spark.hub, tmp_path)
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    snapshot = spark.folder(REPO) / "snapshots" / COMMIT
    assert answer == {
        "where": str(snapshot),
        "config": str(snapshot / "config.json"),
        "warnings": [],
        "size": 70_004,
        "refs": [["main"]],
        "files": sorted(str(snapshot / p) for p in ("config.json", "sub/dir/x.json", "model.safetensors")),
    }
    # The library's own list of the files, from a download of its own that did not end
    trees = spark.folder(REPO) / "trees"
    trees.mkdir()
    listed = {f.path: {"size": len(f.data), "blob_id": "0" * 40} for f in hub.files}
    (trees / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": listed}))
    assert "IncompleteSnapshotError" in library(spark.hub, tmp_path).stderr
    assert (await get(spark, hub, Want(REPO))).why is None
    assert library(spark.hub, tmp_path).returncode == 0
