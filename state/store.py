"""The desired state in force, however its files come to change.

The store watches the folders of its files and, since watching loses events (NFS, bind mounts, replaced folders),
reads them again every half minute; bytes that did not change cost nothing. A text that changed is read twice before
it is believed, so a file caught half written is not taken for a decision. What is invalid, or gone, never comes into
force: the last good revision stays, `problems` says why, and it survives a restart through the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self, TypeAlias

from state.bell import Bell, Follower
from state.load import Loaded, load_sources
from state.problems import Invalid, Problem
from state.sources import Good, RecipeFile, Source, blank, fingerprint, read_desired, read_recipes
from state.watch import changes

log = logging.getLogger(__name__)

MOVING: Final = 50  # readings of a file that keeps changing, before waiting for its next event
EMPTIED: Final = (
    "there is nothing in it, which is rarely meant: what was in force stays; write `sparks: {}` to declare nothing"
)
WHOLE: Final = ""  # the name under which the generation of the whole desired state is kept

Files: TypeAlias = tuple[tuple[Source, ...], tuple[Source, ...]]  # of the desired state, of the recipes


class Watch(Protocol):
    """What says when it is worth looking at files again."""

    def __call__(self, paths: Sequence[Path], *, every: float) -> AsyncGenerator[None, None]:
        """Yields then, and at least each `every` seconds."""


class Generations(Protocol):
    """What the store must not forget; `state.journal.Journal` keeps it."""

    def generation(self, name: str) -> tuple[int, str] | None:
        """Number and digest last set."""

    def set_generation(self, name: str, generation: int, digest: str) -> None:
        """Remember them."""

    def save_good(self, good: Good) -> None:
        """Remember the files of the state that is in force."""

    def last_good(self, origin: str) -> Good | None:
        """The files that were last in force from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One state of the desired state. `generation` rises when its meaning changes; `revision` names the meaning."""

    generation: int
    revision: str
    loaded: Loaded
    since: float


class DesiredStore:
    """Open it, then `run` it (or `start` and `stop`). `current` is always a good revision."""

    def __init__(
        self,
        path: Path | str,
        *,
        generations: Generations,
        recipes: Sequence[RecipeFile | Path] = (),
        reread: float = 30.0,
        settle: float = 0.2,
        now: Callable[[], float] = time.time,
        watch: Watch = changes,
    ) -> None:
        self.path = Path(path)
        self.problems: tuple[Problem, ...] = ()
        self.since: float | None = None  # when the problems began
        self._origin = str(self.path.absolute())
        self._generations = generations
        self._recipes = tuple(recipes)
        self._reread = reread
        self._settle = settle
        self._now = now
        self._watch = watch
        self._bell = Bell()
        self._current: Revision | None = None
        self._seen = ""
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> Revision:
        """The revision in force."""
        if self._current is None:
            raise RuntimeError("the store is not open")
        return self._current

    def generation_of(self, name: str) -> int:
        """How often the meaning of that workload's own declaration (with its recipe) has changed; from 1."""
        known = self._generations.generation(name) if name else None
        return known[0] if known is not None else 1

    def generations_of(self) -> dict[str, int]:
        """The generation of every workload in force."""
        return {name: self.generation_of(name) for name in self.current.loaded.resolved}

    def subscribe(self) -> Follower:
        """Wakes when another revision comes into force, and when problems come or go."""
        return self._bell.subscribe()

    async def open(self) -> Revision:
        """Read for the first time. What is invalid raises Invalid, unless the journal knows what was in force."""
        async with self._lock:
            try:
                await self._take(await self._read())
            except Invalid as invalid:
                await self._fall_back(invalid)
        return self.current

    async def reload(self) -> bool:
        """Look at the files now; True if another revision came into force. For who has just written one whole."""
        return await self._look(settle=0.0)

    async def run(self) -> None:
        """Follow the files until cancelled."""
        if self._current is None:
            await self.open()
        watched = [self.path, *(recipe.path if isinstance(recipe, RecipeFile) else recipe for recipe in self._recipes)]
        async with contextlib.aclosing(self._watch(watched, every=self._reread)) as looks:
            async for _ in looks:
                await self._look(settle=self._settle)

    async def start(self) -> Revision:
        """Open, and follow the files in a task of its own."""
        revision = await self.open()
        self._task = asyncio.create_task(self.run(), name="desired-store")
        return revision

    async def stop(self) -> None:
        """End what `start` began."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _completed(self, desired: tuple[Source, ...]) -> tuple[Source, ...]:
        """What lies under the files is added here, if anything does."""
        return desired

    async def _read(self) -> Files:
        try:
            files = await asyncio.to_thread(lambda: (read_desired(self.path), read_recipes(self._recipes)))
            return self._completed(files[0]), files[1]
        except Invalid:
            self._seen = ""  # should the very same text come back, it is news
            raise

    async def _look(self, *, settle: float) -> bool:
        """Bring into force what the files say now."""
        async with self._lock:
            before = self.current.revision
            try:
                files = await self._read_settled(settle) if settle else await self._read()
                if files is not None:
                    await self._take(files)
            except Invalid as invalid:
                self._refuse(invalid)
            return self.current.revision != before

    async def _read_settled(self, settle: float) -> Files | None:
        """The files once they hold still; None if they won't, and then there will be another event.

        A file that is not there gets the same second chance: some editors delete and write anew.
        """
        files: Files | None = None
        for attempt in range(MOVING):
            last = files
            try:
                files = await self._read()
            except Invalid:
                if attempt:
                    raise
            if files is not None and (files == last or fingerprint(*files) == self._seen):
                return files
            await asyncio.sleep(settle)
        return None

    async def _take(self, files: Files) -> None:
        """Judge these files, unless they are the ones judged last. Raises Invalid."""
        seen = fingerprint(*files)
        if seen == self._seen:
            return
        self._seen = seen
        loaded = await asyncio.to_thread(load_sources, *files)
        if blank(_own(files[0])) and self._had_something():
            raise Invalid([Problem(files[0][0].name, 0, 0, "", EMPTIED)])
        self._accept(loaded, files)

    def _had_something(self) -> bool:
        """Whether there is a state to lose: in force, or in force when the last process ended."""
        if self._current is not None:
            return bool(self._current.loaded.desired.sparks or self._current.loaded.resolved)
        good = self._generations.last_good(self._origin)
        return good is not None and not blank(good.desired)

    async def _fall_back(self, invalid: Invalid) -> None:
        """Start from what was last in force. Raises `invalid` where that is not known or no longer valid."""
        good = self._generations.last_good(self._origin)
        if good is None:
            raise invalid
        files = (self._completed(good.desired), good.recipes)
        try:
            loaded = await asyncio.to_thread(load_sources, *files)
        except Invalid:
            raise invalid from None
        self._accept(loaded, files)
        self._refuse(invalid)

    def _accept(self, loaded: Loaded, files: Files) -> None:
        """This state is in force from now on."""
        revision = f"sha256:{loaded.digest[:12]}"
        generation = self._raise(WHOLE, loaded.digest)
        for name, digest in loaded.spec_digests.items():
            self._raise(name, digest)
        same = self._current is not None and self._current.revision == revision
        since = self._current.since if same and self._current else self._now()
        self._current = Revision(generation=generation, revision=revision, loaded=loaded, since=since)
        self._generations.save_good(Good(self._origin, revision, _own(files[0]), files[1]))
        if not same or self.problems:
            log.info("desired state %s, generation %d, is in force", revision, generation)
            self.problems, self.since = (), None
            self._bell.ring()

    def _raise(self, name: str, digest: str) -> int:
        """The generation of that name, one higher if its meaning has changed."""
        number, before = self._generations.generation(name) or (0, "")
        if before != digest:
            number += 1
            self._generations.set_generation(name, number, digest)
        return number

    def _refuse(self, invalid: Invalid) -> None:
        """What is in force stays; say why."""
        found = tuple(invalid.problems)
        if found == self.problems:
            return
        self.since = self.since if self.problems else self._now()
        self.problems = found
        log.warning("the desired state is refused, %s stays in force:\n%s", self.current.revision, invalid)
        self._bell.ring()


def _own(desired: tuple[Source, ...]) -> tuple[Source, ...]:
    """Without what only lies under the files: it is another with every start."""
    return tuple(source for source in desired if not source.base)
