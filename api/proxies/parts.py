"""A request that its backend is asked in several parts, and answered once all of them were (`embeddings.job`).

It stands where an `Attempt` does. Nothing goes to the client before the end, so that until then another backend may be
asked instead, and an error is an answer. When it is over, for whatever reason, no part of it goes on.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from api.proxies.attempt import ASKED, Attempt
from api.proxies.calls import Decision, Refused
from api.proxies.chunks import Chunks
from api.proxies.dialects import errors
from api.proxies.embeddings.job import Job, Part, Wrong
from api.proxies.forward import asked_of
from api.proxies.head import CHUNKED, AnswerHead, stripped
from api.proxies.upstream import Link

if TYPE_CHECKING:
    from api.proxies.exchange import Exchange

log = logging.getLogger("sparkkeep.proxies")

LARGEST: Final = 256 * 2**20
"""Bytes of all answers together."""
_AGAIN: Final = frozenset({500, 502, 503, 504})
_OK: Final = range(200, 300)
_PACKED: Final = frozenset({b"gzip", b"deflate"})


def attempt_at(exchange: Exchange, decision: Decision) -> Attempt | Parts:
    """One backend is asked: as it came, or in parts."""
    divide, upload = exchange.wire.divide, exchange.upload
    if (
        divide is None
        or not exchange.place.divided
        or decision.backend.base is not None
        or exchange.head.method != b"POST"
        or upload.reading
    ):
        return Attempt(exchange, decision)
    job: Job | None
    try:
        job = divide(exchange.place.path, stripped(exchange.head.fields), upload.kept, decision.backend)
    except Exception:  # a slip in there must not leave this request counted for ever
        log.exception("a request of the data path failed")
        job = Wrong(Refused(500, "InternalError", "sparkkeep failed on this request; its log says how"))
    return Attempt(exchange, decision) if job is None else Parts(exchange, decision, job)


class Parts:
    """One backend that is asked so."""

    __slots__ = (
        "_ended",
        "_exchange",
        "_job",
        "_over",
        "_read",
        "_under_way",
        "_waiting",
        "_words",
        "decision",
        "state",
    )

    def __init__(self, exchange: Exchange, decision: Decision, job: Job) -> None:
        self.decision = decision
        self.state = ASKED
        self._exchange = exchange
        self._job = job
        self._waiting: deque[Part] = deque()
        self._under_way: set[Errand] = set()
        self._read = 0
        self._ended = self._over = False
        record = exchange.record
        self._words = record.routed(decision) if record is not None else None

    flows = False
    """Nothing of its answer has passed, until all of it has."""

    def start(self) -> None:
        """Ask."""
        exchange = self._exchange
        if self._words is not None:
            self._words.asked(exchange.upload.kept)
        exchange.patient(exchange.wire.limits.first_byte)
        exchange.reply.translation = exchange.put_right(self.decision.backend)
        try:
            self._waiting.extend(self._job.first())
        except Refused as refused:
            exchange.refuse(refused)
            return
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._under_way) < self._job.parallel:
            errand = Errand(self, self._exchange, self.decision, self._waiting.popleft())
            self._under_way.add(errand)
            errand.start(self._job.body(errand.part))
        if not self._under_way and not self._over:
            self._finish()

    # What an errand tells.

    def heard(self, size: int) -> None:
        """Bytes of an answer have come."""
        self._exchange.goes_on()
        self._read += size
        if self._read > LARGEST:
            raise Refused(502, "AnswerTooLong", f"the model's server answers with more than {LARGEST} bytes")

    def back(self, errand: Errand, head: AnswerHead, body: bytes) -> None:
        """One is answered."""
        self._under_way.discard(errand)
        if self._over:
            return
        try:
            if head.status in _OK:
                self._job.answered(errand.part, head.names, body)
            elif head.status in _AGAIN and self._exchange.another(answered=True):
                return
            else:
                self._waiting.extendleft(reversed(self._job.refused(errand.part, errors.heard(head.status, body))))
        except Refused as refused:
            self._refuse(refused)
        except ValueError as error:
            self._refuse(Refused(502, "BackendGarbled", f"the model's server: {error}"))
        else:
            self._go_on()

    def failed(self, message: str) -> None:
        """One is not answered."""
        if not self._over and not self._exchange.another(answered=False):
            message = f"{self.decision.backend.key} did not answer: {message}"
            self._refuse(Refused(502, "BackendFailed", message, retry_after=2))

    def trouble(self, refused: Refused) -> None:
        """One can't be answered."""
        if not self._over:
            self._refuse(refused)

    def fault(self, error: Exception) -> None:
        """Something of ours failed."""
        log.error("a request of the data path failed", exc_info=error)
        if not self._over:
            self._exchange.fault()

    def _refuse(self, refused: Refused) -> None:
        self.stop()
        self._exchange.refuse(refused)

    def _finish(self) -> None:
        exchange, reply = self._exchange, self._exchange.reply
        try:
            body = self._job.whole()
        except Refused as refused:
            self._refuse(refused)
            return
        said = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        head = AnswerHead(said, len(said) - 4, bodiless=False)
        if exchange.record is not None:
            exchange.record.answering(head.status)
            exchange.record.first()
        if self._words is not None:
            self._words.heard(body, chunked=False)
        reply.flow(head, self.decision, closes=exchange.closes)
        exchange.client.write(reply.piece(body, ended=True, at_chunk=False))
        exchange.finish("answered")

    # What the exchange asks of whoever stands here.

    def late(self, seconds: float) -> None:
        """Nothing has come for so long."""
        self._refuse(Refused(504, "BackendTimeout", f"the model did not go on answering within {seconds:g} s"))

    def stop(self) -> None:
        """Nobody wants its answer any more."""
        self._over = True
        self._waiting.clear()
        errands, self._under_way = self._under_way, set()
        for errand in errands:
            errand.stop()

    def end(self, *, answered: bool) -> None:
        """It is over, and its routing shall know; a second end says nothing."""
        if not self._ended:
            self._ended = True
            self._exchange.routing.ended(self.decision, answered=answered)

    def broke(self, reason: str, message: str, *, stale: bool) -> None:
        """Only what flows breaks."""
        del stale
        self._refuse(Refused(502, reason, message))

    def early(self) -> None:
        """It is no stream."""

    def more(self) -> None:
        """All of the request was there."""

    def pause(self) -> None:
        """Its answer comes at once, at the end."""

    def resume(self) -> None:
        """As above."""


