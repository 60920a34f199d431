"""`python -m tests.bench [a b c d]`: one table per item, ratios from this one run.

    a  a dead or removed container: how long until it runs again, against Docker's own restart and a bare `docker run`
    b  a whole look at 2, 16 and 64 hosts, against `docker ps` over asyncssh, ssh, ControlMaster and pyinfra
    c  idle processor time and memory with 16 hosts
    d  the planner alone: 1,000 workloads on 100 Sparks

Needs root on Debian (real hosts). Prints to standard output and writes nothing else, but with `--write`
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import idle, planning, repair, scans
from tests.bench.figures import Table
from tests.hosts.fleet import missing

DOCUMENT = Path(__file__).parents[2] / "docs/benchmarks.md"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="*", choices=["a", "b", "c", "d", []], metavar="item")
    parser.add_argument("--write", action="store_true", help=f"also write docs/{DOCUMENT.name} (all items)")
    parser.add_argument("--samples", type=int, default=50, help="faults of each kind in (a) (50)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds in (b) (20)")
    parser.add_argument("--seconds", type=float, default=60, help="of idling in (c) (60)")
    asked = parser.parse_args()
    items = asked.items or ["a", "b", "c", "d"]
    if asked.write and set(items) != {"a", "b", "c", "d"}:
        parser.error("--write takes all items: the page holds one run")
    if set(items) - {"d"} and (reason := missing()):
        sys.stderr.write(f"{reason}\n")
        return 1
    head = _head()
    sys.stdout.write(f"{head}\n")
    tables: list[Table] = []
    for item in sorted(set(items)):
        found = _measure(item, asked)
        tables += found
        sys.stdout.write("".join(f"{table.markdown()}\n" for table in found))
        sys.stdout.flush()
    if asked.write:
        DOCUMENT.write_text("\n".join([f"# Benchmarks\n\n{head}", *(table.markdown() for table in tables)]))
    return 0


def _measure(item: str, asked: argparse.Namespace) -> list[Table]:
    match item:
        case "a":
            return asyncio.run(repair.bench(asked.samples))
        case "b":
            return asyncio.run(scans.bench(asked.rounds))
        case "c":
            return idle.bench(asked.seconds)
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
