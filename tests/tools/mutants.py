"""What `mutmut run` left in `mutants/`: for each module how many mutants were killed, and every one that was not.

python -m tests.tools.mutants          the table of docs/mutants.md
python -m tests.tools.mutants FILTER   and the change of each survivor whose name holds FILTER (`.` for all)
"""

from __future__ import annotations

import ast
import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Exit statuses as mutmut writes them; a mutant that ran out of time never ends, and a test would have noticed.
OUTCOMES: Final = {0: "survived", 1: "killed", 3: "killed", 33: "no test", None: "not run"}
LATE: Final = "out of time"
DONE: Final = ("killed", LATE)


def verdicts(meta: Path) -> dict[str, str]:
    """Each mutant of one module, by its full name, and what became of it."""
    found = json.loads(meta.read_text())["exit_code_by_key"]
    return {name: OUTCOMES.get(status, LATE) for name, status in found.items()}


def share(counts: Counter[str]) -> str:
    """How much of it was killed, in percent, rounded down to a tenth."""
    total = counts.total()
    return f"{1000 * sum(counts[each] for each in DONE) // total / 10:.1f} %" if total else "-"


def table(found: dict[str, Counter[str]]) -> Iterator[str]:
    """The rows of a Markdown table, a sum at their end."""
    names = ("killed", LATE, "survived", "no test", "not run")
    yield f"| module | mutants | {' | '.join(names)} | killed |"
    yield f"| --- | {' | '.join('---' for _ in range(len(names) + 2))} |"
    for module, counts in {**found, "all": sum(found.values(), Counter())}.items():
        yield f"| {module} | {counts.total()} | {' | '.join(str(counts[each]) for each in names)} | {share(counts)} |"


def functions(source: str) -> dict[str, list[str]]:
    """The lines of each function in a mutated module; methods by their mangled names, which say their class."""
    return {
        node.name: ast.unparse(node).splitlines()[1:]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def changes(module: Path, names: list[str]) -> Iterator[str]:
    """What each of these mutants changed."""
    known = functions(module.read_text())
    for name in names:
        short = name.rpartition(".")[2]
        before, after = known[f"{short.rpartition('__mutmut_')[0]}__mutmut_orig"], known[short]
        words = [line for line in difflib.ndiff(before, after) if line[:2] in {"- ", "+ "}]
        yield "\n".join(("", name, *words))


def main() -> None:
    """Print the table, and survivors where they are asked for."""
    metas = {meta.name.removesuffix(".py.meta"): meta for meta in sorted(ROOT.glob("mutants/reconciler/*.py.meta"))}
    found = {module: verdicts(meta) for module, meta in metas.items()}
    found = {module: outcomes for module, outcomes in found.items() if outcomes}
    lines = [*table({module: Counter(outcomes.values()) for module, outcomes in found.items()})]
    for word in sys.argv[1:]:
        for module, outcomes in found.items():
            alive = [name for name, what in outcomes.items() if what in {"survived", "no test"} and word in name]
            lines += changes(metas[module].with_suffix(""), alive)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
