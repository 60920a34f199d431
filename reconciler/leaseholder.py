"""Takes, renews and gives back the lease of one Spark.

Taken at the head of a pass, before its scan: what is done under a lease follows from a look that began after it was
taken. Renewed beside the passes, since a step may take minutes. A connection that is new leaves the lease in doubt (the
Spark may have booted): the next pass renews or takes it before it looks.

Who could not renew it for long enough, by this machine's own monotonic clock, stops acting well before it expires.
Nothing depends on that: the Spark itself refuses a command whose sender lost the lease (`reconciler.lease.fenced`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from reconciler.hosts import Host
from reconciler.lease import Answer, Fence, Identity, Lease, answer, release, renew, seen, take
from reconciler.linkdown import LinkDown

ASK_TIMEOUT: Final = 20.0  # seconds; the scripts themselves wait for locks for at most seven
RELEASE_TIMEOUT: Final = 2.0
AGAIN: Final = 1.0  # seconds before asking again for what could not be had
TOO_LATE: Final = Lease(message="its lease could not be renewed in time: it is taken anew first")
LOST: Final = Lease(message="its lease was lost: it is taken anew first")

log = logging.getLogger("sparkkeep.lease")


class Unshared:
    """In place of a `Leaseholder` where a Spark is shared with nobody: no lease, and every step may be begun."""

    lease: Lease | None = None
    fence: Fence | None = None
    look_in: float | None = None
    acts = True

    def doubt(self) -> None:
        """Nothing is in doubt."""

    def lost(self) -> None:
        """Nothing can be lost."""

    async def hold(self, floor: int) -> None:
        """Nothing to have."""

    async def outrank(self, seen_token: int) -> None:
        """Nobody to outrank."""

    async def keep(self, up: Callable[[], Awaitable[object]], answers: Callable[[], bool]) -> None:
        """Nothing to renew."""

    async def release(self) -> None:
        """Nothing to give back."""


class Leaseholder:
    """The lease of one Spark, as this process has it. `told` hears of every change, with what was before."""

    def __init__(
        self,
        spark: str,
        owner: str,
        me: Identity,
        host: Host,
        *,
        rng: random.Random,
        now: Callable[[], float],
        told: Callable[[Lease, Lease], None],
    ) -> None:
        self.spark = spark
        self._owner = owner
        self._me = me
        self._host = host
        self._rng = rng
        self._now = now
        self._told = told
        self._lease = Lease()
        self._renewed = float("-inf")  # by the loop's clock, when the last renewal was asked for
        self._asked = float("-inf")
        self._doubted = False
        self._robbed = False
        self._token = 0  # the highest that we ever had
        self._outranked = True
        self._turn = asyncio.Lock()  # one script at a time

    @property
    def lease(self) -> Lease:
        """As it is known now."""
        return TOO_LATE if self._lease.ours and not self._fresh() else self._lease

    @property
    def acts(self) -> bool:
        """Whether a step may be begun."""
        return self.lease.ours

    @property
    def fence(self) -> Fence | None:
        """What a command must find on the Spark."""
        return self._fence()

    @property
    def look_in(self) -> float | None:
        """Seconds after which to look again whether it can be had; None while it is ours."""
        lease = self.lease
        if lease.ours:
            return None
        look = self._me.terms.look
        if lease.reason == "LeaseHeld":
            return min(look, max(AGAIN, lease.expires_at - self._now() + AGAIN))
        return look if lease.reason == "LeaseUnavailable" else min(look, AGAIN)

    def doubt(self) -> None:
        """The connection is new: the Spark may have booted, or somebody else may keep it by now."""
        self._doubted = True

    def lost(self) -> None:
        """The Spark refused a command: it is not ours any more."""
        self._robbed = True
        self._change(LOST)

    async def hold(self, floor: int) -> None:
        """Have the lease before a look, if it is to be had. Its token is then higher than `floor`. Raises LinkDown."""
        async with self._turn:
            if self._lease.ours and (self._doubted or not self._fresh()):
                await self._renew()
            elif not self._lease.ours and self._clock() - self._asked >= AGAIN / 2:
                await self._take(floor)
            self._doubted = False

    async def outrank(self, seen_token: int) -> None:
        """The first look since the take shows a token as high as ours: take a higher one. Raises LinkDown."""
        async with self._turn:
            if self._lease.ours and not self._outranked and seen_token >= self._lease.token:
                await self._take(seen_token)
            self._outranked = True

    async def keep(self, up: Callable[[], Awaitable[object]], answers: Callable[[], bool]) -> None:
        """Renew it for as long as it is ours, now and then; not while the Spark does not answer."""
        terms = self._me.terms
        while True:
            await asyncio.sleep(terms.renew * self._rng.uniform(0.8, 1.2) / (1 if self._recent() else 4))
            await up()
            try:
                async with self._turn:
                    if self._lease.ours and answers() and not self._doubted:
                        await self._renew(retake=False)
            except LinkDown as down:
                log.debug("%s: the lease was not renewed: %s", self.spark, down.message)
            except Exception:  # the root of this task
                log.exception("%s: renewing the lease failed", self.spark)

    async def release(self) -> None:
        """Give it back: nothing of ours is begun on that Spark any more."""
        if not self._lease.ours:
            return
        fence, self._lease = self._fence(), Lease()
        try:
            async with self._turn:
                await self._host.run(release(fence), timeout=RELEASE_TIMEOUT, reserved=True)
        except LinkDown as down:
            log.info("%s: the lease runs out by itself: %s", self.spark, down.message)

    async def _take(self, floor: int) -> None:
        self._asked = began = self._clock()
        said = await self._ask(take(self._owner, self._me, floor=max(floor, self._token), robbed=self._robbed))
        if said is None:
            text = "the Spark's answer to the question for its lease makes no sense"
            self._change(Lease(reason="LeaseUnavailable", message=text))
            return
        if said.word == "took":
            self._renewed, self._robbed, self._outranked, self._token = began, False, False, said.token
        self._change(seen(said, self._owner, self._me, self._now()))

    async def _renew(self, *, retake: bool = True) -> None:
        began = self._clock()
        # In the shell of the scans: a command of its own, with its login, costs both ends several times as much.
        said = answer(await self._host.look(renew(self._fence(), self._me.terms.lasts), timeout=ASK_TIMEOUT))
        if said is not None and said.word == "kept":
            self._renewed = began
            now = self._now()
            self._lease = replace(self._lease, renewed_at=now, expires_at=now + said.left)
        elif said is not None and said.word == "lost":
            self._robbed = bool(said.holder)  # where there is none, the Spark has booted
            self._change(LOST)
            if retake:
                await self._take(0)

    async def _ask(self, script: str) -> Answer | None:
        outcome = await self._host.run(script, timeout=ASK_TIMEOUT)
        return answer(outcome.stdout)

    def _fence(self) -> Fence:
        return Fence(owner=self._owner, token=self._lease.token, holder=self._me.holder, life=self._me.life)

    def _change(self, lease: Lease) -> None:
        before, self._lease = self._lease, lease
        self._told(before, lease)

    def _fresh(self) -> bool:
        return self._clock() - self._renewed < self._me.terms.lasts - self._me.terms.margin

    def _recent(self) -> bool:
        """The last renewal came in time."""
        return self._clock() - self._renewed < self._me.terms.renew * 1.5

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
