"""Puts the parts together: data folder, journal, desired state, Sparks, loop.

The only place that knows all of them. `sparkkeep serve` puts the HTTP API around the result; `--offline` commands
use it as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from api.context import Context
from api.environment import Completion
from api.folder import DataFolder, Unusable
from api.reach import Reach
from reconciler.hosts import Host
from reconciler.loop import Loop
from reconciler.status import Status
from state.desired import Spark
from state.journal import Journal
from state.secrets import Secrets
from state.sources import RecipeFile, recipe_files
from state.store import DesiredStore, Files, Generations


class Store(DesiredStore):
    """The desired state of a file or folder, completed by the environment."""

    def __init__(
        self,
        path: Path,
        *,
        generations: Generations,
        recipes: Sequence[RecipeFile | Path],
        complete: Completion,
    ) -> None:
        super().__init__(path, generations=generations, recipes=recipes)
        self._complete = complete

    async def _read(self) -> Files:
        desired, recipes = await super()._read()
        return self._complete(desired), recipes


class SshKeyChain:
    """`api.context.KeyChain` over SSH. Asks over connections of its own: the loop's may be refusing the key."""

    def __init__(self, reach: Reach, store: Store) -> None:
        self._reach = reach
        self._store = store

    async def shown(self, spark: str) -> tuple[str, str]:
        """Fingerprint and known_hosts line that the Spark shows now. Raises LinkDown."""
        declared = self._store.current.loaded.desired.sparks[spark]
        return await self._reach.link(spark, declared).fetch_key()

    def trust(self, line: str) -> None:
        """Trust this line from now on."""
        self._reach.hostkeys.trust(line)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a running loop was made of."""

    context: Context
    store: Store
    reach: Reach


def find_desired(given: Path | None, folder: DataFolder) -> Path:
    """The desired state to keep: the one named, or desired.yaml here or in the data folder. Raises Unusable."""
    if given is not None:
        return given.expanduser()
    for path in (Path("desired.yaml"), folder.desired):
        if path.exists():
            return path.absolute()
    what = (
        "no desired state: name its file or folder with --desired (SPARKKEEP_DESIRED), "
        "or try `sparkkeep serve --practice 2`, which needs none"
    )
    raise Unusable(what)


@asynccontextmanager
async def running(
    desired: Path, folder: DataFolder, environ: Mapping[str, str], *, reach: Reach | None = None, memory: bool = False
) -> AsyncIterator[Parts]:
    """A loop that keeps the Sparks until the end. Raises state.problems.Invalid if nothing valid is declared.

    With `memory` nothing is written down of what happens.
    """
    reach = reach or Reach.of(environ, folder.known_hosts)
    recipes = recipe_files(environ)
    complete = Completion(environ)
    secrets = Secrets(environ.get("SPARKKEEP_SECRETS") or folder.secrets)
    with closing(Journal(":memory:" if memory else folder.journal)) as journal:
        store = Store(desired, generations=journal, recipes=recipes, complete=complete)

        def connect(name: str, spark: Spark) -> Host:
            return reach.host(name, spark, store.current.loaded.desired.settings.owner)

        async with store, Loop(store, journal, connect, secret=secrets.get) as loop:
            context = Context(
                loop=loop,
                status=Status(loop),
                keys=SshKeyChain(reach, store),
                recipes=recipes,
                complete=complete,
            )
            yield Parts(context=context, store=store, reach=reach)
