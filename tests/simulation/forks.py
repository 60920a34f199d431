"""A crash before each of many steps, from one telling of what comes before them.

At each of these steps the process is forked. The child crashes there and lives its story to the end; the parent waits
for what it has to say, puts the files back that the child has changed, and goes on. All else of the world is in memory,
the journals too, and time is virtual: neither notices the other.
"""

import asyncio
import json
import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from tests.simulation.oracle import Undisturbed
from tests.simulation.sim import Sim
from tests.simulation.stories import ALL, run

Fatal = tuple[int, ...]  # the step before which the first life ends, the second, ...


class Verdict(NamedTuple):
    """How many crashes happened, and what was broken."""

    crashes: int
    problem: str = ""


def crashed(name: str, fatal: Fatal, reference: Undisturbed) -> Verdict:
    """Tell the story with these crashes."""
    return _judged(name, lambda: fatal, lambda: run(ALL[name], reference, fatal))


def crashed_at(name: str, before: Fatal, steps: Collection[int], reference: Undisturbed) -> dict[Fatal, Verdict]:
    """What `crashed` says of a last crash at each of these steps. `before`: where earlier lives end."""
    fork = _Fork(before, steps)
    try:
        verdict = _judged(name, lambda: fork.fatal, lambda: run(ALL[name], reference, before, each_step=fork))
        if fork.is_child:
            fork.tell(verdict)
    finally:
        if fork.is_child:
            os._exit(0)
    return fork.found


def _judged(name: str, fatal: Callable[[], Fatal], tell: Callable[[], Sim]) -> Verdict:
    try:
        return Verdict(tell().counts["crash"])
    except Exception as error:  # noqa: BLE001  # a bug in the controller is a violation like any other
        return Verdict(len(fatal()), f"{name} {fatal()}: {type(error).__name__}: {error}")


class _Fork:
    """Is asked at each step. `fatal`: the crashes of the story that this process tells."""

    def __init__(self, before: Fatal, steps: Collection[int]) -> None:
        self.fatal = self._before = before
        self.found = dict[Fatal, Verdict]()
        self._steps = frozenset(steps)
        self._mouth = -1

    @property
    def is_child(self) -> bool:
        """Whether this process tells of one crash only."""
        return self.fatal != self._before

    def __call__(self, sim: Sim) -> None:
        life = sim.all[-1].life
        step = life.steps + 1
        if self.is_child or len(sim.all) != len(self._before) + 1 or step not in self._steps:
            return
        fatal, files = (*self._before, step), _files(sim.folder)
        ear, mouth = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, which no child needs
            pid = os.fork()
        if pid == 0:
            os.close(ear)
            asyncio._set_running_loop(sim.loop)  # which does not follow into another process
            self.fatal, self._mouth, life.fatal = fatal, mouth, step
            return
        os.close(mouth)
        with os.fdopen(ear) as told:
            said = told.read()
        os.waitpid(pid, 0)
        self.found[fatal] = Verdict(*json.loads(said)) if said else Verdict(1, f"{fatal}: its process ended")
        _restore(sim.folder, files)

    def tell(self, verdict: Verdict) -> None:
        """A child's last words."""
        with os.fdopen(self._mouth, "w") as said:
            json.dump(verdict, said)


def _files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.iterdir()}


def _restore(folder: Path, files: dict[Path, bytes]) -> None:
    """The child has removed the folder at its end."""
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for file, data in files.items():
        file.write_bytes(data)
