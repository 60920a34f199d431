"""What the routes share: the loop, its status and journal, and how to look names up in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Query, Request

from api.errors import no_such
from api.notify.notifier import Notifier
from api.proxies.records import Records
from api.proxies.redaction.gateway import Gateway
from api.proxies.routing.fleet import Fleet
from api.proxies.routing.keys import Keys
from api.proxies.wire import Wire
from api.started import Start
from api.trends.series import Series
from api.trends.slots import Healths
from reconciler.deep_health import DeepHealth
from reconciler.loop import Loop
from reconciler.model import Container
from reconciler.status import Status
from reconciler.surveyor import Disks
from reconciler.weights.keeper import Weights
from reconciler.worker import Worker
from state.desk import Desk
from state.follow import Follow
from state.journal import Journal
from state.secrets import Secrets
from state.settings_base import Base
from state.sources import RecipeFile, Source


class KeyChain(Protocol):
    """The host keys of the Sparks: what one shows now, and how a person's agreement is written down."""

    async def shown(self, spark: str) -> tuple[str, str]:
        """Fingerprint and known_hosts line that the Spark shows now. Raises LinkDown."""

    def trust(self, line: str) -> None:
        """Trust this line from now on."""


class PracticeRoom(Protocol):
    """Practice Sparks, and what can be done to them."""

    def describe(self) -> dict[str, Any]:
        """The Sparks, and the faults with their arguments."""

    def sparks(self) -> Sequence[str]:
        """Their names."""

    def faults(self) -> Sequence[str]:
        """The names of what can go wrong."""

    async def inject(self, spark: str, fault: str, arguments: Mapping[str, Any]) -> Any:
        """Let something go wrong. Raises ValueError or TypeError for arguments that don't fit."""


@dataclass(kw_only=True)
class Context:
    """One server's parts. `complete` adds to a desired state what the environment knows; `base`: what of settings.

    `started`: what it was started with. `wire`: the data path, if there is one.
    """

    loop: Loop
    status: Status
    keys: KeyChain | None = None
    practice: PracticeRoom | None = None
    disks: Disks | None = None
    weights: Weights | None = None
    secrets: Secrets | None = None
    health: DeepHealth | None = None
    fleet: Fleet | None = None
    app_keys: Keys | None = None
    redaction: Gateway | None = None
    notifier: Notifier | None = None
    desk: Desk | None = None
    follow: Follow | None = None
    no_desk: str = "this server keeps no history"
    recipes: Sequence[RecipeFile | Path] = ()
    complete: Callable[[tuple[Source, ...]], tuple[Source, ...]] = tuple
    base: Base = field(default_factory=Base)
    started: Sequence[Start] = ()
    wire: Wire | None = None
    heartbeat: float = 12.0
    records: Records = field(default_factory=Records)
    series: Series = field(default_factory=Series)
    healths: Healths = field(default_factory=Healths)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def journal(self) -> Journal:
        """What has happened."""
        return self.loop.history.journal

    def worker(self, spark: str) -> Worker:
        """The worker of a Spark. Raises Refused (404)."""
        if spark not in self.loop.workers:
            raise no_such("spark", spark, self.loop.workers)
        return self.loop.workers[spark]

    def containers(self, workload: str) -> list[tuple[str, Container]]:
        """A workload's containers with the Spark of each, as last seen. Raises Refused (404) for an unknown name."""
        found = [(spark, container) for spark, container in self._owned() if container.workload == workload]
        declared = self.loop.store.current.loaded.resolved
        if workload not in declared and not found:
            raise no_such("workload", workload, {*declared, *(c.workload for _, c in self._owned())})
        return found

    def _owned(self) -> list[tuple[str, Container]]:
        return [
            (name, container)
            for name, worker in sorted(self.loop.workers.items())
            for container in (worker.sight.scan.containers if worker.sight.scan else ())
            if self.loop.owns(container)
        ]


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101  # put there by api.app.build
    return context


def _actor(
    request: Request,
    sparkkeep_actor: Annotated[str | None, Header(max_length=200, description="who asks, for the record")] = None,
) -> str:
    """Who asks, for the record: what the client says of itself, and where it is. Nothing is decided by it."""
    where = request.client.host if request.client else "somewhere"
    said = "".join(c for c in sparkkeep_actor or "" if c.isprintable())
    return f"{said} ({where})" if said else where


Ctx = Annotated[Context, Depends(_context)]
Dry = Annotated[bool, Query(alias="dryRun", description="only plan it: nothing is stored and nothing is done")]
Actor = Annotated[str, Depends(_actor)]
