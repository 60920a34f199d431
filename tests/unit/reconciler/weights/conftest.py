"""A hub with one small repository, and Sparks of this machine that have ended all they started when a test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.reconciler.weights.hub import Blob, Hub, running
from tests.unit.reconciler.weights.spark import LocalSpark
from tests.unit.reconciler.weights.stage import MIB, WEIGHTS, Sparks


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = [
        Blob("config.json", b'{"architectures": ["Tiny"]}', lfs=False),
        Blob("empty.txt", b"", lfs=False),
        Blob("model-00001-of-00002.safetensors", WEIGHTS, lfs=True),
        Blob("model-00002-of-00002.safetensors", WEIGHTS[::-1], lfs=True),
        Blob("original/consolidated.00.pth", b"p" * MIB, lfs=True),
        Blob("sub/dir/it's $(odd) [x] é %41.json", b"{}", lfs=False),
    ]
    with running(Hub(files)) as it:
        yield it


@pytest.fixture
async def sparks(tmp_path: Path) -> AsyncIterator[Callable[..., LocalSpark]]:
    made: list[LocalSpark] = []

    def make(name: str, **options: str) -> LocalSpark:
        made.append(LocalSpark(tmp_path / name, **options))
        return made[-1]

    yield make
    for one in made:
        await one.ended()


@pytest.fixture
def spark(sparks: Sparks) -> LocalSpark:
    return sparks("spark-1")
