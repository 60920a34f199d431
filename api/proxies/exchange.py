"""One request's life, from its head to the last byte of its answer: a small machine that is called back.

    READING   its body comes, until it is known what it asks for (`upload`)
    HOLDING   nobody can answer yet; a stream that waits long is begun with keep-alives
    ASKING    a backend is asked (`attempt`), or another one instead
    OVER

Until the first byte of an answer has gone to the client, one other backend may be asked instead. After that, never.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Final, Protocol

from api.proxies import answers
from api.proxies.attempt import PEEKING, Attempt
from api.proxies.calls import Backend, Call, Decision, Field, Hold, Refused, Routing
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.names import Dialect
from api.proxies.gate import Place
from api.proxies.head import Head, stripped
from api.proxies.observer import Record
from api.proxies.parts import Parts, attempt_at
from api.proxies.peek import Asked
from api.proxies.reply import Reply
from api.proxies.translation import Translation
from api.proxies.upload import Upload
from api.proxies.wire import Wire

log = logging.getLogger("sparkkeep.proxies")

READING, HOLDING, ASKING, OVER = range(4)

_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")


class Client(Protocol):
    """The connection that a request came on."""

    address: str
    clogged: bool

    @property
    def date(self) -> Sequence[Field]:
        """What every answer of ours carries."""

    def write(self, data: bytes) -> None:
        """Send."""

    def done(self, *, keep: bool) -> None:
        """The answer is complete."""

    def cut(self) -> None:
        """The answer can't be completed."""

    def pause(self) -> None:
        """Read no further for now."""

    def resume(self) -> None:
        """Read on."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        *("_attempt", "_beat", "_call", "_deadline", "_held_since", "_hold", "_patience", "_state", "_tries"),
        *("client", "head", "masked", "place", "record", "reply", "routing", "upload", "wire"),
    )

    def __init__(self, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> None:
        self.client = client
        self.wire = wire
        self.head = head
        self.place = place
        given = head.names.get(b"x-request-id")
        known = given if given is not None and _ID.fullmatch(given) else wire.request_id()
        self.reply = Reply(head, said, known, place.dialect)
        self.upload = Upload(head, place, wire.limits)
        self.routing: Routing = wire.routing
        self.record: Record | None = None
        self.masked = False
        """Whether its words are not its client's own, which below `/redact` they must not be."""
        self._state = READING
        self._patience = wire.limits.body
        self._deadline = 0.0  # set by the next tick
        self._held_since = self._beat = 0.0
        self._call: Call | None = None
        self._hold: Hold | None = None
        self._attempt: Attempt | Parts | None = None
        self._tries = 0

    # What it asks for.

    @property
    def reading(self) -> bool:
        """Whether its body is not complete."""
        return self.upload.reading

    @property
    def routed(self) -> bool:
        """Whether it was decided where it goes."""
        return self._call is not None

    def begin(self, data: bytes, at: int) -> int:
        """What came with its head, as `read`."""
        end = self.read(data, at)
        if end < 0 and self._state != OVER and self.head.names.get(b"expect", b"").lower() == b"100-continue":
            self.client.write(answers.CONTINUE)
        return end

    def read(self, data: bytes, at: int) -> int:
        """More of its body: where it ends in these bytes, -1 if it does not. Once it has ended, `route` it."""
        upload = self.upload
        try:
            end = upload.read(data, at)
        except Refused as refused:
            self.refuse(refused)
            return -1
        self._deadline = 0.0
        if upload.released:
            if self._attempt is not None:
                self._attempt.more()
        elif end < 0 and upload.enough and self._state == READING:
            self.route()
        return end

    def route(self) -> None:
        """It is known what it asks for."""
        try:
            call = self.noted()
            self._asks(call, self.upload.asks())
            self._send(call)
        except Refused as refused:
            self.refuse(refused)

    def noted(self) -> Call:
        """The call, with a record of it. Raises Refused for who may not ask."""
        head, place, wire = self.head, self.place, self.wire
        method, who, under = head.method.decode(), self.client.address, place.under
        self._call = call = Call(method=method, path=place.path, session=head.session, who=who, under=under)
        try:
            if wire.keys is not None:
                call.who = wire.keys.who(head.key, who)
        finally:
            self.record = wire.observer.begin(call, self.reply.request_id.decode())
        return call

    def _asks(self, call: Call, asked: Asked) -> None:
        call.model = asked.model or self.place.model
        call.stream = self.place.streams if asked.stream is None else asked.stream
        call.asked = asked

    def _send(self, call: Call) -> None:
        """Answered by ourselves, or by whoever is chosen. Raises Refused."""
        if self.place.under and not self.masked:
            raise Refused(404, "NoRedaction", "nothing is masked here: this server has no redaction gateway")
        if self.place.local and self.wire.local is not None:
            status, fields, said = self.wire.local.answer(call, self.upload.kept)
            self._own(status, fields, said, "answered")
        else:
            self._follow(self.routing.choose(call))

    def _follow(self, found: Decision | Hold) -> None:
        if isinstance(found, Decision):
            self.go(found)
        else:
            self._wait(found)

    # Waiting.

    def _wait(self, hold: Hold) -> None:
        if self.reading:
            self.client.pause()
        self._hold = hold
        self._state = HOLDING
        self.patient(self.wire.limits.grace)
        if self.record is not None:
            self.record.held()
        self._held_since = asyncio.get_running_loop().time()
        hold.decided.add_done_callback(self._decided)

    def _decided(self, decided: asyncio.Future[Decision]) -> None:
        if decided.cancelled():
            refused: Exception | None = Refused(503, "Withdrawn", "what it waited for was given up", retry_after=5)
        else:
            refused = decided.exception()  # type: ignore[assignment]  # seen, even if nobody waits any more
        if self._state != HOLDING:
            return
        self._hold = None
        self.reply.queued += round((asyncio.get_running_loop().time() - self._held_since) * 1000)
        if refused is None:
            try:
                self.go(decided.result())
            except Exception:
                log.exception("a request of the data path failed")
                self.fault()
        elif isinstance(refused, Refused):
            self.refuse(refused)
        else:
            log.error("what a request waited for failed", exc_info=refused)
            self.refuse(_our_fault())

    def _keep_alive(self, hold: Hold) -> None:
        call = self._call
        if call is None or not call.stream or self.place.dialect is Dialect.OLLAMA or not self.head.minor:
            return
        self.client.write(self.reply.waiting(hold.told(), closes=self.closes))

    # Asking.

    def go(self, decision: Decision) -> None:
        """This one is asked."""
        self._state = ASKING
        self.routing.began(decision)
        self._attempt = attempt = attempt_at(self, decision)
        attempt.start()

    def translation(self, backend: Backend) -> Translation | None:
        """What stands between this request and its backend, if anything. Raises Refused."""
        translate, place = self.wire.translate, self.place
        if translate is None or not place.whole:
            return None
        if self.upload.reading:
            most = self.wire.limits.whole_body // 2**20
            raise Refused(413, "BodyTooLarge", f"a request that may have to be translated may have {most} MiB")
        return translate(place.path, stripped(self.head.fields), self.upload.kept, backend)

    def put_right(self, backend: Backend) -> Translation | None:
        """What an answer passes that was put together from several."""
        del backend
        return None

    @property
    def as_it_came(self) -> bool:
        """Whether its backend was asked in the dialect that its client speaks."""
        return self.reply.translation is None

    def another(self, *, answered: bool) -> bool:
        """Ask another backend, if there is one and this may be done. `answered`: this one did, though badly."""
        call, attempt = self._call, self._attempt
        if call is None or attempt is None:
            return False
        if not answered:
            attempt.end(answered=False)  # first, so that whoever chooses knows
        if self._tries or self.upload.released:
            return False
        try:
            found = self.routing.choose(call, without=(attempt.decision.backend.key,))
        except Refused:
            return False
        if answered and not isinstance(found, Decision):
            found.leave()
            return False
        self._tries = 1
        self._stop(answered=answered)
        self.reply.forget()
        self._follow(found)  # if nobody else is there, and nothing was answered, it is as if it came now
        return True

    def _stop(self, *, answered: bool) -> None:
        """Whoever is asked."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.stop()
            attempt.end(answered=answered)

    # How its answer ends.

    @property
    def closes(self) -> bool:
        """Whether the connection ends with it."""
        return self.head.close or self.wire.draining or self.upload.reading

    @property
    def _keeps(self) -> bool:
        return not self.closes and self.reply.ends_well

    def finish(self, cause: str) -> None:
        """The answer is complete."""
        self._stop(answered=True)
        self._close(cause)
        self.client.done(keep=self._keeps)

    def refuse(self, refused: Refused) -> None:
        """It can't be answered."""
        if self.reply.under_way:  # behind which nothing can be said
            self.left(refused.reason)
            self.client.cut()
        elif self.reply.started:
            self.tell(Trouble.of(refused))
        else:
            status, fields, body = answers.refused(self.place.dialect, refused)
            self._own(status, fields, body, refused.reason)

    def _own(self, status: int, fields: list[Field], body: bytes, cause: str) -> None:
        """An answer of ours."""
        self.client.write(self.reply.own(status, fields, body, date=self.client.date, closes=self.closes))
        self.finish(cause)

    def tell(self, trouble: Trouble) -> None:
        """A stream that was begun with keep-alives ends with an error."""
        self.client.write(self.reply.error(trouble))
        self.finish(trouble.code)

    def broken(self, reason: str, message: str) -> None:
        """An answer under way comes to no end: a stream says so, anything else is cut off."""
        end = self.reply.broken(reason, message)
        self._stop(answered=False)
        self._close(reason)
        if end is None:
            self.client.cut()
        else:
            self.client.write(end)
            self.client.done(keep=self._keeps)

    def fault(self) -> None:
        """Something of ours failed on it: whatever it was, this request alone ends by it."""
        if self._state == OVER:
            self.client.cut()
        elif self.reply.under_way:
            self.left("InternalError")
            self.client.cut()
        else:
            self.reply.take_back()
            self.refuse(_our_fault())

    def left(self, cause: str = "ClientLeft") -> None:
        """Its client has gone: whatever is done for it ends now."""
        if self._state == OVER:
            return
        self._stop(answered=True)
        self._close(cause)

    def _close(self, cause: str) -> None:
        self._state = OVER
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.leave()
        if self._call is not None:
            self._call.asked = None  # what was said is not kept with its record
        record, self.record = self.record, None
        if record is not None:
            reply = self.reply
            end = reply.last_but_one + reply.last
            sizes = {"received": self.upload.size, "sent": reply.sent}
            record.ended(cause, status=reply.status, **sizes, beginning=reply.first, end=end)

    # What its client's connection tells it.

    def unread(self) -> None:
        """The client reads more slowly than its answer comes."""
        if self._attempt is not None:
            self._attempt.pause()

    def read_again(self) -> None:
        """It reads again."""
        if self._attempt is not None:
            self._attempt.resume()

    def end(self) -> None:
        """The server ends, and this is not over."""
        message = "sparkkeep is being restarted; send the request again"
        attempt = self._attempt
        if attempt is not None and attempt.flows:
            attempt.broke("Restarting", message, stale=False)
        elif self._state != OVER:
            self.refuse(Refused(503, "Restarting", message, retry_after=5))

    # Time.

    def patient(self, seconds: float) -> None:
        """What comes next may take so long."""
        self._patience = seconds
        self._deadline = 0.0

    def goes_on(self) -> None:
        """Something has come: as long again."""
        self._deadline = 0.0

    def tick(self, now: float) -> None:
        """So late it is."""
        hold, attempt, limits = self._hold, self._attempt, self.wire.limits
        if hold is not None:
            if not self._beat:
                self._beat = now + limits.grace
            elif now >= self._beat:
                self._beat = now + limits.beat
                self._keep_alive(hold)
        elif not self._deadline:
            self._deadline = now + self._patience
            self._beat = now + limits.grace
        elif now >= self._deadline:
            self._late()
        elif attempt is not None and attempt.state == PEEKING and now >= self._beat:
            attempt.early()

    def _late(self) -> None:
        """A stage has taken too long."""
        seconds = self._patience
        if self._attempt is not None:
            self._attempt.late(seconds)
        elif self._state == READING:
            self.refuse(Refused(408, "BodyTooSlow", f"no more of the body came for {seconds:g} s"))


def _our_fault() -> Refused:
    return Refused(500, "InternalError", "sparkkeep failed on this request; its log says how")
