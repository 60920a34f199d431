"""A disk that is full is told from a cache that is not ours, and from bytes that are wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.weights.cache import PART, Found, Want, completeness
from reconciler.weights.repo_files import Listing, RepoFile
from reconciler.weights.tally import Tally
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Hub
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import MIB, Sparks, check_whole, get

WANT = Want("o/m")
FILE = RepoFile("model.safetensors", 5, "a" * 64, "sha256")
BIG = "model-00001-of-00002.safetensors"

VERDICTS = [
    (
        ["mkdir: cannot create directory 'refs': No space left on device", "fail - link 0"],
        "DiskFull",
        "the rest of o/m",
    ),
    (["cat: write error: Disk quota exceeded", "fail 0 folder 0"], "DiskFull", "ran full while model.safetensors of"),
    (["mkdir: cannot create directory 'refs': Permission denied", "fail - link 0"], "Unwritable", "Permission denied"),
    (["sha256sum: write error: No space left on device", "fail 0 temp 0"], "DiskFull", "(/tmp) full?"),
]


@pytest.mark.parametrize(("lines", "reason", "words"), VERDICTS)
def test_what_is_full(lines: list[str], reason: str, words: str) -> None:
    found = Found(0, {}, {}, frozenset())
    tally = Tally(completeness(WANT, Listing("o/m", "main", COMMIT, (FILE,)), [FILE], found), found, "hub", lambda: 0.0)
    for line in lines:
        tally.take(line)
    why = tally.verdict(WANT, token=False).why
    assert (why.reason, why.terminal, words in why.message) == (reason, False, True), why.message


SILENT = {
    "sha256sum": "exec >/dev/null; exec {real}",  # its answer had no room
    "curl": 'case "$*" in *"--fail"*) exec {real} "$@" 2>/dev/null ;; esac; exec {real} "$@"',
}


@needs_tools
@pytest.mark.parametrize("name", SILENT)
async def test_what_could_not_be_written_down_is_not_thrown_away(
    name: str, hub: Hub, sparks: Sparks, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    tool = tools / name
    tool.write_text(f"#!/bin/sh\n{SILENT[name].format(real=shutil.which(name))}\n")
    tool.chmod(0o755)
    spark: LocalSpark = sparks("home", path=f"{tools}:{os.environ['PATH']}")
    want = Want(REPO, files=(BIG,))
    done = await get(spark, hub, want)
    assert done.why is not None
    assert (done.why.reason, done.why.terminal) == ("DiskFull", False)
    assert f"could not write down what became of {BIG} of {REPO}" in done.why.message
    part = spark.folder(REPO) / "blobs" / f"{hub.files[2].etag}{PART}"
    assert part.stat().st_size == 3 * MIB
    tool.unlink()
    assert (await get(spark, hub, want)).why is None
    check_whole(spark, hub, skipped=tuple(file.path for file in hub.files if file.path != BIG))
    assert hub.bodies(BIG) == [3 * MIB]
