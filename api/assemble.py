"""Puts the parts together: data folder, journal, desired state, Sparks, loop.

The only place that knows all of them. `sparkkeep serve` puts the HTTP API around the result; `--offline` commands
use it as it is.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from api.context import Context
from api.environment import Completion
from api.folder import DataFolder, Unusable
from api.notify.notifier import Notifier
from api.proxies.audio.declared import diarizers
from api.proxies.audio.jobs import Jobs
from api.proxies.audio.sounds import Sounds
from api.proxies.audio.spool import Room
from api.proxies.dialects import Learned, translation
from api.proxies.embeddings.factory import dividing
from api.proxies.local import Local
from api.proxies.queue.over import holds_over
from api.proxies.records import Records
from api.proxies.redaction.opened import opened
from api.proxies.routing.fleet import Fleet
from api.proxies.routing.keys import Keys
from api.proxies.routing.ready import Ready
from api.proxies.wire import Wire
from api.reach import Reach
from api.trends.sampler import sampling
from api.versioned import Versioned
from reconciler.deep_health import DeepHealth
from reconciler.hosts import Host
from reconciler.infer_menu import infer_for_menu
from reconciler.lease import Identity
from reconciler.loop import Loop
from reconciler.menu_recipes import Wanted
from reconciler.meters import Meters
from reconciler.status import Status
from reconciler.surveyor import Disks, Surveyor
from reconciler.weights.cache import Want
from reconciler.weights.fetch import Fetched, fetch
from reconciler.weights.fetches import Bring
from reconciler.weights.keeper import Weights
from state.connectivity_log import ConnectivityLog
from state.desired import Spark
from state.journal import Event, Journal, Kind
from state.journal_rows import Reach as Reachable
from state.proxy import Proxy
from state.secrets import Secrets
from state.sources import RecipeFile, Source, recipe_files
from state.store import DesiredStore, Generations

events_log = logging.getLogger("sparkkeep.events")


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

    def _completed(self, desired: tuple[Source, ...]) -> tuple[Source, ...]:
        return self._complete(desired)


class CountedJournal(Journal):
    """The journal, which also counts what it is told, and passes it on: everything worth telling comes by here."""

    def __init__(self, path: Path | str, meters: Meters, connectivity: ConnectivityLog | None = None) -> None:
        self._meters = meters
        self._connectivity = connectivity
        super().__init__(path)

    def record(self, event: Event) -> int | None:
        """Note and count an event, and let the log have it."""
        self._meters.told(event.type, event.reason)
        seq = super().record(event)
        if seq is not None:
            level = logging.WARNING if event.type == "Warning" else logging.INFO
            about = {"spark": event.spark, "workload": event.name if event.kind is Kind.WORKLOAD else ""}
            events_log.log(level, "%s: %s: %s", event.name, event.reason, event.message, extra=about)
        return seq

    def note_connectivity(self, spark: str, state: Reachable, reason: str = "", message: str = "") -> bool:
        """A Spark answers, or doesn't."""
        news = super().note_connectivity(spark, state, reason, message)
        if news and self._connectivity is not None:
            self._connectivity.add(at=self._now(), spark=spark, state=state, reason=reason, message=message)
        return news

    def close(self) -> None:
        """Finish writing."""
        super().close()
        if self._connectivity is not None:
            self._connectivity.close()


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


