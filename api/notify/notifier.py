"""The task beside the loop that watches, and tells people: it looks now and then, and hands letters to the outboxes.

It only reads, and nothing waits for it. What arrived is kept in the journal until its end has arrived as well: so a
restart tells nothing twice, and what could not be told before it is told after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final, Self

from api.notify.episodes import Book, Notice
from api.notify.outbox import Outbox, Post
from api.notify.troubles import Look, look
from api.notify.wording import trial_notice
from reconciler.deep_health import DeepHealth
from reconciler.loop import Loop
from reconciler.status import Status
from state.follow import Follow
from state.journal import Event, Kind, Told
from state.notifications import Notification

EVERY: Final = 10.0  # seconds between two looks
TOGETHER: Final = 3  # notices of one look that are letters of their own; more are one letter

log = logging.getLogger("sparkkeep.notify")


class Notifier:
    """Use as `async with`: it watches until the end."""

    def __init__(
        self,
        loop: Loop,
        status: Status,
        *,
        secret: Callable[[str], str],
        follow: Callable[[], Follow | None] = lambda: None,
        health: DeepHealth | None = None,
        rng: random.Random | None = None,
        post: Post | None = None,
    ) -> None:
        self.outboxes: dict[str, Outbox] = {}
        self._loop = loop
        self._status = status
        self._follow = follow
        self._health = health
        self._rng = rng or random.SystemRandom()
        self._post = post or Post(secret)
        self._books: dict[str, Book] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="notifications")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for outbox in self.outboxes.values():
            await outbox.close()
        await self._post.close()

    async def test(self, name: str) -> None:
        """Send a test. Raises KeyError for an unknown name, Undelivered."""
        await self.follow_settings()
        await self.outboxes[name].try_once((trial_notice(self._loop.now()),))

    async def _watch(self) -> None:
        with self._loop.store.subscribe() as changes:
            while True:
                try:
                    await self.follow_settings()
                    if self.outboxes:
                        self.tell(self._look())
                except Exception:  # the root of this task
                    log.exception("a look for what is to be told failed")
                await changes.wait(EVERY if self.outboxes else None)

    async def follow_settings(self) -> None:
        """Have an outbox and a book for each declared notification, and for no other."""
        declared = {each.name: each for each in self._loop.store.current.loaded.desired.settings.notifications}
        for name in [name for name in self.outboxes if name not in declared]:
            self._books.pop(name)
            await self.outboxes.pop(name).close()
        journal = self._loop.history.journal
        for told in journal.told():
            if told.notification not in declared:
                journal.forget_told(*told.key)
        for name, each in declared.items():
            if name not in self.outboxes:
                self._books[name] = Book(told for told in journal.told() if told.notification == name)
                self.outboxes[name] = Outbox(
                    each, self._post, rng=self._rng, now=self._loop.now,
                    done=self._done, wanted=self._wanted, failing=self._failing,
                )  # fmt: skip
            self.outboxes[name].to = each
            for key in self._books[name].keep_only(each.on):
                journal.forget_told(name, *key)

    def tell(self, seen: Look) -> None:
        """Hand over what is to be told of this look."""
        for name, outbox in self.outboxes.items():
            found = self._books[name].look(seen, now=self._loop.now(), after=outbox.to.after, topics=outbox.to.on)
            letters = [tuple(found)] if len(found) > TOGETHER else [(notice,) for notice in found]
            for letter in letters:
                outbox.put(letter)

    def _look(self) -> Look:
        follow, plan = self._follow(), self._loop.plan()
        waiting = {step.workload for step in plan.withheld} | {held.workload for held in plan.held if held.approvable}
        return look(
            self._status.build(),
            withheld=waiting,
            checkout=follow.seen if follow is not None else None,
            remote=follow is not None and follow.remote is not None,
            report=self._health.last if self._health is not None else None,
        )

    def _wanted(self, to: Notification, notice: Notice) -> bool:
        """The end of something that was never heard of is no news."""
        key = (to.name, *notice.trouble.key)
        return notice.state != "resolved" or any(told.key == key for told in self._loop.history.journal.told())

    def _done(self, to: Notification, notice: Notice, arrived: bool) -> None:
        journal, trouble = self._loop.history.journal, notice.trouble
        if notice.state == "resolved":
            journal.forget_told(to.name, *trouble.key)
        elif arrived:
            words: dict[str, Any] = {"subject": trouble.subject, "reason": trouble.reason, "title": trouble.title}
            journal.note_told(Told(notification=to.name, since=notice.since, at=notice.at, **words))
        elif to.name in self._books:
            self._books[to.name].lost(notice)

    def _failing(self, to: Notification, why: str) -> None:
        """Tell, once, that an address takes nothing; and that it does again."""
        message = f"{why}; what it should have told is tried again" if why else "it takes messages again"
        event = Event(
            kind=Kind.SELF,
            name=f"notification {to.name}",
            type="Warning" if why else "Normal",
            reason="NotificationFailed" if why else "NotificationDelivered",
            message=message,
        )
        self._loop.history.journal.record(event)
