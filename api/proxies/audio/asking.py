"""One thing that is wanted of one model: a decision where it goes, the sound on its way there, and the answer.

A coroutine over the same connections that all requests use. Whoever gives it up by cancelling it has its place in the
line, its connection and its count given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from api.proxies.calls import Backend, Call, Decision, Refused
from api.proxies.chunks import BadChunk, Chunks
from api.proxies.head import CHUNKED, AnswerHead
from api.proxies.upstream import Link
from api.proxies.wire import Wire

_AGAIN: Final = frozenset({500, 502, 503, 504})
"""What another instance is asked after."""
_AHEAD: Final = 2**20
"""Bytes of an answer that may wait for whoever reads it."""


class NoAnswer(Exception):
    """There is none, or no more of it. `stale`: a connection that was kept had ended."""

    def __init__(self, message: str, *, stale: bool = False, reason: str = "BackendFailed") -> None:
        super().__init__(message)
        self.message = message
        self.stale = stale
        self.reason = reason


class Question(Protocol):
    """What a server is sent."""

    async def ready(self, backend: Backend) -> None:
        """Make sure that it can be sent there. Raises Refused."""

    def head(self, backend: Backend) -> bytes:
        """Its head, which depends on who is asked."""

    def pieces(self, backend: Backend) -> AsyncIterator[bytes]:
        """Its body."""


class Conversation:
    """One request on one connection (`upstream.Taker`). `taker`: who gets what comes, once there is one."""

    def __init__(self, wire: Wire, decision: Decision, patience: float | None = None) -> None:
        self.decision = decision
        self._patience = wire.limits.first_byte if patience is None else patience
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._sending: asyncio.Task[None] | None = None
        self._head: asyncio.Future[AnswerHead] = self._loop.create_future()
        self._room = asyncio.Event()
        self._came = asyncio.Event()
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._ended = False
        self._broke: NoAnswer | None = None
        self.taker: Callable[[bytes, bool], None] | None = None

    # What is asked.

    async def ask(self, question: Question) -> AnswerHead:
        """The head of the answer. Raises NoAnswer."""
        await question.ready(self.decision.backend)
        link = self._wire.pool.take(self.decision.backend.link)
        self._link = link = link or await self._opened()
        self._room.set()
        link.ask(self, question.head(self.decision.backend), bodiless=False, whole=False)
        self._sending = self._loop.create_task(self._send(link, question))
        try:
            async with asyncio.timeout(self._patience):
                return await self._head
        except TimeoutError:
            message = f"the model did not begin to answer within {self._patience:g} s"
            raise Refused(504, "BackendTimeout", message) from None

    async def _opened(self) -> Link:
        opened: asyncio.Future[Link | OSError] = self._loop.create_future()

        def then(link: Link | OSError) -> None:
            if not opened.done():
                opened.set_result(link)
            elif isinstance(link, Link):
                link.drop()

        limits = self._wire.limits
        give_up = self._wire.pool.open(self.decision.backend.link, then)
        try:
            async with asyncio.timeout(limits.connect):
                found = await asyncio.shield(opened)
        except TimeoutError:
            raise NoAnswer(f"no connection within {limits.connect:g} s") from None
        except asyncio.CancelledError:
            if opened.done() and isinstance(found := opened.result(), Link):
                found.drop()
            raise
        finally:
            if not opened.done():
                give_up()
                opened.cancel()
        if isinstance(found, OSError):
            raise NoAnswer(f"no connection: {found.strerror or found}")
        return found

    async def _send(self, link: Link, question: Question) -> None:
        try:
            async for piece in question.pieces(self.decision.backend):
                await self._room.wait()
                link.send(piece)
        except OSError as error:
            link.drop()
            self.broke("SpoolFailed", f"the sound could not be read here: {error.strerror or error}", stale=False)
        else:
            link.whole = True

    def drop(self) -> None:
        """Nobody wants its answer any more."""
        link, self._link = self._link, None
        if self._sending is not None:
            self._sending.cancel()
        if link is not None and not self._ended:
            link.drop()

    # What is answered.

    async def whole(self, most: int) -> bytes:
        """The body, without what frames it. Raises NoAnswer, or Refused if it is longer."""
        chunks = Chunks() if self._head.result().length == CHUNKED else None
        body = bytearray()
        async for raw in self._rest():
            into: list[bytes] = []
            if chunks is None:
                into.append(raw)
            else:
                try:
                    chunks.feed(raw, 0, into)
                except BadChunk as bad:
                    raise NoAnswer(f"its answer is not framed as HTTP says: {bad}") from None
            body += b"".join(into)
            if len(body) > most:
                message = f"{self.decision.backend.key} answers more than {most // 2**20} MiB"
                raise Refused(502, "AnswerTooLong", message)
        return bytes(body)

    async def _rest(self) -> AsyncIterator[bytes]:
        while True:
            pieces, self._pieces, self._waiting = self._pieces, [], 0
            self.resume()
            for piece in pieces:
                yield piece
            if self._broke is not None:
                raise self._broke
            if self._ended and not self._pieces:
                return
            await self._more()

    async def passed(self, taker: Callable[[bytes, bool], None]) -> None:
        """Give each piece on as it came, at once, until the last. Raises NoAnswer."""
        pieces, self._pieces = self._pieces, []
        self.taker = taker
        if pieces or self._ended:
            taker(b"".join(pieces), self._ended)
        while not self._ended:
            if self._broke is not None:
                raise self._broke
            await self._more()

    async def _more(self) -> None:
        limits = self._wire.limits
        self._came.clear()
        if self._ended or self._pieces or self._broke is not None:
            return
        try:
            async with asyncio.timeout(limits.idle):
                await self._came.wait()
        except TimeoutError:
            raise NoAnswer(f"nothing came for {limits.idle:g} s", reason="BackendTimeout") from None

    @property
    def at_chunk(self) -> bool:
        """Whether a chunk of our own could be put behind what came."""
        return self._link is not None and not self._ended and self._link.at_chunk

    def pause(self) -> None:
        """Whoever it is for reads more slowly."""
        if self._link is not None and not self._ended:
            self._link.pause()

    def resume(self) -> None:
        """They read again."""
        if self._link is not None and not self._ended:
            self._link.resume()

    # `upstream.Taker`

    def interim(self, raw: bytes) -> None:
        """A head of the 100s says nothing to whom it is about."""

    def answered(self, head: AnswerHead) -> None:
        """The head."""
        if not self._head.done():
            self._head.set_result(head)

    def came(self, raw: bytes, ended: bool) -> None:
        """A piece of the body."""
        self._ended = ended
        self._came.set()
        if self.taker is not None:
            self.taker(raw, ended)
            return
        self._pieces.append(raw)
        self._waiting += len(raw)
        if self._waiting > _AHEAD:
            self.pause()

    def broke(self, reason: str, message: str, *, stale: bool) -> None:
        """There is no more."""
        self._broke = NoAnswer(message, stale=stale, reason=reason)
        self._came.set()
        if not self._head.done():
            self._head.set_exception(self._broke)

    def drained(self) -> None:
        """What was written has gone."""
        self._room.set()

    def clogged(self) -> None:
        """Enough was written for now."""
        self._room.clear()


class Errand:
    """What is wanted of one model: `ask`, and `end` in any case.

    `told` is called with each decision. `patience`: seconds until it has to begin its answer, if not the usual ones.
    """

    def __init__(
        self,
        wire: Wire,
        call: Call,
        told: Callable[[Decision | None], None] = lambda _: None,
        patience: float | None = None,
    ) -> None:
        self._wire = wire
        self._call = call
        self._told = told
        self._patience = patience
        self._conversation: Conversation | None = None
        self._began = False

    async def ask(self, question: Question) -> tuple[Conversation, AnswerHead]:
        """Whoever answers, another instance if the first does not. Raises Refused."""
        decision = await self._decided()
        tried = False
        while True:
            conversation = self._begin(decision)
            try:
                head = await self._asked(conversation, question)
            except NoAnswer as failed:
                self.end(answered=False)
                message = f"{decision.backend.key} did not answer: {failed.message}"
                refused = Refused(502, "BackendFailed", message, retry_after=2)
                found = None if tried else await self._another(decision, waits=True)
                if found is None:
                    raise refused from None
            else:
                found = None if tried or head.status not in _AGAIN else await self._another(decision, waits=False)
                if found is None:
                    return self._conversation or conversation, head
                self.end(answered=True)
            tried, decision = True, found

    async def _asked(self, conversation: Conversation, question: Question) -> AnswerHead:
        try:
            return await conversation.ask(question)
        except NoAnswer as failed:
            if not failed.stale:
                raise
        self._conversation = again = Conversation(self._wire, conversation.decision, self._patience)
        return await again.ask(question)

    def _begin(self, decision: Decision) -> Conversation:
        self._wire.routing.began(decision)
        self._began = True
        self._told(decision)
        self._conversation = Conversation(self._wire, decision, self._patience)
        return self._conversation

    async def _another(self, decision: Decision, *, waits: bool) -> Decision | None:
        try:
            return await self._decided(without=(decision.backend.key,), waits=waits)
        except Refused:
            return None

    async def _decided(self, without: tuple[str, ...] = (), *, waits: bool = True) -> Decision:
        found = self._wire.routing.choose(self._call, without=without)
        if isinstance(found, Decision):
            return found
        if not waits:
            found.leave()
            raise Refused(503, "NoneReady", "no other instance answers now")
        self._told(None)
        try:
            await asyncio.wait([found.decided])
        except asyncio.CancelledError:
            found.leave()
            raise
        if found.decided.cancelled():
            raise Refused(503, "Withdrawn", "what it waited for was given up", retry_after=5)
        return found.decided.result()

    def end(self, *, answered: bool = True) -> None:
        """It is over."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.drop()
            if self._began:
                self._began = False
                self._wire.routing.ended(conversation.decision, answered=answered)
