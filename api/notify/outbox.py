"""One address, and the letters on their way to it: tried until it takes them, in order, beside everything else.

What may pass (no answer, 5xx, too many requests) is tried again, later and later; what will not (4xx, a redirect, a
secret that is not there) is given up at once. A redirect is never followed, and what the address answers is never read:
its status says it all. Of an address no more than the host is ever told, since the rest may be a secret. A failure is
one event, until something arrives again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx2

from api.notify.episodes import Notice
from api.notify.wording import body
from api.version import VERSION
from state.notifications import Notification, host_of, web_address
from state.recipes import SecretRef
from state.secrets import SecretRefused

TIMEOUT: Final = 10.0  # seconds for one try
MOST: Final = 100  # letters that wait
TRIES: Final = 8
FIRST_PAUSE: Final = 5.0  # seconds; doubled with each try
LONGEST_PAUSE: Final = 300.0
MAY_PASS: Final = frozenset({408, 425, 429})

log = logging.getLogger("sparkkeep.notify")
Letter = tuple[Notice, ...]


class Undelivered(Exception):
    """A try that failed, in words that hold nothing of the address but its host. `passing`: another may succeed."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(slots=True)
class Record:
    """How it went last, in Unix seconds; None if never yet."""

    delivered_at: float | None = None
    failed_at: float | None = None
    failure: str = ""
    failing: bool = False


class Post:
    """Sends one letter, once. Shared by all outboxes."""

    def __init__(self, secret: Callable[[str], str]) -> None:
        self._secret = secret
        self._client: httpx2.AsyncClient | None = None
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would write whole addresses into the log

    async def send(self, to: Notification, letter: Sequence[Notice]) -> None:
        """Raises Undelivered."""
        address = await self._address(to)
        made = body(to.kind, to.name, letter)
        if self._client is None:
            self._client = await asyncio.to_thread(self._made)
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                self._client.stream("POST", address, content=made.content, headers=made.headers) as answer,
            ):
                status = answer.status_code
        except (TimeoutError, httpx2.TimeoutException):
            raise Undelivered(f"{host_of(address)} did not answer within {TIMEOUT:g} s", passing=True) from None
        except httpx2.ConnectError as error:
            raise Undelivered(f"{host_of(address)} can't be reached: {error}", passing=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Undelivered(f"{host_of(address)}: {type(error).__name__}", passing=True) from None
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            moved = (
                " (redirects are not followed)"
                if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
                else ""
            )
            passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in MAY_PASS
            raise Undelivered(f"{host_of(address)} answered {status}{moved}", passing=passing)

    async def close(self) -> None:
        """Let go of its connections."""
        if self._client is not None:
            await self._client.aclose()

    @staticmethod
    def _made() -> httpx2.AsyncClient:
        """Reads certificates from the disk."""
        return httpx2.AsyncClient(
            timeout=TIMEOUT,
            follow_redirects=False,
            headers={"user-agent": f"sparkkeep/{VERSION}"},
            trust_env=False,  # no proxy and no .netrc that happens to be there
        )

    async def _address(self, to: Notification) -> str:
        if not isinstance(to.url, SecretRef):
            return to.url
        name = to.url.secret
        try:
            return web_address(await asyncio.to_thread(self._secret, name))
        except SecretRefused as refused:
            raise Undelivered(str(refused), passing=False) from None
        except ValueError:
            raise Undelivered(f"the secret {name} holds no http or https address", passing=False) from None


class Outbox:
    """The letters to one address. `done` hears of each that arrived (True) or was given up (False)."""

    def __init__(
        self,
        to: Notification,
        post: Post,
        *,
        rng: random.Random,
        now: Callable[[], float],
        done: Callable[[Notification, Notice, bool], None],
        wanted: Callable[[Notification, Notice], bool],
        failing: Callable[[Notification, str], None],
    ) -> None:
        self.to = to  # replaced when its declaration changes
        self.record = Record()
        self._post = post
        self._rng = rng
        self._now = now
        self._done = done
        self._wanted = wanted
        self._failing = failing
        self._letters: deque[Letter] = deque()
        self._filled = asyncio.Event()
        self._task = asyncio.create_task(self._work(), name=f"notify {to.name}")

    @property
    def waiting(self) -> int:
        """Letters that were not taken yet."""
        return len(self._letters)

    def put(self, letter: Letter) -> None:
        """Send it as soon as those before it are through; where too many wait, it is given up."""
        if len(self._letters) >= MOST:
            self._give_up(letter)
            return
        self._letters.append(letter)
        self._filled.set()

    async def try_once(self, letter: Letter) -> None:
        """Send it past all others, once. Raises Undelivered."""
        try:
            await self._post.send(self.to, letter)
        except Undelivered as failed:
            self._failed(str(failed))
            raise
        self._arrived()

    async def close(self) -> None:
        """End; what was not taken is told by the next process, if it is still true."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            while not self._letters:
                self._filled.clear()
                await self._filled.wait()
            letter = tuple(notice for notice in self._letters[0] if self._wanted(self.to, notice))
            arrived = False
            try:
                arrived = not letter or await self._deliver(letter)
            except Exception:  # the root of this task
                log.exception("notification %s: a letter was not sent", self.to.name)
            self._letters.popleft()
            if arrived:
                for notice in letter:
                    self._done(self.to, notice, True)
            else:
                self._give_up(letter)

    async def _deliver(self, letter: Letter) -> bool:
        for number in range(TRIES):
            try:
                await self._post.send(self.to, letter)
            except Undelivered as failed:
                self._failed(str(failed))
                if not failed.passing:
                    return False
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
                if number < TRIES - 1:
                    await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
            else:
                self._arrived()
                return True
        return False

    def _give_up(self, letter: Letter) -> None:
        for notice in letter:
            self._done(self.to, notice, False)

    def _arrived(self) -> None:
        self.record.delivered_at = self._now()
        if self.record.failing:
            self.record.failing = False
            self._failing(self.to, "")

    def _failed(self, why: str) -> None:
        self.record.failed_at, self.record.failure = self._now(), why
        if not self.record.failing:
            self.record.failing = True
            self._failing(self.to, why)
