"""The programs of a practice Spark."""

from __future__ import annotations

import time

import pytest

from reconciler import facts
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.spark import Settings, Spark


async def ran(script: str) -> tuple[int, str, str]:
    spark = Spark("spark-1", settings=Settings(serve=False))
    out, error = Buffer(), Buffer()
    status = await spark.console.run("exec sh", Io(Input(script.encode()), out, error))
    await spark.close()
    return status, out.text, error.text


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("timeout 5 echo a 'b c'", (0, "a b c\n", "")),
        ("timeout 5 sh -c 'exit 7'", (7, "", "")),
        ("printf x | timeout 5 cat", (0, "x", "")),
        ("timeout 0 sleep 0", (0, "", "")),
    ],
)
async def test_timeout_runs_a_program(script: str, expected: tuple[int, str, str]) -> None:
    assert await ran(script) == expected


async def test_timeout_ends_a_program_that_takes_too_long() -> None:
    began = time.monotonic()
    assert await ran("timeout 0.1 sleep infinity") == (124, "", "")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("script", "status"), [("timeout", 125), ("timeout 5", 125), ("timeout five true", 125), ("timeout 5 none", 127)]
)
async def test_timeout_refuses(script: str, status: int) -> None:
    found, out, error = await ran(script)
    assert (found, out) == (status, "")
    assert error.startswith("timeout: ")


async def test_a_scan_reads_the_gpu() -> None:
    nonce = "0123456789abcdef"
    status, out, _ = await ran(facts.script(nonce, full=True, settled=True, cli=False))
    assert status == 0
    assert facts.read_facts(facts.sections(out, nonce)).gpus
