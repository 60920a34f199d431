"""How much is taken for personal data where there is none: texts that are on any machine."""

from __future__ import annotations

import argparse
import asyncio.base_events
import dataclasses
import http.client
import json.decoder
import string
import subprocess
import typing
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.bench.figures import Table
from tests.bench.redaction.finders import NARROW, OURS, PATTERNS, VANILLA, Look

ROOT = Path(__file__).parents[3]
DOCUMENTS = ("LLM_PROXY", "AUDIO_API", "GITOPS", "WEIGHTS", "MEMORY", "SCALING", "OPERATIONS")
SOURCES = ("reconciler/plan.py", "reconciler/scan.py", "api/proxies/forward.py", "api/proxies/queue/schedule.py")
MODULES = (argparse, asyncio.base_events, dataclasses, http.client, json.decoder, string, subprocess, typing)
MOST = 20_000


def _log(dice: Random) -> str:
    said = (
        "connection closed",
        "request done status=200 bytes={n}",
        "cache miss key=weights/{n}",
        "retry in {n} ms",
        "worker {n} started",
        "GET /v1/models 200 {n}us",
    )
    lines = []
    for at in range(250):
        level = dice.choice(["INFO", "DEBUG", "WARNING", "ERROR"])
        module = dice.choice(["api.proxies.pool", "reconciler.worker", "state.journal"])
        lines.append(
            f"2026-11-24 10:{at // 60:02}:{at % 60:02},{dice.randrange(1000):03} {level} {module}: {dice.choice(said).format(n=dice.randrange(10**6))}"
        )
    return "\n".join(lines)


def _json(dice: Random) -> str:
    rows = [
        {
            "id": f"{dice.randrange(16**12):012x}",
            "model": dice.choice(["llama-3", "qwen-2"]),
            "tokens": dice.randrange(9000),
            "ok": True,
            "took": dice.random(),
            "state": dice.choice(["ready", "loading", "failed"]),
        }
        for _ in range(150)
    ]
    return json.dumps(rows, indent=1)


def _table(dice: Random) -> str:
    head = "| container | image | port | memory | restarts | state |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| worker-{at} | registry/app:{dice.randrange(9)}.{dice.randrange(20)} | {dice.randrange(1024, 65535)} | {dice.randrange(512)} MiB | {dice.randrange(9)} | running |"
        for at in range(150)
    )


def texts() -> Iterator[tuple[str, list[str]]]:
    dice = Random(8)
    yield "product documents (ours)", [(ROOT / f"docs/{name}.md").read_text()[:MOST] for name in DOCUMENTS]
    yield "docstrings (standard library)", [_documented(module) for module in MODULES]
    yield (
        "code (ours, standard library)",
        [
            path.read_text()[:MOST]
            for path in (*(ROOT / name for name in SOURCES), *(Path(str(module.__file__)) for module in MODULES[:4]))
        ],
    )
    yield "log", [_log(dice)]
    yield "JSON", [_json(dice)]
    yield "table", [_table(dice)]


def _documented(module: object) -> str:
    """All that a module says about itself."""
    said = [module.__doc__ or ""]
    for each in vars(module).values():
        if getattr(each, "__module__", None) == getattr(module, "__name__", ""):
            said += [getattr(each, "__doc__", None) or ""]
            said += (
                [getattr(part, "__doc__", None) or "" for part in vars(each).values()] if isinstance(each, type) else []
            )
    return "\n\n".join(text for text in said if isinstance(text, str))[:MOST]


def table(found: dict[str, Look]) -> Table:
    names = (VANILLA, OURS, NARROW, PATTERNS)
    made = Table("Redaction: finds per 1,000 words of clean text", ("text", "words", *names))
    totals = dict.fromkeys(names, 0)
    words = 0
    for kind, said in texts():
        count = sum(len(text.split()) for text in said)
        words += count
        cells = []
        for name in names:
            finds = sum(len(found[name](text)) for text in said)
            totals[name] += finds
            cells.append(f"{1000 * finds / count:.2f}")
        made.add(kind, str(count), *cells)
    made.add("all", str(words), *(f"{1000 * totals[name] / words:.2f}" for name in names))
    made.notes.append(
        "Every find counts as false, though some are not: our documents hold addresses of a private network, the standard library names and "
        "mail of its authors. Presidio's finds may overlap and are counted as it gives them."
    )
    return made