class Errand:
    """One part, on one connection (`upstream.Taker`)."""

    __slots__ = (
        "_answer",
        "_body",
        "_chunks",
        "_exchange",
        "_give_up",
        "_late",
        "_link",
        "_parts",
        "_to",
        "_whole",
        "part",
    )

    def __init__(self, parts: Parts, exchange: Exchange, decision: Decision, part: Part) -> None:
        self.part = part
        self._parts = parts
        self._exchange = exchange
        self._to = decision.backend
        self._link: Link | None = None
        self._give_up: Callable[[], object] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._whole = b""  # the request
        self._answer: AnswerHead | None = None
        self._chunks: Chunks | None = None
        self._body: list[bytes] = []

    def start(self, body: bytes) -> None:
        """Ask, over a connection that is open or over a new one."""
        exchange, target = self._exchange, self.part.path.encode()
        request_id = exchange.reply.request_id
        head = asked_of(exchange.head, self._to, target=target, length=len(body), request_id=request_id, plain=True)
        self._whole = head + body
        link = exchange.wire.pool.take(self._to.link)
        if link is not None:
            self._ask(link)
        else:
            self._open()

    def stop(self) -> None:
        """Nobody wants its answer any more."""
        self._opens_no_more()
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _open(self) -> None:
        wire = self._exchange.wire
        seconds = wire.limits.connect
        self._late = asyncio.get_running_loop().call_later(seconds, self._too_late, seconds)
        self._give_up = wire.pool.open(self._to.link, self._opened)

    def _opens_no_more(self) -> None:
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self, seconds: float) -> None:
        self._opens_no_more()
        self._tell(lambda: self._parts.failed(f"no connection within {seconds:g} s"))

    def _opened(self, link: Link | OSError) -> None:
        if self._give_up is None:
            if isinstance(link, Link):
                link.drop()
            return
        self._give_up = None
        self._opens_no_more()
        if isinstance(link, Link):
            self._tell(lambda: self._ask(link))
        else:
            self._tell(lambda: self._parts.failed(f"no connection: {link.strerror or link}"))

    def _ask(self, link: Link) -> None:
        self._link = link
        link.ask(self, self._whole, bodiless=False, whole=True)

    def _tell(self, what: Callable[[], None]) -> None:
        """In a callback of the loop: whatever fails, this request alone ends by it."""
        try:
            what()
        except Exception as error:  # noqa: BLE001  # and is logged
            self._parts.fault(error)

    # `upstream.Taker`

    def interim(self, raw: bytes) -> None:
        """Of no interest."""

    def answered(self, head: AnswerHead) -> None:
        """The head of the answer."""
        self._answer = head
        self._chunks = Chunks() if head.length == CHUNKED else None

    def came(self, raw: bytes, ended: bool) -> None:
        """A piece of its body."""
        if ended:
            self._link = None
        try:
            self._parts.heard(len(raw))
            if self._chunks is not None:
                self._chunks.feed(raw, 0, self._body)
            else:
                self._body.append(raw)
            if ended and self._answer is not None:
                self._parts.back(self, self._answer, _unpacked(self._answer, b"".join(self._body)))
        except Refused as refused:
            self._parts.trouble(refused)
        except Exception as error:  # noqa: BLE001  # and is logged
            self._parts.fault(error)

    def broke(self, reason: str, message: str, *, stale: bool) -> None:
        """There is no answer."""
        del reason
        self._link = None
        if stale:
            self._open()
        else:
            self._parts.failed(message)

    def drained(self) -> None:
        """It is all there, and waits for nothing."""

    def clogged(self) -> None:
        """As above."""


def _unpacked(head: AnswerHead, body: bytes) -> bytes:
    """As it was before it was packed, though nobody had asked for that. Raises Refused."""
    if head.names.get(b"content-encoding", b"").lower() not in _PACKED:
        return body
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = unpacker.decompress(body, LARGEST)
    except zlib.error as error:
        raise Refused(502, "BackendGarbled", f"the model's server sent what can't be unpacked: {error}") from error
    if unpacker.unconsumed_tail:
        raise Refused(502, "AnswerTooLong", f"the model's server answers with more than {LARGEST} bytes")
    return found