def mods_places(desired: Path, folder: DataFolder, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the mods folder may be: where it is said to be, or with the desired state, or in the data folder."""
    if given := environ.get("SPARKKEEP_MODS"):
        return (Path(given).expanduser().absolute(),)
    inside = (desired / "mods",) if desired.is_dir() else ()
    return (*(place.absolute() for place in (*inside, desired.parent / "mods")), folder.mods)


def context_places(desired: Path) -> tuple[Path, ...]:
    """Where the folders may lie that images are built from: with the desired state."""
    return tuple(place.absolute() for place in (*((desired,) if desired.is_dir() else ()), desired.parent))


def _fetching(store: Store) -> Bring:
    """`fetch`, leaving as much of a disk free as the settings say when it begins."""

    async def bring(host: Host, want: Want, **asked: Any) -> Fetched:
        return await fetch(host, want, margin=store.current.loaded.desired.settings.disk_reserve, **asked)

    return bring


def _disks(loop: Loop, store: Store) -> Disks:
    def wanted() -> Wanted:
        loaded = store.current.loaded
        return Wanted(recipes=loaded.recipes, declared={name: d.recipe for name, d in loaded.resolved.items()})

    def surveyors() -> Mapping[str, Surveyor]:
        return {name: worker.surveyor for name, worker in loop.workers.items() if worker.surveyor is not None}

    return Disks(surveyors=surveyors, wanted=wanted, infer=infer_for_menu)


def _connectivity(environ: Mapping[str, str]) -> ConnectivityLog | None:
    """The file that the first system kept, if one is named."""
    named = environ.get("CONNECTIVITY_LOG")
    return ConnectivityLog(Path(named).expanduser()) if named else None


def _redaction_map(environ: Mapping[str, str], folder: DataFolder) -> Path:
    """The file that the first system named, or ours."""
    named = environ.get("REDACTION_MAP_DB")
    return Path(named).expanduser() if named else folder.redaction_map


async def _watch(context: Context, secrets: Secrets, tending: AsyncExitStack) -> None:
    """Deep health, and whoever is to be told of what lasts."""
    health = DeepHealth(context.loop, secrets=secrets, follow=lambda: context.follow)
    context.health = await tending.enter_async_context(health)
    notifier = Notifier(
        context.loop, context.status, secret=secrets.get, follow=lambda: context.follow, health=context.health
    )
    context.notifier = await tending.enter_async_context(notifier)


async def _open_proxies(
    context: Context, reach: Reach, secrets: Secrets, spool: Path, tending: AsyncExitStack, *, map_file: Path | None
) -> None:
    """What stands behind the address for apps: who answers, who may ask, and what became of it."""
    store = context.loop.store

    def address(spark: str) -> str:
        return reach.address(spark, store.current.loaded.desired.sparks[spark])

    def settings() -> Proxy:
        return store.current.loaded.desired.settings.proxy

    ready = await tending.enter_async_context(Ready(context.loop, address))
    fleet = context.fleet = Fleet(ready)
    holds = fleet.holds = holds_over(context.loop, limit=fleet.takes)
    tending.callback(holds.close)
    context.records = Records(settings, ready.since)
    context.app_keys = Keys(lambda: settings().keys, secrets.get, context.records.under_way_of)
    context.records.heard.append(context.app_keys.heard)

    def at_home(model: str) -> bool:
        return ready.offers.known(model)

    context.redaction = await tending.enter_async_context(
        opened(
            lambda: store.current.loaded.desired.settings.redaction,
            secrets.get,
            map_file=map_file,
            at_home=at_home,
        )
    )
    learned = Learned()
    sounds = Sounds(
        spool,
        lambda: diarizers(store.current.loaded.resolved),
        usual=lambda: settings().diarizer,
        room=Room(lambda: settings().spool),
        jobs=Jobs(lambda: settings().sound_jobs, lambda: settings().keep_sound_jobs),
    )
    context.wire = Wire(
        fleet,
        observer=context.records,
        local=Local(lambda: ready.offers),
        keys=context.app_keys,
        translate=partial(translation, spoken=learned),
        lacks=learned.lacks,
        divide=dividing,
        audio=sounds,
        masks=context.redaction,
    )
    tending.callback(context.wire.close)
    tending.push_async_callback(sounds.jobs.close)


@asynccontextmanager
async def running(
    desired: Path,
    folder: DataFolder,
    environ: Mapping[str, str],
    *,
    reach: Reach | None = None,
    memory: bool = False,
    bring: Bring | None = None,
    before_launch: bool = True,
    versioned: Versioned | None = None,
    watching: bool = True,
) -> AsyncIterator[Parts]:
    """A loop that keeps the Sparks until the end. Raises state.problems.Invalid if nothing valid is declared.

    With `memory` nothing is written down of what happens. `bring` is what fetches weights instead; it does so unasked
    `before_launch` of what needs them. Where it is `versioned`, changes can be handed in, and are kept with git. With
    `watching` people are told what lasts, and deep health keeps to its schedule.
    """
    reach = reach or Reach.of(environ, folder.known_hosts)
    recipes = recipe_files(environ)
    complete = Completion(environ)
    secrets = Secrets(environ.get("SPARKKEEP_SECRETS") or folder.secrets)
    mods = mods_places(desired, folder, environ)
    identity = Identity(holder=folder.holder(), life=token_hex(4))
    meters = Meters()
    connectivity = None if memory else _connectivity(environ)
    with closing(CountedJournal(":memory:" if memory else folder.journal, meters, connectivity)) as journal:
        store = Store(desired, generations=journal, recipes=recipes, complete=complete)

        def connect(name: str, spark: Spark) -> Host:
            return reach.host(name, spark, lambda: store.current.loaded.desired.settings)

        async with (
            store,
            Loop(
                store,
                journal,
                connect,
                secret=secrets.get,
                surveys=True,
                mods=mods,
                contexts=context_places(desired),
                identity=identity,
                meters=meters,
            ) as loop,
            Weights(loop, bring=bring or _fetching(store), before_launch=before_launch) as weights,
            AsyncExitStack() as tending,
        ):
            context = Context(
                loop=loop,
                status=Status(loop),
                keys=SshKeyChain(reach, store),
                disks=_disks(loop, store),
                weights=weights,
                secrets=secrets,
                recipes=recipes,
                complete=complete,
                base=complete.base,
            )
            await tending.enter_async_context(sampling(context))
            map_file = None if memory else _redaction_map(environ, folder)
            await _open_proxies(context, reach, secrets, folder.path, tending, map_file=map_file)
            if watching:
                await _watch(context, secrets, tending)
            if versioned is not None:
                await tending.enter_async_context(versioned.tended(context, store))
            yield Parts(context=context, store=store, reach=reach)
