"""Keeps the offers current: made anew when the loop has news, and read as they are by every request.

News come from the loop in the very moment (a scan, a probe that turned, a declaration, a command that is about to end
something), so an instance that fell ill is out before the next request is read. News carry nothing: what is true is
looked up, and once in a while without any, in case some were lost.

A container's server alone can say what it calls its model. It is asked for that once, over the same connection that its
probes use, and is offered from then on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Self

from api.proxies.routing.offers import Address, Offers, look
from reconciler.canaries.exchange import NoReply, Reply, Request
from reconciler.linkdown import LinkDown
from reconciler.loop import Loop
from reconciler.model import Instance
from state.bell import Bell

TICK: Final = 2.0  # seconds between two looks without news
PATIENCE: Final = 5.0  # seconds for the name of a model
LIST: Final = Request(method="GET", target="/v1/models")

log = logging.getLogger("sparkkeep.proxies")


class Ready:
    """`offers` are those of this moment. `bell` rings when another instance answers, or one does no longer.

    `told` are called after every look.
    """

    def __init__(self, loop: Loop, address: Callable[[str], str] | None = None) -> None:
        """`address`: where a Spark is; without one, where it is declared to be."""
        self.loop = loop
        self.bell = Bell()
        self.told: set[Callable[[], None]] = set()
        self.renewed = 0
        self._address: Address = address or self._declared
        self._offers = Offers()
        self._stale = True
        self._due: asyncio.Handle | None = None
        self._named: dict[str, str] = {}  # container -> what its server calls its model
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, Instance] = {}  # by container
        self._since: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        self.loop.told.add(self._news)
        self._ticking = asyncio.create_task(self._tick(), name="ready set")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.loop.told.discard(self._news)
        tasks = [self._ticking, *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._due is not None:
            self._due.cancel()

    @property
    def offers(self) -> Offers:
        """What apps can ask for now."""
        if self._stale:
            self.renew()
        return self._offers

    def since(self, workload: str) -> float | None:
        """Since when it answers, in seconds of the monotonic clock; None if it does not."""
        return self._since.get(workload)

    def _news(self) -> None:
        """Look soon; whoever asks before that looks first."""
        self._stale = True
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._renew_due)

    def _renew_due(self) -> None:
        self._due = None
        if self._stale:
            self.renew()

    async def _tick(self) -> None:
        while True:
            try:
                self.renew()
            except Exception:  # the root of this task
                log.exception("which instances answer could not be told")
            await asyncio.sleep(TICK)

    def renew(self) -> None:
        """Look at what the loop knows."""
        self._stale = False
        self.renewed += 1
        loop, before = self.loop, self._offers
        current = loop.store.current.loaded
        most = current.desired.settings.proxy.concurrency
        self._wanted = {}
        self._offers = look(
            loop.target(),
            loop.world(),
            current.resolved,
            address=self._address,
            served=self._served,
            leaving=frozenset(loop.leaving | loop.traffic.draining.keys()),
            limit=lambda name: current.resolved[name].workload.concurrency or most,
        )
        self._ask()
        answering = [offer.name for offer in self._offers.each.values() if offer.backends]
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in answering}
        for heard in tuple(self.told):
            heard()
        if self._offers.backends != before.backends:
            self.bell.ring()

    def _declared(self, spark: str) -> str:
        return self.loop.store.current.loaded.desired.sparks[spark].host.strip("[]")

    def _served(self, instance: Instance, container: str) -> str | None:
        """What its server calls its model; None as long as it was not asked."""
        if instance.probe.model:
            return instance.probe.model
        self._wanted[container] = instance
        return self._named.get(container)

    def _ask(self) -> None:
        """Ask those who are new, and forget those who are gone."""
        self._named = {container: name for container, name in self._named.items() if container in self._wanted}
        for container in self._asking.keys() - self._wanted.keys():
            self._asking.pop(container).cancel()
        for container, instance in self._wanted.items():
            task = self._asking.get(container)
            if container not in self._named and (task is None or task.done()):
                self._asking[container] = asyncio.create_task(
                    self._learn(container, instance), name=f"name of {instance.workload}'s model"
                )

    async def _learn(self, container: str, instance: Instance) -> None:
        worker, port = self.loop.workers.get(instance.spark), instance.probe.port
        if worker is None:
            return
        try:
            reply = await worker.host.exchange(LIST, port, timeout=PATIENCE) if port else None
        except LinkDown:
            return  # asked again with the next look
        except NoReply:
            reply = None
        self._named[container] = _own_name(reply, instance.workload)
        self._news()


def _own_name(reply: Reply | None, workload: str) -> str:
    """The one name in a server's list, or the workload's if it is there, or if there is no list at all."""
    said = reply.json() if reply is not None else None
    listed = said.get("data") if isinstance(said, dict) else None
    entries = [entry.get("id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    names = [name for name in entries if isinstance(name, str) and name]
    return workload if workload in names or not names else names[0]
