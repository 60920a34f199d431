"""The tools that measure: what they count, and what of docs/benchmarks.md a run replaces."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.bench.__main__ import DOCUMENT, ITEMS, _page
from tests.bench.figures import Table
from tests.bench.proxies.load import CHUNKS, Load, Target
from tests.bench.proxies.measured import _ask
from tests.bench.proxies.programs import Cores, compiled, free_port, listens, running

needs_gcc = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("taskset")), reason="gcc is not installed")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(tmp_path, Cores.of_this_machine())


@pytest.fixture
def breaking() -> Iterator[int]:
    """The port of a server whose streams end after one event, without the end that HTTP wants."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    closing_down = threading.Event()

    def answer() -> None:
        while not closing_down.is_set():
            with suppress(TimeoutError), closing(server.accept()[0]) as client:
                client.recv(65536)
                client.sendall(HEAD + b"9\r\ndata: 1\n\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    yield server.getsockname()[1]
    closing_down.set()
    thread.join()
    server.close()


@needs_gcc
def test_every_stream_of_the_stub_is_whole_and_has_all_its_chunks(load: Load, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with running([str(compiled("stub", tmp_path)), str(port)], log) as stub:
        listens(stub, [("127.0.0.1", port)], log)
        stream = _ask("127.0.0.1", port, {"model": "any", "stream": True})
        seen = load.chunks(Target("127.0.0.1", port, port), 3, 1.0)
    assert stream.count(b'"content":" token"') == CHUNKS
    assert stream.endswith(b"data: [DONE]\n\n")
    assert seen.per_second > 0
    assert seen.events > 0
    assert seen.broken == 0


@needs_gcc
def test_a_paced_stream_has_its_pace(load: Load, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with running([str(compiled("stub", tmp_path)), str(port)], log) as stub:
        listens(stub, [("127.0.0.1", port)], log)
        seen = load.paced(Target("127.0.0.1", port, port), 2, 1.0)
    assert 0 < seen.events <= 2 * 50 * 3  # two streams of at most three seconds; unpaced it is thousands
    assert seen.gap_max > 0.015


@needs_gcc
def test_a_stream_without_its_end_is_broken(load: Load, breaking: int) -> None:
    seen = load.chunks(Target("127.0.0.1", breaking, breaking), 1, 0.3)
    assert seen.broken > 0
    assert seen.per_second == 0


def test_a_run_replaces_the_sections_of_its_items_and_no_others() -> None:
    before = DOCUMENT.read_text()
    made = Table("Proxies: again", ("one",), [("two",)])
    after = _page(before, {"proxies": [made]})
    assert "## Proxies: again\n\n| one |" in after
    assert [line for line in after.splitlines() if line.startswith("## (")] == [
        line for line in before.splitlines() if line.startswith("## (")
    ]
    assert _page(after, {"proxies": [made]}) == after


def test_every_section_of_the_page_belongs_to_an_item() -> None:
    titles = [line[3:] for line in DOCUMENT.read_text().splitlines() if line.startswith("## ")]
    assert titles
    assert all(title.startswith(tuple(ITEMS.values())) for title in titles)
