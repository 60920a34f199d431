"""Builds on their way: contexts read from the folders of this machine, and what the end of a build means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.built import Contexts, archive
from reconciler.explain import Explanation, explain
from reconciler.shell import Argv, fed
from state.contexts import Context, read_contexts

LAST: Final = 8  # lines of a failed build that are shown
LONGEST: Final = 200  # characters of each
FAILED: Final = "`docker build` failed"
# Of what explains failures, the causes that a build has in common with a fetch; a log of compilers and installers says
# many things that would mean something in the log of a model.
SHARED: Final = frozenset(
    {
        *("ImageNotFound", "PullDenied", "RateLimited", "RegistryUnreachable", "WrongArchitecture"),
        *("DiskFull", "DockerRefused", "EngineDown"),
    }
)
Content = Callable[[str], Context | None]


def no_context(_: str) -> None:
    """There is nothing to build from."""


class Folders:
    """The contexts that are wanted, as they were last read. `found` is what the planner needs of them."""

    def __init__(self, places: Sequence[Path] = ()) -> None:
        """A context lies in the first of these places that has a folder of its name, or ships with sparkkeep."""
        self._places = tuple(places)
        self.found: Contexts = {}

    async def read(self, names: Iterable[str]) -> bool:
        """Read the contexts of these names again, beside the event loop. Whether anything about them changed."""
        before, self.found = self.found, await self.of(names)
        return _told(before) != _told(self.found)

    async def of(self, names: Iterable[str]) -> Contexts:
        """The same of other names, for a plan that nobody follows: nothing of it is kept."""
        wanted = set(names)
        if not wanted:
            return {}
        found, refused = await asyncio.to_thread(read_contexts, self._places, wanted)
        return {**found, **refused}

    def content(self, digest: str) -> Context | None:
        """The context of this content, if it is still what is wanted."""
        found = (each for each in self.found.values() if isinstance(each, Context))
        return next((each for each in found if each.digest == digest), None)


def _told(contexts: Contexts) -> dict[str, str]:
    return {name: each.digest if isinstance(each, Context) else str(each) for name, each in contexts.items()}


def script_of(argv: Argv, context: Context) -> str:
    """The build, with its context as its input."""
    return fed(argv, archive(context))


def why(output: str) -> Explanation:
    """What the output of a build that failed says. Its last lines are shown: only a person may know what they mean."""
    found = explain(output, otherwise=FAILED, reason="BuildFailed")
    if found.reason not in SHARED:
        found = Explanation("BuildFailed", FAILED, terminal=False)
    lines = [line.strip()[:LONGEST] for line in output.splitlines() if line.strip()][-LAST:]
    said = f"{found.message}. Its last lines: {' | '.join(lines)}" if lines else found.message
    return replace(found, message=said)
