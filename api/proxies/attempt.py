"""One backend that is asked: its connection, the request on its way, and the answer as it comes.

    OPENING   a connection to it is being opened
    ASKED     it has the request, and has not answered
    PEEKING   a stream has begun, its first event is not all there
    FLOWING   its answer passes
    DONE

Until the first byte of an answer has gone to the client, another may be asked instead: whether one is, is up to the
`Exchange` that this belongs to, which also keeps the time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from api.proxies import first_event
from api.proxies.calls import Decision, Refused
from api.proxies.dialects import errors
from api.proxies.head import CHUNKED, AnswerHead
from api.proxies.upstream import Link

if TYPE_CHECKING:
    from api.proxies.exchange import Exchange

log = logging.getLogger("sparkkeep.proxies")

OPENING, ASKED, PEEKING, FLOWING, DONE = range(5)

_AGAIN: Final = frozenset({500, 502, 503, 504})
"""What another backend is asked after."""
_NO_PAGE: Final = frozenset({404, 405})


class Attempt:
    """One of them (`upstream.Taker`)."""

    __slots__ = ("_answer", "_ended", "_exchange", "_first", "_give_up", "_link", "_words", "decision", "state")

    def __init__(self, exchange: Exchange, decision: Decision) -> None:
        self.decision = decision
        self.state = OPENING
        self._exchange = exchange
        self._ended = False  # its routing knows
        self._give_up: Callable[[], object] | None = None
        self._link: Link | None = None
        self._answer: AnswerHead | None = None
        self._first = b""  # of a stream whose first event is not all there
        record = exchange.record
        self._words = record.routed(decision) if record is not None else None

    @property
    def flows(self) -> bool:
        """Whether its answer passes."""
        return self.state == FLOWING

    # The request.

    def start(self) -> None:
        """Ask, over a connection that is open or over a new one."""
        exchange, decision = self._exchange, self.decision
        if self._words is not None:
            self._words.asked(exchange.upload.kept)
        try:
            exchange.reply.translation = exchange.translation(decision.backend)
        except Refused as refused:
            exchange.refuse(refused)
            return
        link = exchange.wire.pool.take(decision.backend.link)
        if link is not None:
            self._ask(link)
        else:
            self._open()

    def _open(self) -> None:
        exchange = self._exchange
        if exchange.upload.reading:
            exchange.client.pause()
        self._stage(OPENING, exchange.wire.limits.connect)
        self._give_up = exchange.wire.pool.open(self.decision.backend.link, self._opened)

    def _opened(self, link: Link | OSError) -> None:
        if self.state != OPENING:
            if isinstance(link, Link):
                link.drop()
            return
        self._give_up = None
        try:
            if isinstance(link, Link):
                self._ask(link)
            else:
                self._failed(f"no connection: {link.strerror or link}")
        except Exception:
            log.exception("a request of the data path failed")
            self._exchange.fault()

    def _ask(self, link: Link) -> None:
        exchange = self._exchange
        reply, client = exchange.reply, exchange.client
        try:
            data, whole = exchange.upload.sent(self.decision.backend, reply.translation, reply.request_id)
        except Refused as refused:
            exchange.wire.pool.give(link)
            exchange.refuse(refused)
            return
        self._link = link
        self._stage(ASKED, exchange.wire.limits.first_byte)
        if not whole:
            client.resume()  # unless this is more than can be written at once, and `clogged`
        link.ask(self, data, bodiless=exchange.head.method == b"HEAD", whole=whole)
        if client.clogged:
            link.pause()

    def more(self) -> None:
        """The request is longer than is kept, and goes on as it comes."""
        link, upload = self._link, self._exchange.upload
        if link is not None:
            link.whole = not upload.reading
            link.send(upload.more())

    def clogged(self) -> None:
        """Enough of the request was written for now."""
        if self._exchange.upload.reading:
            self._exchange.client.pause()

    def drained(self) -> None:
        """What was written of it has gone."""
        if self._exchange.upload.reading:
            self._exchange.client.resume()

    # The answer.

    def interim(self, raw: bytes) -> None:
        """A head of the 100s."""
        exchange = self._exchange
        if exchange.head.minor and not exchange.reply.started and not raw.startswith(b"HTTP/1.1 100"):
            exchange.client.write(raw)

    def answered(self, head: AnswerHead) -> None:
        """The head of the answer."""
        exchange = self._exchange
        if exchange.record is not None:
            exchange.record.answering(head.status)
        if head.status in _AGAIN and exchange.another(answered=True):
            return
        self._answer = head
        if head.stream or exchange.reply.started or self._may_lack(head):
            self._stage(PEEKING, exchange.wire.limits.first_byte)
        else:
            self._flow(head)

    def _flow(self, head: AnswerHead) -> None:
        """From here on the client's answer is this backend's."""
        exchange = self._exchange
        self._stage(FLOWING, exchange.wire.limits.idle)
        exchange.reply.flow(head, self.decision, closes=exchange.closes)
        if exchange.reply.started:
            exchange.upload.let_go()

    def early(self) -> None:
        """A stream's head has come and its first event takes its time: a client may wait for the head less long.

        Nothing was said yet, so that another backend can still be asked, if that too answers with a stream.
        """
        head, exchange = self._answer, self._exchange
        if head is None or not head.stream:
            return
        if said := exchange.reply.early(head, self.decision, closes=exchange.closes):
            exchange.client.write(said)

    def came(self, raw: bytes, ended: bool) -> None:
        """A piece of the answer's body."""
        exchange = self._exchange
        if ended:
            self._link = None
        if self.state == PEEKING:
            raw = self._first = self._first + raw
            if not self._looked(raw, ended=ended):
                return
            self._first = b""
        if self._words is not None:
            self._words.heard(raw, chunked=self._answer is not None and self._answer.length == CHUNKED)
        reply, link = exchange.reply, self._link
        if not reply.sent and exchange.record is not None:
            exchange.record.first()
        if out := reply.piece(raw, ended=ended, at_chunk=link is not None and link.at_chunk):
            exchange.client.write(out)
        if ended:
            exchange.finish("answered")
        else:
            exchange.goes_on()

    def _looked(self, raw: bytes, *, ended: bool) -> bool:
        """Whether a stream's beginning may pass: its first event is there and no error, or nobody else can be asked."""
        head, exchange = self._answer, self._exchange
        if head is None:
            return False
        most = exchange.wire.limits.first_event
        if exchange.reply.started and not head.stream:
            if ended or len(raw) > most:
                exchange.tell(errors.heard(head.status, first_event.content(head, raw)))
            return False
        if self._may_lack(head):
            if not ended and len(raw) < most:
                return False
            if ended and self._lacks(head, raw):
                return False
            self._flow(head)
            return True
        bad = first_event.failed(head, raw, ended=ended)
        if bad is None and not ended and len(raw) < most:
            return False
        if bad and exchange.another(answered=True):
            return False
        self._flow(head)
        return True

    def _may_lack(self, head: AnswerHead) -> bool:
        """Whether its server may have no such page, so that the call can be translated instead."""
        exchange = self._exchange
        return (
            head.status in _NO_PAGE
            and exchange.place.whole
            and exchange.wire.lacks is not None
            and exchange.as_it_came
            and not (exchange.reply.started or exchange.upload.released)
        )

    def _lacks(self, head: AnswerHead, raw: bytes) -> bool:
        """Whether it has none: then it is asked again, in the dialect that it speaks."""
        exchange, lacks = self._exchange, self._exchange.wire.lacks
        if lacks is None:
            return False
        if not lacks(self.decision.backend, exchange.place.path, head.status, first_event.content(head, raw)):
            return False
        self.end(answered=True)
        exchange.go(self.decision)
        return True

    # How it fails, and how it ends.

    def broke(self, reason: str, message: str, *, stale: bool) -> None:
        """There is no answer, or no more of it."""
        if self.state == FLOWING:
            self._break(reason, message)
        elif stale and not self._exchange.upload.released:
            self._link = None
            self._open()
        else:
            self._failed(message)

    def _break(self, reason: str, message: str) -> None:
        """An answer under way comes to no end: a stream says so, anything else is cut off."""
        if not self._exchange.reply.started:  # it is being translated, and nothing came of it yet
            self._failed(message)
        else:
            self._exchange.broken(reason, f"{self.decision.backend.key} broke off: {message}")

    def _failed(self, message: str) -> None:
        """The backend did not answer."""
        if not self._exchange.another(answered=False):
            message = f"{self.decision.backend.key} did not answer: {message}"
            self._exchange.refuse(Refused(502, "BackendFailed", message, retry_after=2))

    def late(self, seconds: float) -> None:
        """A stage has taken so long, which is too long."""
        exchange = self._exchange
        if self.state == OPENING:
            give_up, self._give_up = self._give_up, None
            if give_up is not None:
                give_up()
            self._failed(f"no connection within {seconds:g} s")
        elif self.state in {ASKED, PEEKING}:
            message = f"the model did not begin to answer within {seconds:g} s"
            exchange.refuse(Refused(504, "BackendTimeout", message))
        elif exchange.client.clogged:
            exchange.left("ClientStalled")
            exchange.client.cut()
        else:
            self._break("BackendTimeout", f"nothing came for {seconds:g} s")

    def stop(self) -> None:
        """Nobody wants its answer any more."""
        self.state = DONE
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def end(self, *, answered: bool) -> None:
        """It is over, and its routing shall know; a second end says nothing."""
        if not self._ended:
            self._ended = True
            self._exchange.routing.ended(self.decision, answered=answered)

    def _stage(self, state: int, patience: float) -> None:
        self.state = state
        self._exchange.patient(patience)

    # What the client's connection tells it.

    def pause(self) -> None:
        """The client reads more slowly than its answer comes."""
        if self._link is not None:
            self._link.pause()

    def resume(self) -> None:
        """It reads again."""
        if self._link is not None:
            self._link.resume()
