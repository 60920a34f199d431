"""What a client sends: read until it is known what it asks for, kept for a second attempt, or passed on as it comes."""

from __future__ import annotations

from api.guard.rules import too_large
from api.proxies.body import Body, TooLarge
from api.proxies.calls import Backend, Refused
from api.proxies.chunks import LAST, BadChunk, chunk
from api.proxies.forward import asked_of
from api.proxies.gate import Place
from api.proxies.head import CHUNKED, Head
from api.proxies.limits import Limits
from api.proxies.peek import NOTHING, Asked, look
from api.proxies.translation import Translation


class Upload:
    """One request's body. Most come in one piece, and are nothing but bytes; others are a `Body`."""

    __slots__ = ("_asked", "_body", "_head", "_most_kept", "_place")

    def __init__(self, head: Head, place: Place, limits: Limits) -> None:
        self._head = head
        self._place = place
        self._most_kept = limits.whole_body if place.whole else limits.kept_body
        self._body: Body | bytes = b""
        self._asked = NOTHING

    @classmethod
    def of(cls, head: Head, place: Place, limits: Limits, body: bytes) -> Upload:
        """One that is all there, in other words than it came in."""
        made = cls(head, place, limits)
        made._body = body
        return made

    def read(self, data: bytes, at: int) -> int:
        """More of it: where it ends in these bytes, -1 if it does not. Raises Refused."""
        body, most = self._body, self._place.policy.max_body
        if type(body) is not Body:
            length = self._head.length
            end = at + length
            if length >= 0 and len(data) >= end:
                self._body = data[at:end] if length else b""
                return end
            self._body = body = Body(length, most)
        try:
            return body.feed(data, at)
        except TooLarge:
            raise Refused(413, "BodyTooLarge", too_large(most)) from None
        except BadChunk as bad:
            raise Refused(400, "BadBody", f"the request's body is not framed as HTTP says: {bad}") from None

    @property
    def reading(self) -> bool:
        """Whether it is not complete."""
        body = self._body
        return type(body) is Body and not body.complete

    @property
    def enough(self) -> bool:
        """Whether no more of it is kept before it is decided where it goes."""
        body = self._body
        return type(body) is Body and body.size > self._most_kept

    @property
    def released(self) -> bool:
        """Whether it passes on as it comes, so that it can be sent to nobody else."""
        body = self._body
        return type(body) is Body and body.released

    @property
    def size(self) -> int:
        """Bytes of it so far."""
        body = self._body
        return body.size if type(body) is Body else len(body)  # type: ignore[arg-type]

    @property
    def kept(self) -> bytes:
        """As much of it as is there."""
        body = self._body
        return bytes(body.kept) if type(body) is Body else body  # type: ignore[return-value]

    def asks(self) -> Asked:
        """What it asks for, as far as it has come."""
        body = self._body
        self._asked = asked = body.asked() if type(body) is Body else look(body)  # type: ignore[arg-type]
        return asked

    # On its way.

    def sent(self, backend: Backend, translation: Translation | None, request_id: bytes) -> tuple[bytes, bool]:
        """The request as this backend gets it, and whether that is all of it. Raises Refused."""
        head, body, target, whole = self._head, self._body, self._place.target, True
        if translation is not None:
            content = translation.body()
            target = translation.path.encode()
        elif type(body) is not Body:
            content = body  # type: ignore[assignment]
        elif body.complete:
            content = bytes(body.kept)
        else:
            content, whole = body.release(), False
        length = len(content)
        if translation is None and backend.model and self._asked.model != backend.model:
            content = self._asked.spliced(content, backend.model)
        if whole:
            length = len(content)
        elif head.length == CHUNKED:
            length, content = CHUNKED, chunk(content)
        else:
            length = head.length + len(content) - length
        plain = translation is not None
        to = asked_of(head, backend, target=target, length=length, request_id=request_id, plain=plain)
        return to + content, whole

    def more(self) -> bytes:
        """What came since, of one that passes on as it comes."""
        body = self._body
        assert type(body) is Body  # noqa: S101  # what else could be released
        if self._head.length != CHUNKED:
            return body.fresh
        return chunk(body.fresh) + LAST if body.complete else chunk(body.fresh)

    def let_go(self) -> None:
        """Nobody else will be asked."""
        self._asked.forget()
        body = self._body
        if type(body) is Body and body.complete:
            body.release()
